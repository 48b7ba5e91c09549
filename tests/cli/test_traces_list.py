"""`belljar traces list` and `show`: a real `belljar serve` on SQLite, and servers that are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.cli.conftest import Belljar
from tests.registries import FakeRegistry, serving
from tests.server.api.processes import Server

_NOTES = "local.default.git.release_notes.a7f3"
_MAIL = "local.default.mail.send.b001"
_BAD = "x\x1b[31m\u202e\x07<b>"
_KEY = "bj_0123456789abcdef0123456789abcdef"


def trace_id(number: int) -> str:
    return str(UUID(int=(7 << 76) | (2 << 62) | number))


def trace(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "traceId": trace_id(number),
        "capabilityId": _NOTES,
        "capabilityHash": "a" * 64,
        "success": True,
        "durationMs": 1.5,
        "timestamp": (datetime.now(UTC) - timedelta(days=1, seconds=-number)).isoformat(),
        **fields,
    }


def call(tool: str, **fields: Any) -> dict[str, Any]:
    return {
        "taskId": "t1",
        "tool": tool,
        "args": {"q": 1},
        "result": ["r"],
        "success": True,
        "state": "applied",
        "durationMs": 8.25,
        "timestamp": "2026-01-02T03:04:05.680Z",
        **fields,
    }


class Far:
    """A server of the test's own."""

    def __init__(self, belljar: Belljar, server: Server) -> None:
        self._belljar = belljar
        self._server = server
        self.env = self.key("acme")

    def key(self, tenant: str, *scopes: str) -> dict[str, str]:
        """What the environment of a client with a new key holds."""
        words = [word for scope in scopes for word in ("--scope", scope)]
        made = self._belljar("server", "key", "create", "--tenant", tenant, *words, "--json")
        return {"BELLJAR_CLOUD_URL": self._server.url, "BELLJAR_API_KEY": made.json["key"]}

    def stop(self) -> None:
        """The server is gone."""
        self._server.end()

    def store(self, *traces: dict[str, Any]) -> None:
        with self._server.client(self.env["BELLJAR_API_KEY"]) as client:
            answer = client.post("/api/traces", json=traces)
        assert answer.json()["stored"] == len(traces), answer.text


@pytest.fixture
def far(belljar: Belljar) -> Iterator[Far]:
    with Server(belljar.start("serve", "--port", "0", "--json")) as server:
        yield Far(belljar, server)


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("traces list", "--capability --failed --since --limit --config --debug --json"),
        ("traces show", "ID --config --debug --json"),
    ],
)
def test_help_names_every_option_and_shows_examples(belljar: Belljar, verb: str, options: str) -> None:
    """Each verb's help mentions each of its options, and how it is used."""
    done = belljar(*verb.split(), "--help")
    assert done.status == 0
    assert set(options.split()) <= set(done.out.replace(",", " ").split())
    assert f"  belljar {verb}" in done.out.split("Examples:")[1]


def test_list(belljar: Belljar, far: Far) -> None:
    """F85: the newest first, also over several pages; filtered; of one's own tenant alone; foreign text is escaped."""
    batch = [trace(n) for n in range(210)]
    batch[7] |= {"success": False, "errorCode": "CAPABILITY_ERROR", "errorMessage": _BAD, "capabilityId": _MAIL}
    batch[8] |= {"success": False, "errorCode": _BAD, "capabilityId": _BAD, "timestamp": "2020-01-01T00:00:00Z"}
    for start in range(0, len(batch), 100):
        far.store(*batch[start : start + 100])

    def ids(*words: str, env: dict[str, str] = far.env) -> list[str]:
        done = belljar("traces", "list", "--json", *words, env=env)
        assert done.status == 0, done.err
        return [each["traceId"] for each in done.json]

    newest = [one["traceId"] for one in reversed(batch) if one is not batch[8]]
    assert ids() == newest[:20]
    assert ids("--limit", "1000") == [*newest, trace_id(8)]
    assert ids("--limit", "203") == newest[:203]
    assert ids("--failed") == [trace_id(7), trace_id(8)]
    assert ids("--failed", "--since", "2d") == [trace_id(7)]
    assert ids("--failed", "--since", "2019-12-31T23:00:00+01:00") == [trace_id(7), trace_id(8)]
    assert ids("--capability", "mail:send") == [trace_id(7)]
    assert ids("--since", "1s") == []
    assert ids(env=far.key("other")) == []

    shown = belljar("traces", "list", "--failed", env=far.env)
    assert shown.status == 0
    assert all(each in shown.out for each in (trace_id(7), trace_id(8), _MAIL, "CAPABILITY_ERROR", r"\x1b[31m"))
    assert not {"\x1b", "\u202e", "\x07"} & set(shown.out + shown.err)
    none = belljar("traces", "list", "--since", "1s", env=far.env)
    assert (none.status, none.out) == (0, "")
    assert "traces status" in none.err


def test_show(belljar: Belljar, far: Far) -> None:
    """F85: a run, its calls with state and duration, and the runs below it, two levels deep, whatever came first."""
    grandchild = trace(3, parentTraceId=trace_id(2), durationMs=0.5)
    child = trace(2, parentTraceId=trace_id(1), capabilityId=_MAIL, success=False, errorCode="RPC_ERROR")
    child |= {"errorMessage": _BAD, "intent": _BAD}
    child["taskResults"] = [call(_BAD, state="failed", success=False, errorCode="RPC_ERROR", args=_BAD, result=None)]
    root = trace(1, taskResults=[call("git:git_log"), call("mail:send", source="fake", taskId="t2")])
    far.store(grandchild, child)
    far.store(root)

    whole = belljar("traces", "show", trace_id(1).upper(), "--json", env=far.env).json
    (below,) = whole["children"]
    assert [below["traceId"], below["children"][0]["traceId"]] == [trace_id(2), trace_id(3)]
    assert whole["taskResults"][0]["result"] == ["r"]

    shown = belljar("traces", "show", trace_id(1), env=far.env)
    assert shown.status == 0, shown.err
    assert not {"\x1b", "\u202e", "\x07"} & set(shown.out)
    lines = shown.out.splitlines()
    margins = {n: line.index("local.") for line in lines for n in (1, 2, 3) if trace_id(n) in line}
    assert margins[1] < margins[2] < margins[3]
    assert '    git:git_log  applied  8.2 ms  {"q":1} -> ["r"]' in lines
    assert '    mail:send  applied  8.2 ms  by fake  {"q":1} -> ["r"]' in lines
    assert any(line.strip().startswith(r"x\x1b[31m") and "  failed RPC_ERROR  8.2 ms  " in line for line in lines)
    assert any(f"{_MAIL}  RPC_ERROR  1.5 ms  {trace_id(2)}" in line for line in lines)


def test_what_cannot_be_had(belljar: Belljar, far: Far) -> None:
    """Exit 2 and a line that says what to do: a key without the scope, a wrong one, an id that is none or not there."""
    far.store(trace(1))
    sender, stranger = far.key("acme", "ingest"), far.key("other")
    wrong = {**far.env, "BELLJAR_API_KEY": _KEY}
    cases = [
        (("list",), sender, "--scope read"),
        (("list",), wrong, "set BELLJAR_API_KEY"),
        (("show", trace_id(1)), stranger, "has no trace"),
        (("show", trace_id(2)), far.env, "traces status"),
        (("show", "../keys"), far.env, "is no trace id"),
        (("list", "--since", "soon"), far.env, "--since"),
        (("list", "--since", "0001-01-01T00:00:00+23:00"), far.env, "--since"),
        (("list",), {}, "BELLJAR_CLOUD_URL"),
    ]
    for words, env, said in cases:
        done = belljar("traces", *words, env=env)
        assert (done.status, done.out) == (2, ""), done.err
        assert said in done.last()
        assert not {key for key in (far.env["BELLJAR_API_KEY"], _KEY) if key in done.err}
    assert belljar("traces", "list", "--limit", "0", env=far.env).status == 2


def test_a_server_that_is_not_there(belljar: Belljar) -> None:
    """Exit 4."""
    done = belljar("traces", "list", env={"BELLJAR_CLOUD_URL": "http://127.0.0.1:1", "BELLJAR_API_KEY": _KEY})
    assert (done.status, "cannot be reached" in done.last()) == (4, True)


_Instead = tuple[int, dict[str, str], list[bytes]]


def _answer(value: Any) -> _Instead:
    return 200, {"content-type": "application/json"}, [json.dumps(value).encode()]


def _chain(levels: int) -> dict[str, Any]:
    tree = {"traceId": trace_id(1), "children": list[Any]()}
    for _ in range(levels):
        tree = {"traceId": trace_id(1), "children": [tree]}
    return tree


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ((302, {"location": "http://127.0.0.1:1/"}, []), "points elsewhere"),
        ((503, {"retry-after": "9"}, [b'{"detail": "busy \\u001b[2J"}']), r"busy \x1b[2J"),
        ((200, {}, [b"x" * (1 << 20)] * 40), "more than"),
        ((200, {"content-encoding": "gzip"}, [b"x"]), "encoded"),
        ((200, {}, [b"<html>"]), "no JSON"),
        ((200, {}, [b"[" * 200_000]), "no JSON"),
        (_answer([]), "no object"),
        (_answer({"traceId": trace_id(2), "children": []}), "asked for"),
        (_answer({"traceId": trace_id(1)}), "children"),
        (_answer({"traceId": trace_id(1), "children": [1]}), "children"),
        (_answer(_chain(100)), "no JSON"),
    ],
)
def test_a_server_that_is_not_well(belljar: Belljar, instead: _Instead, said: str) -> None:
    """Exit 4 and one line; nothing is followed, nothing obeyed; the key goes nowhere else."""
    app = FakeRegistry(instead=instead)
    with serving(app) as url:
        done = belljar("traces", "show", trace_id(1), env={"BELLJAR_CLOUD_URL": url, "BELLJAR_API_KEY": _KEY})
    assert (done.status, done.out) == (4, ""), done.err
    assert said in done.last()
    assert "\x1b" not in done.err
    assert len(app.asked) == 1


def test_fields_that_are_not_what_they_should_be(belljar: Belljar) -> None:
    """Anything a server may put into a field is shown, and none of it makes the program fail."""
    odd: list[Any] = [None, 1, -1.5, True, 10**300, "x\x1b", [], {"a": 1}]
    keys = ("timestamp", "capabilityId", "success", "errorCode", "errorMessage", "durationMs", "intent", "taskResults")
    calls = [*odd, *({"tool": each, "state": each, "durationMs": each, "source": each, "args": each} for each in odd)]
    children = [{**dict.fromkeys(keys, each), "children": []} for each in odd]
    tree = {"traceId": trace_id(1), "taskResults": calls, "children": children}
    page = {"traces": [*children, {}], "next": 7}
    for words, value in (("show", trace_id(1)), tree), (("list",), page):
        with serving(FakeRegistry(instead=_answer(value))) as url:
            done = belljar("traces", *words, env={"BELLJAR_CLOUD_URL": url, "BELLJAR_API_KEY": _KEY})
        assert done.status == 0, done.err
        assert "\x1b" not in done.out


@pytest.mark.parametrize("given", [{"hang": True}, {"drip_s": 0.2, "instead": (200, {}, [b" "] * 10_000)}])
def test_a_server_that_does_not_finish(given: dict[str, Any]) -> None:
    """One deadline for the whole answer, however it comes."""
    import anyio

    from belljar.config import TracingConfig
    from belljar.errors import UpstreamError
    from belljar.tracing.stored import StoredTraces

    with serving(FakeRegistry(**given)) as url:
        ask: Callable[..., Any] = StoredTraces(TracingConfig(cloud_url=url), total_s=0.5).newest
        with pytest.raises(UpstreamError, match="no answer within"):
            anyio.run(ask, {}, 5)
