"""`belljar replay`: what raw tracing kept runs again, bit for bit, and nothing leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Belljar

_CODE = "import uuid\na = await mcp.s.wrapped()\nprint(a)\n[str(uuid.uuid4()), a]"


def raw(belljar: Belljar) -> dict[str, str]:
    config = belljar.folder / "raw.toml"
    config.write_text("[tracing]\nraw = true\n")
    return {"BELLJAR_CONFIG": str(config)}


def test_a_kept_run_runs_again(belljar: Belljar, server: Callable[..., Any]) -> None:
    """The same value, prints and calls, without a server; the trace says who answered."""
    servers = belljar.servers(s=server("answers"))
    first = belljar("run", "-c", _CODE, "--servers", servers, "--allow", "*", "--json", env=raw(belljar))
    assert first.status == 0, first.err
    again = belljar("replay", first.json["runId"], "--json")
    assert again.status == 0, again.err
    assert (again.json["value"], again.json["stdout"]) == (first.json["value"], first.json["stdout"])
    assert [call["source"] for call in again.json["calls"]] == ["replay"]
    assert again.json["runId"] != first.json["runId"]


def test_without_raw_nothing_is_kept(belljar: Belljar) -> None:
    """By default no raw value is written anywhere."""
    done = belljar("run", "-c", "'swordfish'", "--json")
    refused = belljar("replay", done.json["runId"])
    assert refused.status == 2
    assert "raw = true" in refused.err
    state = belljar.folder / "home" / ".local" / "state"
    assert not [path for path in state.rglob("*") if path.is_file()]


def test_what_is_no_recording_is_refused(belljar: Belljar) -> None:
    """A path that is not there, a file that is none, a name that is no run."""
    (belljar.folder / "x.recording").write_text("{}")
    for name, said in (("./y.recording", "No such file"), ("x.recording", "recording"), ("nobody", "not a run id")):
        done = belljar("replay", name)
        assert done.status == 2
        assert said in done.last()


def test_a_native_run_is_kept_and_not_run_again(belljar: Belljar) -> None:
    """Native Python reads clocks that are not ours: its recording is there to be read, and replaying it is refused."""
    done = belljar("run", "-c", "1 + 1", "--backend", "process", "--json", env=raw(belljar))
    assert done.status == 0, done.err
    refused = belljar("replay", done.json["runId"])
    assert refused.status == 2
    assert "wasm backend" in refused.last()
