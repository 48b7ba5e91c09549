"""`belljar run --auto`: a real box, a real MCP server, and a real `belljar serve` whose traces speak for tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Belljar, Done
from tests.cli.test_traces_list import Far, call, far, trace

__all__ = ["far"]

_CODE = "await mcp.s.look()"


def entry(belljar: Belljar, server: Callable[..., Any]) -> dict[str, Any]:
    """A server whose annotations are trusted: `look` reads, `touch` says nothing of itself."""
    script = belljar.folder / "annotated.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(server('answers')['args'][0]).parent)!r})\nimport _raw\n"
        "closed = {'readOnlyHint': True, 'openWorldHint': False}\n"
        "_raw.serve([_raw.tool('look', annotations=closed), _raw.tool('touch')], lambda p: _raw.text('done'))\n"
    )
    return {"command": server("answers")["command"], "args": [str(script)], "trust": "annotations"}


@pytest.mark.slow
def test_auto_earns_and_loses_its_leave(belljar: Belljar, server: Callable[..., Any], far: Far) -> None:
    """F49: without evidence it asks, after good runs it goes on unasked, after failures it asks again.

    What may destroy asks however well it did; so does who has but another key's word for it; so does everybody when
    the server is gone.
    """
    servers = belljar.servers(s=entry(belljar, server))
    # This machine's own traces stay here: those that count are sent by the test.
    (belljar.folder / "auto.toml").write_text("[tracing]\nraw = true\n")
    words = ("--servers", servers, "--auto", "s:*", "--config", "auto.toml", "--json")

    def run(code: str = _CODE, **env: str) -> Done:
        return belljar("run", "-c", code, *words, env={**far.env, **env})

    def refused(done: Done, why: str) -> None:
        assert (done.code, done.status, done.json["calls"][0]["state"]) == ("APPROVAL_REQUIRED", 3, "pending"), done.err
        assert f"needs approval (auto: {why}" in done.err

    first = run()
    refused(first, "no evidence)")

    def runs(numbers: range, **fields: Any) -> None:
        """Traces of this code, as its runs would send them."""
        of = {name: first.json["trace"][name] for name in ("capabilityId", "capabilityHash")}
        fine = fields.get("success", True)
        tasks = [call(f"s:{tool}", success=fine, state="applied" if fine else "failed") for tool in ("look", "touch")]
        far.store(*(trace(n, taskResults=tasks, **of, **fields) for n in numbers))

    runs(range(30))
    good = run()
    assert (good.status, good.json["value"]) == (0, "done"), good.err
    (made,) = good.json["calls"]
    assert made["grant"].startswith("auto read: ")
    assert ">= 0.70 (30 of 30 ok" in made["grant"]
    refused(run("await mcp.s.touch()"), "destructive)")
    refused(run(**far.key("acme", "read")), "evidence of one other key alone)")
    runs(range(30, 50), success=False)
    lost = run()
    refused(lost, "read: ")
    assert " < 1.00 (" in lost.err
    far.stop()
    refused(run(), "the server cannot be asked)")
