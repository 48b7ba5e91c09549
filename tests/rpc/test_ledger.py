"""The ledger: states that tell the truth, a chain that shows every edit, and memory that a guest cannot fill."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from belljar.errors import Code, ValidationError
from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.ledger import GENESIS, CallRecord, Ledger, answer_sha256, text_sha256, verify
from belljar.rpc.messages import Call
from belljar.rpc.world import ToolInfo

READ = ToolInfo("git", "log", annotations={"readOnlyHint": True, "title": "Log"}, digest="d1")
WRITE = ToolInfo("git", "commit", digest="d2")


class Clock:
    """Counts up by a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1_000_000_000
        return self.now


def opened(**changes: Any) -> Ledger:
    ledger = Ledger("run-1", clock=Clock(), monotonic=Clock(), **changes)
    ledger.open(code="code", args_text='{"b":1,"a":2}', seed="0" * 64, now_ns=7, backend="wasm", limits={"wall": 30.0})
    return ledger


def admit(ledger: Ledger, args: str = "{}", line: int = 0) -> CallRecord:
    call = Call(len(ledger.calls) + 1, "git", "log", args, line)
    return ledger.admit(call, json.loads(args))


def applied(ledger: Ledger, args: str = "{}", value: str = "1", tool: ToolInfo = READ) -> CallRecord:
    record = admit(ledger, args)
    ledger.started(record, tool, "allow *")
    ledger.ended(record, value, source="real")
    return record


def test_an_applied_call() -> None:
    """F19: host's times, grant, source, value and order of an applied call."""
    ledger = opened()
    record = admit(ledger, '{"b":1,"a":[2.0]}', line=4)
    assert (record.state, record.args, record.line) == ("pending", {"b": 1, "a": [2.0]}, 4)
    ledger.started(record, READ, "allow git:*")
    assert (record.state, record.is_write, record.grant, record.tool_digest) == (
        "executing",
        False,
        "allow git:*",
        "d1",
    )
    ledger.ended(record, '{"n":"\u20ac"}', source="fake", detail="seed 3")
    assert (record.state, record.value, record.value_bytes) == ("applied", {"n": "\u20ac"}, 11)
    assert (record.source, record.source_detail, record.completion_order) == ("fake", "seed 3", 0)
    assert record.duration_ms == 1000.0
    assert record.args_sha256 == jsontext.sha256({"a": [2], "b": 1})
    assert ledger.calls == [record]


def test_layers_iterations_and_order() -> None:
    """F8 F22: calls made while another is unanswered share a layer; iterations count by line; order is of answers."""
    ledger = opened()
    one, two = admit(ledger, line=1), admit(ledger, line=2)
    for record in (one, two):
        ledger.started(record, READ, "")
    ledger.ended(two, "2", source="real")
    three = admit(ledger, line=1)
    ledger.refused(three, "denied", Code.PERMISSION_DENIED, "no")
    ledger.failed(one, Code.RPC_ERROR, "bad")
    four = applied(ledger)
    assert [record.layer for record in ledger.calls] == [0, 0, 0, 1]
    assert [record.iteration for record in ledger.calls] == [1, 1, 2, 1]
    assert [record.completion_order for record in ledger.calls] == [2, 0, 1, 3]
    assert [record.completed_after for record in (two, three, one, four)] == [2, 3, 3, 4]


@pytest.mark.parametrize(
    ("tool", "code", "said", "state"),
    [
        (WRITE, Code.RPC_ERROR, True, "failed"),
        (WRITE, Code.UNKNOWN_TOOL, True, "failed"),
        (WRITE, Code.RPC_ERROR, False, "unknown"),
        (WRITE, Code.RPC_TIMEOUT, True, "unknown"),
        (WRITE, Code.UPSTREAM_UNAVAILABLE, True, "unknown"),
        (READ, Code.RPC_ERROR, False, "failed"),
        (READ, Code.RPC_TIMEOUT, True, "failed"),
        (READ, Code.UPSTREAM_UNAVAILABLE, True, "failed"),
    ],
)
def test_failed_is_said_only_of_what_did_not_happen(tool: ToolInfo, code: Code, said: bool, state: str) -> None:
    """A write that ended without the tool's own word is `unknown`: nobody is told it failed if it may be made."""
    ledger = opened()
    record = admit(ledger)
    ledger.started(record, tool, "")
    ledger.failed(record, code, "m", '{"a":1}', said=said)
    assert (record.state, record.error_code, record.error_data) == (state, code.value, {"a": 1})


def test_the_end_of_the_run_overtakes_calls() -> None:
    """At the end an executing call is `unknown`; one never made, or that awaits a person, is `pending` and says why."""
    ledger = opened()
    done, executing, awaiting, waiting = applied(ledger), admit(ledger), admit(ledger), admit(ledger)
    ledger.started(executing, READ, "")
    ledger.awaiting(awaiting)
    ledger.close(outcome="EXECUTION_TIMEOUT")
    assert [r.state for r in (done, executing, awaiting, waiting)] == ["applied", "unknown", "pending", "pending"]
    assert executing.duration_ms
    assert (awaiting.error_code, waiting.error_code) == ("APPROVAL_REQUIRED", "EXECUTION_TIMEOUT")
    assert "before this call was made" in (waiting.error_message or "")
    assert [e["kind"] for e in ledger.entries()] == ["open", "call", "end", "call", "pending", "unmade", "close"]
    assert ledger.entries()[-1]["unknown"] == [2]


def test_nothing_is_written_after_the_end() -> None:
    """A late answer changes nothing, a late call is an error of the caller."""
    ledger = opened()
    record, other = admit(ledger), admit(ledger)
    ledger.started(record, READ, "")
    ledger.close(outcome="ok")
    head = ledger.head
    ledger.ended(record, "1", source="real")
    ledger.failed(record, Code.RPC_ERROR, "m")
    ledger.refused(other, "denied", Code.PERMISSION_DENIED, "m")
    ledger.awaiting(other)
    assert (record.state, other.state, ledger.head) == ("unknown", "pending", head)
    late: list[Callable[[], object]] = [
        lambda: admit(ledger),
        lambda: ledger.started(other, READ, ""),
        lambda: ledger.close(outcome="ok"),
    ]
    for step in late:
        with pytest.raises(RuntimeError):
            step()


def test_entries_say_what_was_given() -> None:
    """The first entry holds the digests of code and arguments, seed and clock; a call its digest, grant and hints."""
    ledger = opened()
    applied(ledger, '{"x": 1.0}', '{"y": 2.0}')
    ledger.close(outcome="ok", clock=(1, 2, 3), gone=True)
    first, call, end, last = ledger.entries()
    assert first["code_sha256"] == text_sha256("code")
    assert first["args_sha256"] == jsontext.sha256({"a": 2, "b": 1})
    assert (first["seed"], first["now_ns"], first["facts"]["backend"]) == ("0" * 64, 7, "wasm")
    assert (call["args_sha256"], call["grant"]) == (jsontext.sha256({"x": 1}), "allow *")
    assert (call["hints"], call["write"]) == ({"readOnlyHint": True}, False)
    assert (end["answer_sha256"], end["state"]) == (answer_sha256('{"y": 2.0}'), "applied")
    assert (last["clock_sha256"], last["facts"]) == (jsontext.sha256([1, 2, 3]), {"gone": True})


def test_the_head_does_not_depend_on_when_it_is_asked_for() -> None:
    """Hashing late gives the same chain as hashing at each step."""

    def run(*, early: bool) -> str:
        ledger = opened()
        for value in ("1", "2"):
            applied(ledger, value=value)
            if early:
                assert ledger.head
        ledger.close(outcome="ok")
        return ledger.head

    assert run(early=True) == run(early=False)
    assert opened().head != GENESIS
    assert Ledger("r").head == GENESIS == verify([])


def test_what_a_world_does_to_the_arguments_later_changes_nothing() -> None:
    """The ledger holds texts: an object changed after the call cannot change what it says."""
    ledger = opened()
    args: dict[str, Any] = {"a": [1]}
    record = ledger.admit(Call(1, "git", "log", '{"a":[1]}', 0), args)
    args["a"].append(2)
    assert record.args == {"a": [1]}
    assert record.args_sha256 == jsontext.sha256({"a": [1]})


def chain() -> list[dict[str, Any]]:
    ledger = opened()
    for number in range(4):
        applied(ledger, json.dumps({"n": number}))
    ledger.close(outcome="ok")
    return ledger.entries()


def test_verify_takes_the_chain_as_written() -> None:
    """The chain verifies, also after a way through JSON, and gives the ledger's head."""
    entries = chain()
    assert verify(entries) == entries[-1]["hash"]
    assert verify(json.loads(json.dumps(entries))) == entries[-1]["hash"]


@given(st.data())
def test_verify_shows_every_edit(data: st.DataObject) -> None:
    """A change of any field, a removal, an insertion or a move anywhere but at the very end is found."""
    entries = chain()
    place = data.draw(st.integers(0, len(entries) - 2))
    edit = data.draw(st.sampled_from(["change", "remove", "move", "double", "add"]))
    if edit == "change":
        key = data.draw(st.sampled_from(sorted(entries[place])))
        value = data.draw(st.sampled_from([None, "x", 99, [], {"readOnlyHint": False}]))
        assume(value != entries[place][key])
        entries[place][key] = value
    elif edit == "remove":
        del entries[place]
    elif edit == "move":
        entries[place], entries[place + 1] = entries[place + 1], entries[place]
    elif edit == "double":
        entries.insert(place, entries[place])
    else:
        entries[place]["added"] = True
    with pytest.raises(ValidationError, match="damaged at entry"):
        verify(entries)


def test_a_rehashed_edit_is_found_by_the_next_entry_or_the_head() -> None:
    """Who edits an entry and its hash must edit all that follow, and then the head is another."""
    entries = chain()
    entries[1]["grant"] = "allow git:*"
    entries[1]["hash"] = jsontext.sha256({key: value for key, value in entries[1].items() if key != "hash"})
    with pytest.raises(ValidationError, match="entry 2"):
        verify(entries)


def test_entries_are_copies() -> None:
    """Nobody edits the ledger through what it hands out."""
    ledger = opened()
    head = ledger.head
    ledger.entries()[0]["run"] = "another"
    applied(ledger)
    assert verify(ledger.entries()) == ledger.head != head


def test_texts_are_bounded() -> None:
    """F: a thousand calls with large arguments and answers keep digests and sizes, not gigabytes."""
    ledger = opened(keep_bytes=1 * MIB)
    text = json.dumps({"a": "x" * 100_000})
    records = [applied(ledger, text, text) for _ in range(50)]
    kept = sum(len(r.args_text or "") + len(r.value_text or "") for r in records)
    assert 900_000 < kept <= 1 * MIB
    last = records[-1]
    assert (last.args_text, last.args, last.value_text, last.value) == (None, None, None, None)
    assert last.args_bytes == last.value_bytes == len(text)
    assert last.args_sha256 == jsontext.sha256(json.loads(text))
    assert ledger.entries()[-1]["answer_sha256"] == answer_sha256(text)
    assert not ledger.complete
    assert opened().complete


def test_arguments_too_long_to_parse_are_not_kept() -> None:
    """Arguments over their limit leave a digest of their text; that alone does not prevent a recording."""
    ledger = opened()
    record = ledger.admit(Call(1, "git", "log", "x" * 100, 0), None)
    ledger.refused(record, "failed", Code.RPC_ERROR, "too long")
    assert (record.args, record.args_bytes, record.args_sha256) == (None, 100, text_sha256("x" * 100))
    assert ledger.complete
    assert ledger.entries()[1]["args_sha256"] == text_sha256("x" * 100)
