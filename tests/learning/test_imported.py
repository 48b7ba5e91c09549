"""Traces out of a file: what is a real run is one, and nothing a line holds can stop the rest from being read."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.imported import MAX_LINE_BYTES, Imported, read
from belljar.learning.runs import Run
from belljar.server.store.engine import Database, open_database
from belljar.server.store.ingest import ingest
from belljar.server.store.maintenance import export
from belljar.server.store.migrating import migrate
from tests.server.conftest import NOW, principal
from tests.server.traces import call, trace, wire


def line(n: int, **changes: Any) -> bytes:
    """A trace as a line of a file."""
    return json.dumps(wire(n, **changes)).encode() + b"\n"


def imported(*lines: bytes) -> Imported:
    return read(io.BytesIO(b"".join(lines)))


def test_a_servers_export(tmp_path: Any) -> None:
    """F47: what a real server exports is read back as the runs it stored; anonymized, without their intents."""
    db: Database = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    try:
        migrate(db)
        owner = principal(db, "acme")
        tasks = [call(1), call(2, tool="mail:send")]
        ingest(
            db, owner, [trace(1, taskResults=tasks), trace(2, success=False, intent="notes", taskResults=[])], now=NOW
        )
        whole, bare = (
            imported(*(each.encode() for each in export(db, owner.tenant_id, anonymized=anonymized)))
            for anonymized in (False, True)
        )
    finally:
        db.close()
    name = "local.default.git.release_notes"
    assert whole.runs == [
        Run(0, name, "what changed", ("git:git_log", "mail:send"), True),
        Run(1, name, "notes", (), False),
    ]
    assert [(run.intent, run.path) for run in bare.runs] == [("", ("git:git_log", "mail:send")), ("", ())]
    assert (whole.lines, whole.broken, bare.broken) == (2, 0, 0)


def test_broken_lines_are_named() -> None:
    """Each by its number and with a reason that holds nothing of it; the lines around them are read."""
    found = imported(
        line(1),
        b"{\n",
        b"\n",
        b'{"traceId": "secret-value"}\n',
        b"[1]\n",
        b'"\xff"\n',
        b"[" * 100_000 + b"\n",
        line(2, durationMs=-1),
        line(3).replace(b'"success": true', b'"success": true, "success": false'),
        line(4, durationMs=float("inf")),
        line(5).rstrip(),
    )
    assert [each.line for each in found.problems] == [2, 4, 5, 6, 7, 8, 9, 10]
    assert (found.lines, found.broken, len(found.runs)) == (10, 8, 2)
    assert not any("secret-value" in each.reason for each in found.problems)
    assert "durationMs" in found.problems[5].reason
    assert all(each.reason for each in found.problems)


def test_only_the_first_problems_are_kept() -> None:
    """A file of nonsense costs no memory."""
    found = imported(*[b"?\n"] * 500)
    assert (found.broken, len(found.problems)) == (500, 20)


def test_a_line_that_never_ends() -> None:
    """It is passed over as it comes, never held whole; the next line is the next line."""

    class Endless(io.RawIOBase):
        """Far more than a machine should take, then a trace."""

        def __init__(self) -> None:
            self.left = 40 * MAX_LINE_BYTES
            self.rest = b"\n" + line(1)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if self.left:
                n = min(len(buffer), self.left)
                buffer[:n] = b"x" * n
                self.left -= n
                return n
            given, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
            buffer[: len(given)] = given
            return len(given)

    found = read(io.BufferedReader(Endless(), 1 << 16))
    assert (found.broken, found.problems[0].line, len(found.runs)) == (1, 1, 1)
    assert str(MAX_LINE_BYTES) in found.problems[0].reason


@pytest.mark.parametrize("size", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES])
def test_the_longest_line(size: int) -> None:
    """With its line feed it is as long as it may be, or a byte longer; both have one trace after them."""
    long = b'"' + b"x" * (size - 2) + b'"\n'
    found = imported(long, line(1))
    assert [each.line for each in found.problems] == [1]
    assert ("longer" in found.problems[0].reason) == (len(long) > MAX_LINE_BYTES)
    assert len(found.runs) == 1


def test_what_does_not_count() -> None:
    """F82: runs that a fake or a recording answered, or people ended, are counted and left out; a trace counts once."""
    mocked = [call(1), call(2, source="fake")]
    found = imported(line(1), line(2, taskResults=mocked), line(1), line(3, taskResults=[call(1, source="replay")]))
    assert (len(found.runs), found.mocked, found.duplicates, found.broken) == (1, 2, 1, 0)
    ended = [line(n, success=False, errorCode=code) for n, code in enumerate(("APPROVAL_REQUIRED", "INTERRUPTED"), 4)]
    found = imported(*ended, line(6, success=False, errorCode="CAPABILITY_ERROR"))
    assert (len(found.runs), found.undecided) == (1, 2)


def test_runs_are_in_the_order_they_began() -> None:
    """Whatever order their lines are in, and whatever the offset of their times; rows grow."""
    times = [
        "2026-11-21T12:00:00+02:00",
        "2026-11-21T11:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
    ]
    found = imported(*(line(n, timestamp=moment, intent=str(n)) for n, moment in enumerate(times)))
    assert [run.intent for run in found.runs] == ["2", "0", "1", "3"]
    assert [run.row for run in found.runs] == [0, 1, 2, 3]


def test_long_things_are_cut() -> None:
    """An intent, a tool's name and a path are no longer than a server would have them."""
    tasks = [call(n, tool="t" * 1000) for n in range(200)]
    run = imported(line(1, intent="i" * 5000, taskResults=tasks)).runs[0]
    assert (len(run.intent), len(run.path), len(run.path[0])) == (2000, 64, 256)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([line(1), line(2), b"\n", b"{}\n", b"null\n"]), max_size=8))
def test_any_bytes(pieces: list[bytes]) -> None:
    """Nothing raises, and every line that is not empty is one thing or another."""
    found = imported(*pieces)
    assert found.lines == len(found.runs) + found.mocked + found.undecided + found.duplicates + found.broken
