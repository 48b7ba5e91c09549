"""The ledger: what one run did, written by the host alone.

The bridge tells it each step of each call; the guest can write nothing into it. It has two faces. `calls` are the
`CallRecord`s that `Run.calls`, the trace and observers read; `entries()` is the append-only list of facts, each entry
carrying the hash of the one before, so that a ledger kept as a recording shows damage, reordering and edits, and `head`
in a stored trace pins the whole of it.

What is written when: a step is appended at once as a reference to facts that no longer change, and it becomes an
entry - digests taken, hash chained - when `head` or `entries()` is first asked for, after the run has been answered.
Hashing twenty bodies costs more than all the rest, and the answer must not wait for it. Nothing can slip in between:
values are kept as the JSON *text* that crossed the border, which cannot change, not as objects somebody else holds too.

States of a call: `pending` (waiting for its turn or for a person: it was not made), `executing`, then `applied`,
`failed`, `denied`, or `unknown`: it may have happened. A call gets `unknown` if the run ended while it was executing,
or if it may write and ended without a word of the tool itself (a deadline, a lost connection): a caller must never be
told "failed" of a write that was made. A call the run's end overtook before it was made stays `pending`, with the run's
own code for why.

Memory is bounded: beyond `keep_bytes` of texts (a guest may send 1000 times 4 MiB) digests and sizes stay, texts go.
A run whose answers were dropped cannot be replayed, and `complete` says so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import orjson

from belljar.errors import Code, ValidationError
from belljar.limits import MAX_FRAME_BYTES, MIB
from belljar.rpc import jsontext
from belljar.rpc.messages import Call
from belljar.rpc.record import CallRecord, State
from belljar.rpc.world import JsonValue, ToolInfo

__all__ = [
    "GENESIS",
    "CallRecord",
    "Entry",
    "Ledger",
    "RefusedState",
    "State",
    "answer_sha256",
    "text_sha256",
    "verify",
]

RefusedState = Literal["failed", "denied"]
Entry = dict[str, JsonValue]

GENESIS = "0" * 64
"""What the first entry carries as the hash of the one before."""

# Sixteen times the largest call; with 64 calls in flight a run still fits a small machine.
_KEEP_BYTES = 64 * MIB
_HINTS = frozenset({"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"})
# The tool itself did not say what became of the call.
_UNSURE = frozenset({Code.RPC_TIMEOUT, Code.UPSTREAM_UNAVAILABLE})


class Ledger:
    """What one run did. The calls below must come in this order:

        open  { admit  { started  ended | failed } | refused | awaiting }  close

    Each of them returns at once and never raises for anything the guest or an upstream said. What comes of a call after
    `close` is not written: it never reached the guest, and the call is `unknown`. A call cannot begin after it.
    """

    def __init__(
        self,
        run_id: str,
        *,
        source: str = "real",
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.perf_counter_ns,
        keep_bytes: int = _KEEP_BYTES,
    ) -> None:
        self.run_id = run_id
        self.calls: list[CallRecord] = []
        self.complete = True
        """Whether every answer was kept, so that the run can be replayed."""
        self.closed = False
        self.code = ""
        self.args_text = "{}"
        self.clock: tuple[int, ...] = ()
        self._source = source
        self._clock = clock
        self._monotonic = monotonic
        self._keep_bytes = self._room = keep_bytes
        self._unanswered = 0
        self._layers = 0
        self._completed = 0
        self._iterations: dict[int, int] = {}
        self._begun: dict[int, int] = {}
        self._answers: dict[int, str] = {}
        self._steps: list[Callable[[], Entry]] = []
        self._entries: list[Entry] = []

    # A run's life

    def open(self, *, code: str, args_text: str, seed: str, now_ns: int, **facts: JsonValue) -> None:
        """The run begins. `facts` is what else was given: capability, limits, policy, world, backend, walls..."""
        self.code = code
        self.args_text = args_text
        at_ns = self._clock()
        self._steps.append(
            lambda: {
                "kind": "open",
                "run": self.run_id,
                "at_ns": at_ns,
                "code_sha256": text_sha256(code),
                "args_sha256": jsontext.text_value_sha256(args_text, max_bytes=MAX_FRAME_BYTES),
                "seed": seed,
                "now_ns": now_ns,
                "facts": facts,
            }
        )

    def admit(self, call: Call, args: Mapping[str, JsonValue] | None) -> CallRecord:
        """The guest asks for a call. `args` is None if its text was too long to be parsed."""
        self._must_be_open()
        if not self._unanswered:
            self._layers += 1
        self._unanswered += 1
        iteration = self._iterations[call.line] = self._iterations.get(call.line, 0) + 1
        size = jsontext.size(call.args)
        record = CallRecord(
            call.call,
            call.server,
            call.tool,
            call.line,
            self._layers - 1,
            iteration,
            self._clock(),
            size,
            call.args,
            self._source,
        )
        if args is None or not self._has_room(size):
            self._drop_args(record, args)
        self.calls.append(record)
        return record

    def started(self, record: CallRecord, tool: ToolInfo, grant: str) -> None:
        """The call is granted and goes to the world now."""
        self._must_be_open()
        record.state = "executing"
        record.grant = grant
        record.is_write = not tool.read_only
        record.tool_digest = tool.digest
        record.annotations = tool.annotations
        record.started_at_ns = self._clock()
        self._begun[record.call_id] = self._monotonic()
        self._steps.append(lambda: _call_entry("call", record))

    def ended(self, record: CallRecord, value_text: str, *, source: str, detail: str | None = None) -> None:
        """The world answered: `applied`."""
        if self.closed:
            return
        record.state = "applied"
        record.source = source
        record.source_detail = detail
        record.value_bytes = jsontext.size(value_text)
        if self._has_room(record.value_bytes):
            record.value_text = value_text
        else:
            self._drop_answer(record, answer_sha256(value_text))
        self._complete(record)
        self._steps.append(lambda: self._end_entry(record))

    def failed(
        self, record: CallRecord, code: Code, message: str, data_text: str = "null", *, said: bool = True
    ) -> None:
        """The call was made and gave an error. `said` is whether the tool itself said so.

        It is `failed`, or `unknown` if it may have written and nobody can tell.
        """
        if self.closed:
            return
        sure = said and code not in _UNSURE
        record.state = "failed" if sure or not record.is_write else "unknown"
        self._error(record, code, message, data_text)
        self._complete(record)
        self._steps.append(lambda: self._end_entry(record))

    def refused(
        self, record: CallRecord, state: RefusedState, code: Code, message: str, data_text: str = "null"
    ) -> None:
        """The call was not made, and the guest is told why."""
        if self.closed:
            return
        record.state = state
        self._error(record, code, message, data_text)
        self._complete(record)
        self._steps.append(lambda: _call_entry("refused", record) | self._outcome(record))

    def awaiting(self, record: CallRecord) -> None:
        """The call waits for a person; the run ends with that."""
        if self.closed:
            return
        record.state = "pending"
        record.error_code = Code.APPROVAL_REQUIRED.value
        self._unanswered -= 1
        self._steps.append(lambda: _call_entry("pending", record))

    def close(self, *, outcome: str, clock: Sequence[int] = (), **facts: JsonValue) -> None:
        """The run has ended: `outcome` is `ok` or an error code, `clock` what the guest read. Nothing follows it."""
        self._must_be_open()
        for record in self.calls:
            self._overtake(record, outcome)
        at_ns, self.clock = self._clock(), tuple(clock)
        unknown = [record.call_id for record in self.calls if record.state == "unknown"]
        self._steps.append(
            lambda: {
                "kind": "close",
                "at_ns": at_ns,
                "outcome": outcome,
                "unknown": unknown,
                "clock_sha256": jsontext.sha256(self.clock),
                "facts": facts,
            }
        )
        self.closed = True

    # What it says

    @property
    def head(self) -> str:
        """Hash of the newest entry, 64 hex digits; GENESIS if there is none."""
        self._seal()
        return self._entries[-1]["hash"] if self._entries else GENESIS

    @property
    def kept_bytes(self) -> int:
        """How much text of its calls it keeps."""
        return self._keep_bytes - self._room

    def entries(self) -> list[Entry]:
        """All entries so far, each with `n`, `prev` and `hash`; copies."""
        self._seal()
        return [dict(entry) for entry in self._entries]

    # Inside

    def _seal(self) -> None:
        for step in self._steps:
            entry = step()
            entry["n"] = len(self._entries)
            entry["prev"] = self._entries[-1]["hash"] if self._entries else GENESIS
            entry["hash"] = _sha256(entry)
            self._entries.append(entry)
        self._steps.clear()

    def _must_be_open(self) -> None:
        if self.closed:
            raise RuntimeError("a call cannot begin after the ledger was closed")

    def _overtake(self, record: CallRecord, outcome: str) -> None:
        if record.state == "executing":
            record.state = "unknown"
            record.duration_ms = self._since(record)
        elif record.state == "pending" and record.error_code is None:
            record.error_code = None if outcome == "ok" else outcome
            record.error_message = "the run ended before this call was made"
            record.duration_ms = 0.0
            self._steps.append(lambda: _call_entry("unmade", record))

    def _error(self, record: CallRecord, code: Code, message: str, data_text: str) -> None:
        record.error_code = code.value
        record.error_message = message
        if self._has_room(len(message) + len(data_text)):
            record.error_data_text = data_text
        else:
            self._drop_answer(record, answer_sha256(code.value, message, data_text))

    def _complete(self, record: CallRecord) -> None:
        record.duration_ms = self._since(record)
        record.completion_order = self._completed
        record.completed_after = len(self.calls)
        self._completed += 1
        self._unanswered -= 1

    def _since(self, record: CallRecord) -> float:
        """Milliseconds since the call went to the world; 0 if it never did."""
        begun = self._begun.get(record.call_id)
        return 0.0 if begun is None else (self._monotonic() - begun) / 1e6

    def _has_room(self, size: int) -> bool:
        if size > self._room:
            return False
        self._room -= size
        return True

    def _drop_answer(self, record: CallRecord, digest: str) -> None:
        self._answers[record.call_id] = digest
        self.complete = False

    def _drop_args(self, record: CallRecord, args: Mapping[str, JsonValue] | None) -> None:
        """Keep the digest alone. Paid on the run's path, by the run that brought it about."""
        text = record.args_text or ""
        record.forget_args(text_sha256(text) if args is None else jsontext.sha256(args))

    def _end_entry(self, record: CallRecord) -> Entry:
        return {"kind": "end", "call": record.call_id, **self._outcome(record)}

    def _outcome(self, record: CallRecord) -> Entry:
        return {
            "state": record.state,
            "order": record.completion_order,
            "after": record.completed_after,
            "code": record.error_code,
            "answer_sha256": self._answers.get(record.call_id) or _record_sha256(record),
            "source": record.source,
            "source_detail": record.source_detail,
            "duration_ns": round((record.duration_ms or 0.0) * 1e6),
        }


def verify(entries: Iterable[Mapping[str, JsonValue]]) -> str:
    """The head of the chain, if every entry is as it was written.

    A chain that was cut short at its end is a valid shorter chain: compare the head with one that was kept elsewhere.

    Raises:
        ValidationError: an entry was changed, added, removed or moved.
    """
    head = GENESIS
    for n, entry in enumerate(entries):
        if entry.get("n") != n or entry.get("prev") != head or entry.get("hash") != _hash(entry):
            raise ValidationError(f"the ledger is damaged at entry {n}; use another recording")
        head = entry["hash"]
    return head


def answer_sha256(value_or_code: str, message: str | None = None, data_text: str = "null") -> str:
    """Digest of what the guest was given: the text of the value, or code, message and data of an error."""
    if message is None:
        return text_sha256(value_or_code)
    return jsontext.sha256([value_or_code, message, data_text])


def _record_sha256(record: CallRecord) -> str:
    if record.error_code is not None:
        return answer_sha256(record.error_code, record.error_message or "", record.error_data_text)
    return answer_sha256(record.value_text or "")


def _call_entry(kind: str, record: CallRecord) -> Entry:
    return {
        "kind": kind,
        "call": record.call_id,
        "server": record.server,
        "tool": record.tool,
        "args_sha256": record.args_sha256,
        "args_kept": record.args_text is not None,
        "line": record.line,
        "layer": record.layer,
        "iteration": record.iteration,
        "at_ns": record.started_at_ns,
        "grant": record.grant,
        "write": record.is_write,
        "tool_digest": record.tool_digest,
        "hints": {hint: on for hint, on in record.annotations.items() if hint in _HINTS and isinstance(on, bool)},
    }


def _hash(entry: Mapping[str, JsonValue]) -> str:
    """Over the entry, the hash of the one before included, its own hash not."""
    return jsontext.sha256({key: value for key, value in entry.items() if key != "hash"})


def _sha256(entry: Entry) -> str:
    """As `jsontext.sha256`; eight times as fast for the entry of a call, which holds no float."""
    if "facts" in entry:
        return jsontext.sha256(entry)
    return hashlib.sha256(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)).hexdigest()


def text_sha256(text: str) -> str:
    """Hex SHA-256 of the text as UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()
