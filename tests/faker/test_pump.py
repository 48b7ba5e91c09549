"""The pump by itself: lines in, actions out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from belljar.faker.actions import Action, Answered, Cancelled, GiveUp, Refused, Serve, ToClient, ToTarget, Watched
from belljar.faker.calls import RealError, Reply, Tool, Verdict
from belljar.faker.pump import Pump, PumpOptions

READ = Verdict("read", "low", "test")
TOOLS = [{"name": "look", "inputSchema": {"type": "object"}}, {"name": "change", "inputSchema": {"type": "object"}}]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Driven:
    """A pump, its clock, and messages as Python values."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.pump = Pump(PumpOptions(**options), self.clock)

    def client(self, **message: Any) -> list[Action]:
        return list(self.pump.client(line(message)))

    def target(self, **message: Any) -> list[Action]:
        return list(self.pump.target(line(message)))

    def listed(self, tools: list[dict[str, Any]] = TOOLS) -> None:
        self.client(id="list", method="tools/list")
        self.target(id="list", result={"tools": tools})

    def call(self, request: Any, name: str, **args: Any) -> list[Action]:
        return self.client(id=request, method="tools/call", params={"name": name, "arguments": args})

    def served(self, request: Any, name: str) -> Serve:
        (serve,) = self.call(request, name)
        assert isinstance(serve, Serve)
        return serve


def line(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()


def sent(actions: Iterable[Action]) -> list[dict[str, Any]]:
    """What goes to the server."""
    return [json.loads(action.line) for action in actions if isinstance(action, ToTarget)]


def told(actions: Iterable[Action]) -> list[dict[str, Any]]:
    """What goes to the client."""
    return [json.loads(action.line) for action in actions if isinstance(action, ToClient)]


@pytest.mark.parametrize("passthrough", [False, True])
def test_what_is_no_call_passes_byte_by_byte(passthrough: bool) -> None:
    """F52, F60: requests, notifications, questions of the server and answers to them pass as they were written."""
    driven = Driven(passthrough=passthrough)
    for text in (
        b'{ "jsonrpc":"2.0", "method":"initialize", "id":1.0e0 }'.replace(b"1.0e0", b"1"),
        b'{"id":"x","jsonrpc":"2.0","method":"resources/read","params":{"uri":"a://\\u00e9","_meta":{"progressToken":1}}}',
        b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}',
        b'{"jsonrpc":"2.0","id":7,"result":{"roots":[ ]}}',
    ):
        assert list(driven.pump.client(text)) == [ToTarget(text)]
    for text in (
        b'{"result":{"contents":[1.0,1e2,"\\u00e9"]},"jsonrpc":"2.0","id":"x"}',
        b'{"jsonrpc":"2.0", "method":"notifications/message","params":{"level":"info","data":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}',
    ):
        assert list(driven.pump.target(text)) == [ToClient(text)]


def test_a_call_reaches_the_server_only_when_it_is_forwarded() -> None:
    """F55: until then the server hears nothing; then it hears the client's line, and its answer passes as it came."""
    driven = Driven()
    driven.listed()
    asked = line({"id": 5, "method": "tools/call", "params": {"name": "look", "arguments": {"a": 1.50}}})
    (serve,) = driven.pump.client(asked)
    assert isinstance(serve, Serve)
    assert (serve.tool.name, serve.args) == ("look", {"a": 1.5})
    assert list(driven.pump.forward(serve.serial)) == [ToTarget(asked)]
    with pytest.raises(RealError):
        driven.pump.forward(serve.serial)
    answer = b'{"id":5,  "jsonrpc":"2.0","result":{"content":[],"n":1.50}}'
    (answered,) = driven.pump.target(answer)
    assert isinstance(answered, Answered)
    assert list(driven.pump.finish(serve.serial, Reply(answered.body["result"], "real", READ))) == [ToClient(answer)]
    assert driven.pump.idle


def test_an_answer_that_was_made_or_changed_is_written_anew() -> None:
    """A reply of the world's own carries the client's id."""
    driven = Driven()
    driven.listed()
    (serve,) = driven.call("a", "change")
    assert isinstance(serve, Serve)
    done = driven.pump.finish(serve.serial, Reply({"content": []}, "overlay", READ, intercepted=True))
    assert told(done) == [{"jsonrpc": "2.0", "id": "a", "result": {"content": []}}]


def test_a_call_before_any_list_waits_for_a_list_of_ours() -> None:
    """F51: the server is asked page by page, the client sees nothing of it, and an unlisted name is an error."""
    driven = Driven()
    (first,) = sent(driven.call(1, "look"))
    assert first["method"] == "tools/list"
    assert sent(driven.call(2, "nothing")) == []
    (second,) = sent(driven.target(id=first["id"], result={"tools": TOOLS[1:], "nextCursor": "more"}))
    assert second["params"] == {"cursor": "more"}
    actions = driven.target(id=second["id"], result={"tools": TOOLS[:1]})
    assert [action.tool.name for action in actions if isinstance(action, Serve)] == ["look"]
    assert [(each["id"], each["error"]["code"]) for each in told(actions)] == [(2, -32602)]
    assert [action.tool.name for action in actions if isinstance(action, Refused)] == ["nothing"]


def test_a_list_that_fails_lets_no_call_through() -> None:
    """F55: what cannot be judged is answered with an error."""
    driven = Driven()
    (asked,) = sent(driven.call(1, "look"))
    actions = driven.target(id=asked["id"], error={"code": -1, "message": "no"})
    assert [each["id"] for each in told(actions)] == [1]
    assert not any(isinstance(action, Serve) for action in actions)


def test_changed_tools_are_listed_again_before_the_next_call() -> None:
    """A server that makes a writer of a reader is judged by what it lists now."""
    driven = Driven()
    driven.listed()
    driven.target(method="notifications/tools/list_changed")
    (asked,) = sent(driven.call(1, "look"))
    assert asked["method"] == "tools/list"
    changed = [{**TOOLS[0], "annotations": {"destructiveHint": True}}]
    (serve,) = (each for each in driven.target(id=asked["id"], result={"tools": changed}) if isinstance(each, Serve))
    assert serve.tool.annotations == {"destructiveHint": True}


def test_a_name_that_stands_for_two_tools_is_called_by_nobody() -> None:
    """Which of them a call would reach, only the server knows."""
    driven = Driven()
    driven.listed([TOOLS[0], {**TOOLS[0], "annotations": {"readOnlyHint": True}}, TOOLS[1], TOOLS[1]])
    assert told(driven.call(1, "look"))[0]["error"]["code"] == -32602
    assert isinstance(driven.call(2, "change")[0], Serve)


@pytest.mark.parametrize(
    "smuggled",
    [
        b'[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"change"}}]',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"change"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"change"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","Name":"change"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","argument\xc5\xbf":{}}}',
        b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"change"}}',
        b'{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"change"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"vendor/write","params":{}}',
        b'{"jsonrpc":"2.0","method":"vendor/write","params":{}}',
        b'{"jsonrpc":"2.0","method":"notifications/delete_all","params":{}}',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"change"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["change"]}',
    ],
)
def test_what_a_server_might_read_as_a_call_does_not_reach_it(smuggled: bytes) -> None:
    """F55: what two readers could read in two ways is passed on to neither."""
    driven = Driven()
    driven.listed()
    assert sent(driven.pump.client(smuggled)) == []


def test_a_carriage_return_ends_no_line_behind_us() -> None:
    """Python's text streams would: a call in the middle of a harmless message would be a message of its own."""
    driven = Driven()
    hidden = b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"change"}}'
    (action,) = driven.pump.client(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":\r' + hidden + b"\r}}\r")
    assert isinstance(action, ToTarget)
    assert b"\r" not in action.line


def test_an_answer_nobody_asked_for_is_dropped() -> None:
    """A server cannot answer a call before it was asked, nor one that has an answer."""
    driven = Driven()
    driven.listed()
    (serve,) = driven.call(1, "change")
    assert isinstance(serve, Serve)
    assert told(driven.target(id=1, result={"content": []})) == []
    assert told(driven.target(id="1", result={})) == []
    assert told(driven.pump.finish(serve.serial, Reply({}, "overlay", READ)))[0]["id"] == 1


def test_a_cancelled_call() -> None:
    """F52: one that has reached the server is cancelled there; one that has not is nobody's business but ours."""
    driven = Driven()
    driven.listed()
    for request, forwarded in ("a", True), ("b", False):
        (serve,) = driven.call(request, "look")
        assert isinstance(serve, Serve)
        if forwarded:
            list(driven.pump.forward(serve.serial))
        actions = driven.client(method="notifications/cancelled", params={"requestId": request})
        assert Cancelled(serve.serial) in actions
        assert bool(sent(actions)) == forwarded
        assert list(driven.pump.finish(serve.serial, Reply({}, "real", READ))) == []
    assert told(driven.target(id="a", error={"code": 0, "message": "cancelled"}))
    assert driven.pump.idle


def test_an_id_that_is_used_again_lets_no_other_call_through() -> None:
    """F55: who serves a call that was cancelled can neither forward nor answer the one that has its id now."""
    driven = Driven()
    driven.listed()
    read = driven.served(5, "look")
    assert driven.client(method="notifications/cancelled", params={"requestId": 5}) == [Cancelled(read.serial)]
    write = driven.served(5, "change")
    assert write.serial != read.serial
    with pytest.raises(RealError):
        driven.pump.forward(read.serial)
    with pytest.raises(RealError):
        driven.pump.ask(read.serial, read.tool, {})
    assert list(driven.pump.finish(read.serial, Reply({}, "real", READ))) == []
    assert told(driven.pump.finish(write.serial, Reply({"content": []}, "overlay", READ)))[0]["id"] == 5
    assert driven.pump.idle


def test_no_call_reaches_the_server_on_a_stale_verdict() -> None:
    """F55: between verdict and call its tools changed, and may have been listed anew: another of that name."""
    driven = Driven()
    driven.listed()
    serve = driven.served(1, "look")
    driven.target(method="notifications/tools/list_changed")
    for attempt in range(2):
        with pytest.raises(RealError, match="changed"):
            driven.pump.forward(serve.serial)
        with pytest.raises(RealError, match="changed"):
            driven.pump.ask(serve.serial, serve.tool, {})
        if attempt == 0:
            driven.listed([{**TOOLS[0], "annotations": {"destructiveHint": True}}, TOOLS[1]])
    driven.listed()
    assert sent(driven.pump.forward(serve.serial))[0]["id"] == 1
    with pytest.raises(RealError, match="changed"):
        driven.pump.ask(serve.serial, Tool("gone", {"name": "gone"}), {})


def test_a_list_asked_for_before_the_tools_changed_is_stale() -> None:
    """F55: its answer may be older than the change, though it comes after; also as a page of a list that is newer."""
    driven = Driven()
    driven.client(id="list", method="tools/list")
    driven.target(method="notifications/tools/list_changed")
    driven.target(id="list", result={"tools": TOOLS})
    assert not driven.pump.toolbox.fresh
    assert sent(driven.call(1, "look"))[0]["method"] == "tools/list"
    driven = Driven()
    driven.client(id="old", method="tools/list", params={"cursor": "more"})
    driven.target(method="notifications/tools/list_changed")
    driven.client(id="new", method="tools/list")
    driven.target(id="new", result={"tools": TOOLS[:1], "nextCursor": "more"})
    driven.target(id="old", result={"tools": TOOLS[1:]})
    assert not driven.pump.toolbox.fresh


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("cursor", [[], {}, 5, True, ["more"]])
def test_a_cursor_that_is_none_is_no_list(passthrough: bool, cursor: Any) -> None:
    """A client that makes one up gets what the server says of it, and nothing is learned from that."""
    driven = Driven(passthrough=passthrough)
    driven.client(id=1, method="tools/list", params={"cursor": cursor})
    assert told(driven.target(id=1, result={"tools": TOOLS}))[0]["id"] == 1
    assert not driven.pump.toolbox.fresh


def test_tools_that_change_while_they_are_listed_are_listed_again() -> None:
    """A call waits for a list that is still true when it comes; for one that never is, it does not wait for ever."""
    driven = Driven()
    actions = driven.call(1, "look")
    for rounds in range(1, 100):  # noqa: B007
        if not (asked := sent(actions)):
            break
        driven.target(method="notifications/tools/list_changed")
        actions = driven.target(id=asked[0]["id"], result={"tools": TOOLS})
    assert rounds < 20
    assert "change" in told(actions)[0]["error"]["message"]
    assert driven.pump.idle
    (asked,) = sent(driven.call(2, "look"))
    driven.target(method="notifications/tools/list_changed")
    (again,) = sent(driven.target(id=asked["id"], result={"tools": TOOLS}))
    assert any(isinstance(each, Serve) for each in driven.target(id=again["id"], result={"tools": TOOLS}))


def test_no_answer_in_time() -> None:
    """F75: the client gets an error, the server is told, and what it says too late is dropped."""
    driven = Driven(start_s=30, call_s=10)
    driven.listed()
    driven.client(id=1, method="resources/read")
    (serve,) = driven.call(2, "look")
    assert isinstance(serve, Serve)
    list(driven.pump.forward(serve.serial))
    driven.clock.now += 9
    assert list(driven.pump.expire()) == []
    driven.clock.now += 2
    actions = list(driven.pump.expire())
    assert [each["id"] for each in told(actions)] == [1]
    assert [each.serial for each in actions if isinstance(each, Answered)] == [serve.serial]
    assert [each["params"]["requestId"] for each in sent(actions)] == [1, 2]
    assert told([*driven.target(id=1, result={}), *driven.target(id=2, result={})]) == []


def test_progress_and_questions_to_the_client_give_time() -> None:
    """F75: a deadline starts anew with progress, stands still while a person may be thinking, and ends all the same."""
    driven = Driven(call_s=10)
    driven.listed()
    driven.client(id=1, method="resources/read", params={"_meta": {"progressToken": "t"}})
    driven.clock.now += 9
    driven.target(method="notifications/progress", params={"progressToken": "t"})
    driven.clock.now += 9
    assert list(driven.pump.expire()) == []
    driven.target(id="q", method="elicitation/create")
    driven.clock.now += 9
    assert list(driven.pump.expire()) == []
    driven.clock.now += 90
    assert told(driven.pump.expire())[0]["id"] == 1


def test_progress_of_nothing_gives_no_time() -> None:
    """F75: progress without a token is nobody's, least of all that of every request without one."""
    driven = Driven(call_s=10)
    driven.listed()
    driven.client(id=1, method="ping")
    driven.client(id=2, method="ping", params={"_meta": {"progressToken": 1}})
    for token in (None, True, [], 1.0, "1"):
        driven.clock.now += 1.9
        driven.target(method="notifications/progress", params={} if token is None else {"progressToken": token})
    driven.clock.now += 1
    assert [each["id"] for each in told(driven.pump.expire())] == [1, 2]


def test_progress_gives_no_time_for_ever() -> None:
    """F75: ten times the deadline is the end, however much progress there is, to the second."""
    driven = Driven(call_s=10)
    driven.listed()
    driven.client(id=1, method="ping", params={"_meta": {"progressToken": "t"}})
    for _ in range(11):
        driven.clock.now += 9
        driven.target(method="notifications/progress", params={"progressToken": "t"})
        assert told(driven.pump.expire()) == []
    driven.clock.now += 2
    assert told(driven.pump.expire())[0]["id"] == 1


def test_a_question_the_server_takes_back_gives_no_time() -> None:
    """F75: nobody thinks about it any more; nor do questions past all counting cost memory."""
    driven = Driven(call_s=10)
    driven.listed()
    driven.client(id=1, method="ping")
    driven.target(id="q", method="elicitation/create")
    driven.target(method="notifications/cancelled", params={"requestId": "q"})
    driven.clock.now += 11
    assert told(driven.pump.expire())[0]["id"] == 1
    for number in range(5000):
        driven.target(id=number, method="ping")
    assert len(driven.pump._asked) < 5000


def test_pass_through_watches_so_many_and_passes_all() -> None:
    """F60: a server that stands still costs no memory without bound, and what is not watched passes all the same."""
    driven = Driven(passthrough=True)
    for number in range(5000):
        assert driven.client(id=number, method="ping")[0] == ToTarget(line({"id": number, "method": "ping"}))
    assert len(driven.pump._pending) < 5000
    assert [each["id"] for each in told(driven.target(id=4999, result={}))] == [4999]


def test_a_server_that_never_says_anything() -> None:
    """F75: the first deadline is the one for starting, and past it there is no use in waiting."""
    driven = Driven(start_s=30, call_s=10)
    driven.client(id=0, method="initialize")
    driven.clock.now += 29
    assert list(driven.pump.expire()) == []
    driven.clock.now += 2
    actions = list(driven.pump.expire())
    assert told(actions)[0]["id"] == 0
    assert any(isinstance(action, GiveUp) for action in actions)


def test_calls_are_watched_in_pass_through_mode() -> None:
    """F60, F64: they pass at once, and are told of with their answers."""
    driven = Driven(passthrough=True)
    driven.listed()
    assert sent(driven.call(1, "change", a=1))
    actions = driven.target(id=1, result={"content": []})
    assert told(actions)
    (seen,) = (each for each in actions if isinstance(each, Watched))
    assert (seen.tool.listed, seen.args, seen.body["result"]) == (TOOLS[1], {"a": 1}, {"content": []})


def test_a_call_of_ours_in_the_newer_protocol_says_who_asks() -> None:
    """Both eras: a list of ours carries what the client's call said of its protocol, and nothing else of it."""
    driven = Driven()
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "traceparent": "00-x", "progressToken": 1}
    actions = driven.client(id=1, method="tools/call", params={"name": "look", "arguments": {}, "_meta": meta})
    assert sent(actions)[0]["params"]["_meta"] == {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
