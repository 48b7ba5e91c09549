"""What happens to each message between a client and a server: the core of the proxy. Sans-IO: lines in, actions out.

A pump, not a second MCP server: what passes is passed as it came, byte by byte, in both directions. So resources,
prompts, completions, logging, progress, cancellation, subscriptions, sampling, elicitation and roots are the server's
own, and so are both eras of the protocol. One thing is taken out: a client's `tools/call`. It is handed to whoever
answers calls (`Serve`), together with what the server's list says of the tool, and reaches the server only if that
one asks for it (`forward`) - then as the very line the client sent, under the client's own id, so that progress and
cancellation still fit, and the answer can be passed on as the very line it came in. Between us it goes by a serial, for
a client may use an id again as soon as it has cancelled the call: what was decided of one call must not let another
one through.

A tool must have been seen before a call of it means anything. Lists that pass are read along (`toolbox.py`); a call
that comes before any list, or after the server said that its tools changed, waits until a list of ours has been
answered. A call reaches the server only while its tool is what it was when it was judged. The ids of our lists are not
guessable, and neither side sees anything of them.

Fail closed: of what a client says, only methods and notifications of the protocol pass, read as strictly as
`_messages.py` says. In pass-through mode everything passes, and calls are merely watched.

Every request has a deadline. It starts anew with progress, and while the client has a question of the server to
answer, a person may be thinking; ten times the deadline is the end in any case.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from belljar import show
from belljar.faker import _messages as messages
from belljar.faker.actions import (
    Action,
    Answered,
    Cancelled,
    GiveUp,
    Listed,
    Note,
    Refused,
    Serve,
    ToClient,
    ToTarget,
    Watched,
)
from belljar.faker.calls import RealError, Reply, Tool
from belljar.faker.toolbox import MAX_PAGES, Toolbox
from belljar.rpc import jsontext
from belljar.rpc.upstreams.programs import TooLong
from belljar.rpc.world import JsonValue

__all__ = ["GONE", "LONGEST", "TIMED_OUT", "Pump", "PumpOptions"]

_CALL = "tools/call"
_LIST = "tools/list"
_CANCELLED = "notifications/cancelled"
_METHODS = frozenset(
    """
    initialize server/discover ping tools/list resources/list resources/templates/list resources/read
    resources/subscribe resources/unsubscribe prompts/list prompts/get completion/complete logging/setLevel
    subscriptions/listen tasks/get tasks/list tasks/result tasks/cancel
    """.split()
)
_NOTIFICATIONS = frozenset(
    """
    notifications/initialized notifications/progress notifications/roots/list_changed notifications/tasks/status
    """.split()
)
# Answered when it ends, which may be never.
_ENDLESS = frozenset({"subscriptions/listen"})
_MODERN = "io.modelcontextprotocol/"
_VERSION = "io.modelcontextprotocol/protocolVersion"
# What progress and questions to the client can make of a deadline.
LONGEST = 10.0
# Far more than clients have in flight; without a bound, a server that stands still would cost memory.
_MOST_PENDING = 4096
_MOST_EXPIRED = 4096
# Questions of a server that the client has not answered; those past it give nobody time.
_MOST_ASKED = 4096
# Of a server that says that its tools changed whenever they are listed.
_MOST_LISTS = 5
# Our own errors, in the range that JSON-RPC leaves to implementations.
TIMED_OUT = -32001
GONE = -32000


@dataclass(frozen=True, slots=True)
class PumpOptions:
    """How the pump works."""

    passthrough: bool = False
    """Everything passes as it is, writes too."""
    list_at_once: bool = False
    """List the tools as soon as the client is connected, rather than when a call needs it."""
    start_s: float = 30.0
    """For the first answer of the server."""
    call_s: float = 60.0
    """For any other answer."""


_Kind = Literal["passed", "list", "watched", "call", "own", "ask"]


@dataclass(slots=True)
class _Pending:
    """A request that has no answer yet. `deadline` is None while nobody but us is asked.

    Of a client: `call`, which we answer, and `passed`, `list` and `watched`, which the server answers. Of ours: `own`,
    a list, and `ask`, a call of a tool that reads.
    """

    kind: _Kind
    message: messages.Message
    serial: int
    generation: int
    """Of the tools, when it was asked."""
    began: float
    deadline: float | None = None
    forwarded: bool = False
    answer: messages.Message | None = None
    tool: Tool | None = None
    """As it was judged."""

    @property
    def args(self) -> Mapping[str, JsonValue]:
        return _object(self.message.params.get("arguments")) or {}

    @property
    def request(self) -> JsonValue:
        return self.message.body["id"]


@dataclass(slots=True)
class _OwnList:
    """A list of ours: under way while `key` is set."""

    key: str = ""
    pages: int = 0
    lists: int = 1
    meta: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


class Pump:
    """One connection of one client to one server."""

    def __init__(self, options: PumpOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self.toolbox = Toolbox()
        self.heard = False
        """The server has said something."""
        self._pending: dict[str, _Pending] = {}
        self._served: dict[int, _Pending] = {}
        """Calls that are being served, by their serials."""
        self._waiting: list[str] = []
        self._own = _OwnList()
        self._secret = secrets.token_hex(8)
        self._count = 0
        self._asked: set[str] = set()
        self._expired: dict[str, None] = {}
        self._listed_at_once = False

    @property
    def idle(self) -> bool:
        """Nobody waits for anything."""
        return not self._pending

    # what the client says

    def client(self, line: bytes | TooLong) -> Iterator[Action]:
        """A line of the client."""
        if isinstance(line, TooLong):
            yield Note(f"a message of {line.size} bytes of the client is not passed on")
            error = _error(messages.INVALID_REQUEST, f"a message of {line.size} bytes is not passed on")
            yield ToClient(messages.error_line(_request_of(messages.id_of(line)), error))
            return
        if not line or line.isspace():
            return
        if self._options.passthrough:
            yield from self._pass_all(line)
            return
        try:
            message = messages.from_client(line)
            yield from self._client(message)
        except messages.RefusedError as exc:
            yield Note(f"refused: {show.text(exc.reason, max_chars=200)}")
            yield ToClient(messages.error_line(exc.request, _error(exc.code, exc.reason)))

    def _client(self, message: messages.Message) -> Iterator[Action]:
        method = message.method
        if method is None:
            self._asked.discard(message.key)
            yield ToTarget(message.line)
        elif method == _CALL:
            yield from self._call(message)
        elif message.has_id:
            if method not in _METHODS:
                reason = f"{method!r} is no method of the protocol, and might write; it passes with --passthrough only"
                raise messages.RefusedError(messages.METHOD_NOT_FOUND, reason, message.body["id"])
            self._enter(message, "list" if method == _LIST else "passed")
            yield ToTarget(message.line)
        elif method == _CANCELLED:
            yield from self._cancel(message)
        elif method not in _NOTIFICATIONS:
            yield Note("a notification that is none of the protocol's is not passed on")
        else:
            yield ToTarget(message.line)
            if method == "notifications/initialized":
                yield from self._list_at_once({})

    def _cancel(self, message: messages.Message) -> Iterator[Action]:
        key = messages.key_of(message.params.get("requestId"))
        pending = self._pending.get(key)
        if pending is None or pending.kind != "call":
            if pending is not None:
                pending.deadline = None
            yield ToTarget(message.line)
            return
        yield Cancelled(pending.serial)
        if pending.forwarded and pending.answer is None:
            # Servers may answer all the same, or with an error; then the client hears what it would hear from them.
            self._leave(key)
            self._pending[key] = self._made("passed", pending.message, None)
            yield ToTarget(message.line)
        else:
            self._leave(key)

    def _enter(self, message: messages.Message, kind: _Kind) -> _Pending:
        key = message.key
        if not key:
            raise messages.RefusedError(messages.INVALID_REQUEST, "a call needs an id")
        if key in self._pending:
            raise messages.RefusedError(messages.INVALID_REQUEST, "this id is in use", message.body["id"])
        if len(self._pending) >= _MOST_PENDING:
            reason = f"more than {_MOST_PENDING} requests have no answer yet"
            raise messages.RefusedError(messages.INTERNAL_ERROR, reason, message.body["id"])
        endless = kind == "call" or message.method in _ENDLESS
        pending = self._pending[key] = self._made(kind, message, None if endless else self._deadline())
        return pending

    def _made(self, kind: _Kind, message: messages.Message, deadline: float | None) -> _Pending:
        self._count += 1
        return _Pending(kind, message, self._count, self.toolbox.generation, self._clock(), deadline)

    def _leave(self, key: str) -> None:
        if (pending := self._pending.pop(key, None)) is not None:
            self._served.pop(pending.serial, None)
        if key in self._waiting:
            self._waiting.remove(key)

    def _deadline(self) -> float:
        return self._clock() + (self._options.call_s if self.heard else self._options.start_s)

    # calls

    def _call(self, message: messages.Message) -> Iterator[Action]:
        if not message.has_id:
            yield Note("a call without an id is not passed on")
            return
        name, args = message.params.get("name"), message.params.get("arguments")
        if not isinstance(name, str) or not isinstance(args, dict | None):
            reason = "a call has a name, which is text, and arguments, which are an object"
            raise messages.RefusedError(messages.INVALID_PARAMS, reason, message.body["id"])
        self._enter(message, "call")
        if self.toolbox.fresh and name in self.toolbox.tools:
            yield from self._judge(message.key)
            return
        self._waiting.append(message.key)
        if not self._own.key:
            yield from self._begin_list(message.meta)

    def _judge(self, key: str, error: Mapping[str, JsonValue] | None = None) -> Iterator[Action]:
        """Have the call served, if its tool is known; else answer with an error."""
        pending = self._pending[key]
        name = pending.message.params["name"]
        tool = self.toolbox.tools.get(name)
        if error is None and tool is None:
            error = _error(messages.INVALID_PARAMS, f"Unknown tool: {name}")
        elif error is None and name in self.toolbox.twice:
            reason = f"the server lists several tools called {name!r}; which of them a call would reach is unknown"
            error = _error(messages.INVALID_PARAMS, reason)
        if error is None and tool is not None:
            pending.tool = tool
            self._served[pending.serial] = pending
            yield Serve(pending.serial, tool, pending.args, pending.message.meta)
            return
        assert error is not None
        self._leave(key)
        yield ToClient(messages.error_line(pending.request, error))
        yield Refused(tool or Tool(name, {"name": name}), pending.args, pending.message.meta, error)

    def _judge_waiting(self, error: Mapping[str, JsonValue] | None = None) -> Iterator[Action]:
        waiting, self._waiting = self._waiting, []
        for key in waiting:
            yield from self._judge(key, error)

    def forward(self, serial: int, traceparent: str | None = None) -> list[Action]:
        """Let a call that is being served reach the server; `Answered` follows, within its deadline.

        With a `traceparent` the server is told of our span in place of the client's: the one change to what passes.

        Raises:
            RealError: nobody waits for it any more, it has been there, or its tool is not what it was.
        """
        pending = self._serving(serial)
        if pending.forwarded:
            raise RealError(messages.INTERNAL_ERROR, "a call reaches the server once")
        assert pending.tool is not None
        self._check(pending.tool)
        pending.forwarded = True
        pending.began, pending.deadline = self._clock(), self._deadline()
        message = pending.message
        return [ToTarget(message.line if traceparent is None else messages.traced(message, traceparent))]

    def ask(self, serial: int, tool: Tool, args: Mapping[str, JsonValue]) -> tuple[int, list[Action]]:
        """Call another tool while that call is being served; `Answered` follows for the serial that is returned.

        Raises:
            RealError: nobody waits for the call any more, or this tool is not what it was.
        """
        behind = self._serving(serial).message.meta
        self._check(tool)
        params: dict[str, JsonValue] = {"name": tool.name, "arguments": dict(args)}
        pending, actions = self._send_own("ask", _CALL, params, behind)
        return pending.serial, actions

    def _serving(self, serial: int) -> _Pending:
        if (pending := self._served.get(serial)) is None:
            raise RealError(messages.INTERNAL_ERROR, "nobody waits for this call any more")
        return pending

    def _check(self, tool: Tool) -> None:
        if not self.toolbox.holds(tool):
            raise RealError(messages.INTERNAL_ERROR, "the server's tools changed since this call was judged; try again")

    def finish(self, serial: int, reply: Reply) -> Iterator[Action]:
        """Answer a call that was served. What the server said, and nobody touched, passes as it came."""
        if (pending := self._served.get(serial)) is None:
            return
        self._leave(pending.message.key)
        answer = pending.answer
        if answer is not None and reply.error is None and reply.result is answer.body.get("result"):
            yield ToClient(answer.line)
            return
        yield ToClient(self._written(pending, reply))

    def _written(self, pending: _Pending, reply: Reply) -> bytes:
        if reply.error is not None:
            return messages.error_line(pending.request, reply.error)
        result = reply.result
        if "resultType" not in result and _VERSION in pending.message.meta:
            result = {**result, "resultType": "complete"}
        try:
            return messages.result_line(pending.request, result)
        except jsontext.JsonError as exc:
            error = _error(messages.INTERNAL_ERROR, f"the answer cannot be written as JSON: {exc}")
            return messages.error_line(pending.request, error)

    # lists of ours

    def _list_at_once(self, meta: Mapping[str, JsonValue]) -> Iterator[Action]:
        if self._options.list_at_once and not self._listed_at_once:
            self._listed_at_once = True
            yield from self._begin_list(meta)

    def _begin_list(self, meta: Mapping[str, JsonValue]) -> Iterator[Action]:
        self._own = _OwnList(meta=meta)
        yield from self._next_page(None)

    def _list_again(self) -> Iterator[Action]:
        """The list that just came is not what the server lists now."""
        if self._own.lists >= _MOST_LISTS:
            yield from self._own_failed("they change whenever they are listed")
            return
        self._own = _OwnList(meta=self._own.meta, lists=self._own.lists + 1)
        yield from self._next_page(None)

    def _next_page(self, cursor: str | None) -> Iterator[Action]:
        params: dict[str, JsonValue] = {} if cursor is None else {"cursor": cursor}
        pending, actions = self._send_own("own", _LIST, params, self._own.meta)
        self._own.key = pending.message.key
        self._own.pages += 1
        yield from actions

    def _send_own(
        self, kind: _Kind, method: str, params: dict[str, JsonValue], behind: Mapping[str, JsonValue]
    ) -> tuple[_Pending, list[Action]]:
        """A request of ours; `behind`: the `_meta` of the client's that it is made for."""
        request = f"belljar-{self._secret}-{self._count + 1}"
        # The newer protocol wants every request to say who asks.
        if meta := {key: value for key, value in behind.items() if key.startswith(_MODERN)}:
            params = {**params, "_meta": meta}
        line = messages.request_line(request, method, params)
        message = messages.Message(line, {"id": request, "method": method, "params": params})
        pending = self._pending[message.key] = self._made(kind, message, self._deadline())
        return pending, [ToTarget(line)]

    def _own_page(self, pending: _Pending, body: Mapping[str, Any]) -> Iterator[Action]:
        result, cursor = _object(body.get("result")), pending.message.params.get("cursor")
        if result is None:
            yield from self._own_failed(_reason(body))
        elif self.toolbox.page(cursor, result, pending.generation):
            yield Listed(self.toolbox.tools)
            if self._waiting and not self.toolbox.fresh:
                yield from self._list_again()
                return
            self._own = _OwnList()
            yield from self._judge_waiting()
        elif self._own.pages < MAX_PAGES:
            yield from self._next_page(result.get("nextCursor"))
        else:
            yield from self._own_failed(f"it has more than {MAX_PAGES} pages")

    def _own_failed(self, reason: str) -> Iterator[Action]:
        self._own = _OwnList()
        reason = f"the server's tools cannot be listed, so that no call can be judged: {reason}"
        yield Note(show.text(reason, max_chars=300))
        yield from self._judge_waiting(_error(messages.INTERNAL_ERROR, reason))

    # what the server says

    def target(self, line: bytes | TooLong) -> Iterator[Action]:
        """A line of the server."""
        if isinstance(line, TooLong):
            yield from self._too_long(line)
            return
        if not line or line.isspace():
            return
        try:
            message = messages.from_target(line)
        except messages.NoMessageError:
            yield Note(f"the server's stdout holds what is no message: {show.text(_start(line), max_chars=120)}")
            return
        self.heard = True
        if message.method is None:
            yield from self._answer(message)
        else:
            self._look_at(message)
            yield ToClient(line)

    def _look_at(self, message: messages.Message) -> None:
        if message.has_id:
            if len(self._asked) < _MOST_ASKED:
                self._asked.add(message.key)
        elif message.method == _CANCELLED:
            self._asked.discard(messages.key_of(message.params.get("requestId")))
        elif message.method == "notifications/tools/list_changed":
            self.toolbox.changed()
        elif message.method == "notifications/progress":
            self._progress(message.params.get("progressToken"))

    def _progress(self, token: JsonValue) -> None:
        if not (wanted := messages.key_of(token)):
            return
        for pending in self._pending.values():
            if pending.deadline is not None and messages.key_of(pending.message.meta.get("progressToken")) == wanted:
                self._more_time(pending, self._options.call_s)

    def _more_time(self, pending: _Pending, limit: float) -> None:
        pending.deadline = min(self._clock() + limit, pending.began + LONGEST * limit)

    def _answer(self, message: messages.Message) -> Iterator[Action]:
        key = message.key
        pending = self._pending.get(key)
        if not key:
            yield ToClient(message.line)  # an error about what the server could not read
        elif pending is None or (pending.kind == "call" and (not pending.forwarded or pending.answer is not None)):
            if self._options.passthrough and key not in self._expired:
                yield ToClient(message.line)
            else:
                yield Note("the server answers what nobody asked")
        elif pending.kind == "call":
            pending.answer, pending.deadline = message, None
            yield Answered(pending.serial, message.body)
        else:
            self._leave(key)
            if pending.kind == "own":
                yield from self._own_page(pending, message.body)
            elif pending.kind == "ask":
                yield Answered(pending.serial, message.body)
            else:
                yield from self._passed(pending, message)

    def _passed(self, pending: _Pending, message: messages.Message) -> Iterator[Action]:
        yield ToClient(message.line)
        result = _object(message.body.get("result"))
        if pending.kind == "list" and result is not None:
            if self.toolbox.page(pending.message.params.get("cursor"), result, pending.generation):
                yield Listed(self.toolbox.tools)
        elif pending.kind == "watched":
            yield self._watched(pending, message.body)
        if pending.message.method == "server/discover" and result is not None:
            yield from self._list_at_once(pending.message.meta)

    def _too_long(self, line: TooLong) -> Iterator[Action]:
        key = messages.id_of(line)
        yield Note(f"a message of {line.size} bytes of the server is not passed on")
        if key in self._pending:
            yield from self._fail(key, _error(GONE, f"the server answered with {line.size} bytes, which is too much"))

    # pass-through mode

    def _pass_all(self, line: bytes) -> Iterator[Action]:
        yield ToTarget(line)
        try:
            message = messages.from_target(line)
        except messages.NoMessageError:
            return
        if message.method is None:
            self._asked.discard(message.key)
        elif message.has_id and len(self._pending) >= _MOST_PENDING:
            yield Note(f"a request is not watched: more than {_MOST_PENDING} have no answer yet")
        elif message.has_id and message.key and message.key not in self._pending:
            kind: _Kind = "list" if message.method == _LIST else "watched" if message.method == _CALL else "passed"
            self._pending[message.key] = self._made(kind, message, self._pass_deadline(message))
        elif message.method == _CANCELLED:
            pending = self._pending.get(messages.key_of(message.params.get("requestId")))
            if pending is not None:
                pending.deadline = None
        elif message.method == "notifications/initialized":
            yield from self._list_at_once({})

    def _pass_deadline(self, message: messages.Message) -> float | None:
        return None if message.method in _ENDLESS else self._deadline()

    def _watched(self, pending: _Pending, body: Mapping[str, Any]) -> Watched:
        name = str(pending.message.params.get("name"))
        tool = self.toolbox.tools.get(name) or Tool(name, {"name": name})
        return Watched(tool, pending.args, pending.message.meta, body, self._clock() - pending.began)

    # deadlines, and the end

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, unless something happens before."""
        return min((each.deadline for each in self._pending.values() if each.deadline is not None), default=None)

    def expire(self) -> Iterator[Action]:
        """Answer what the server did not answer in time."""
        now = self._clock()
        for key, pending in list(self._pending.items()):
            if pending.deadline is None or pending.deadline > now:
                continue
            limit = self._options.call_s if self.heard else self._options.start_s
            if self._asked and now - pending.began < LONGEST * limit:
                self._more_time(pending, limit)  # the server waits for the client
                continue
            yield from self._fail(
                key, _error(TIMED_OUT, f"the server gave no answer within {now - pending.began:.1f} s")
            )
            if pending.message.method not in ("initialize", "server/discover"):
                params: dict[str, JsonValue] = {"requestId": pending.request, "reason": "no answer in time"}
                yield ToTarget(messages.notification_line(_CANCELLED, params))
            elif not self.heard and pending.message.method == "initialize":
                yield GiveUp(f"gave no answer within {limit:g} s")

    def fail_all(self, reason: str) -> Iterator[Action]:
        """The server is gone: answer all that wait for it."""
        error = _error(GONE, f"the server {reason}")
        for key in list(self._pending):
            yield from self._fail(key, error)

    def _fail(self, key: str, error: Mapping[str, JsonValue]) -> Iterator[Action]:
        pending = self._pending[key]
        self._expire_key(key)
        if pending.kind == "own":
            self._leave(key)
            yield from self._own_failed(str(error["message"]))
        elif pending.kind == "ask":
            self._leave(key)
            yield Answered(pending.serial, {"error": error})
        elif pending.kind != "call":
            self._leave(key)
            yield ToClient(messages.error_line(pending.request, error))
            if pending.kind == "watched":
                yield self._watched(pending, {"error": error})
        elif pending.forwarded and pending.answer is None:
            pending.deadline = None
            pending.forwarded = False  # what comes now is late
            yield Answered(pending.serial, {"error": error})

    def _expire_key(self, key: str) -> None:
        self._expired[key] = None
        while len(self._expired) > _MOST_EXPIRED:
            del self._expired[next(iter(self._expired))]


def _error(code: int, message: str) -> dict[str, JsonValue]:
    return {"code": code, "message": message}


def _object(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _request_of(key: str) -> JsonValue:
    return None if not key else key[1:] if key.startswith('"') else int(key)


def _reason(body: Mapping[str, Any]) -> str:
    message = (_object(body.get("error")) or {}).get("message")
    return message if isinstance(message, str) else "the answer is no list"


def _start(line: bytes) -> str:
    return line[:200].decode(errors="replace")
