"""Sessions, written and read. Blocking, for a thread of its own or for the command line; no event loop comes here.

What `list` shows is counted as it is written, in the transaction that writes the calls: ten thousand calls cost it as
little as ten. Every method is one transaction. A session whose faker died is found by its owner (`owner.py`) and marked
as failed by whoever opens the store next; what that faker had written stays.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from belljar import show
from belljar.errors import ConfigError, ValidationError
from belljar.faker.calls import Tool
from belljar.faker.sessions import owner
from belljar.faker.sessions.model import Event, ServedTool, Session, Status, key_of, text_of
from belljar.faker.sessions.schema import open_database

__all__ = ["FILE", "SessionStore"]

FILE = "sessions.db"
"""In the faker's folder of the user's state."""

_SESSION = (
    "id, created_at_ns, ended_at_ns, status, error, instruction, safety_mode, origin, redacted, calls, writes, errors,"
    " lost, last_at_ns, command"
)
_EVENT = (
    "sequence", "server", "tool", "arguments", "key", "response", "error", "operation", "risk", "reason", "source",
    "detail", "is_error", "real_used", "intercepted", "synthesized", "ai", "started_at_ns", "elapsed_ms", "latency_ms",
    "real_ms", "ai_ms", "schema_digest", "trace_id", "span_id",
)  # fmt: skip
_FLAGS = ("is_error", "real_used", "intercepted", "synthesized", "ai")
# Shorter prefixes are for people who look at a list of a few.
_MIN_PREFIX = 4


class SessionStore:
    """The sessions in one file. Safe to share between threads; `with` it, or `close` it.

    Raises:
        ConfigError: from every method, if the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_database(path)
        self._lock = threading.Lock()

    def __enter__(self) -> SessionStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._db.close()

    # writing

    def begin(self, session: Session, tools: Iterable[ServedTool] = ()) -> None:
        """A session of this process begins.

        Raises:
            ValidationError: there is one of this id.
        """
        with self._transaction() as db:
            _insert(db, session, tools, owner.own())

    def put(self, session: Session, events: Sequence[Event], tools: Iterable[ServedTool]) -> None:
        """A whole session that was recorded before.

        Raises:
            ValidationError: there is one of this id.
        """
        with self._transaction() as db:
            _insert(db, session, tools, "")
            _append(db, session.id, events)

    def set_tools(self, session_id: str, tools: Iterable[ServedTool]) -> None:
        """What its target serves, now."""
        with self._transaction() as db:
            db.execute("UPDATE session SET tools = ? WHERE id = ?", (_tools_text(tools), session_id))

    def append(self, session_id: str, events: Sequence[Event]) -> None:
        """Write these calls down, all of them or none."""
        with self._transaction() as db:
            _append(db, session_id, events)

    def end(self, session_id: str, status: Status, ended_at_ns: int, *, error: str = "", lost: int = 0) -> None:
        """A session is over."""
        with self._transaction() as db:
            db.execute(
                "UPDATE session SET status = ?, ended_at_ns = ?, error = ?, lost = ?, owner = '' WHERE id = ?",
                (status, ended_at_ns, error, lost, session_id),
            )

    def reap(self) -> int:
        """Mark what a crash left open as failed; how many there were."""
        with self._transaction() as db:
            running = db.execute("SELECT id, owner FROM session WHERE status = 'running'").fetchall()
            left = [(row["id"],) for row in running if owner.is_gone(row["owner"])]
            db.executemany(
                "UPDATE session SET status = 'failed', owner = '', error = 'its faker ended without a word',"
                " ended_at_ns = COALESCE(last_at_ns, created_at_ns) WHERE id = ?",
                left,
            )
        return len(left)

    def delete(self, ids: Iterable[str]) -> None:
        """Forget these sessions and their calls."""
        with self._transaction() as db:
            db.executemany("DELETE FROM session WHERE id = ?", [(each,) for each in ids])

    # reading

    def sessions(self, limit: int = -1) -> list[Session]:
        """The newest first."""
        with self._reading() as db:
            query = f"SELECT {_SESSION} FROM session ORDER BY created_at_ns DESC, id LIMIT ?"  # noqa: S608
            return [_session(row) for row in db.execute(query, (limit,))]

    def session(self, which: str) -> Session:
        """One of them, by its id or enough of its beginning.

        Raises:
            ValidationError: there is none, or there are several.
        """
        with self._reading() as db:
            query = f"SELECT {_SESSION} FROM session WHERE id = ?"  # noqa: S608
            rows = db.execute(query, (which,)).fetchall()
            if not rows and len(which) >= _MIN_PREFIX:
                rows = db.execute(query.replace("id = ?", "substr(id, 1, ?) = ?"), (len(which), which)).fetchall()
        if len(rows) != 1:
            many = "several sessions begin with" if rows else "there is no session"
            raise ValidationError(f"{many} {show.name(which)} (belljar faker sessions list)")
        return _session(rows[0])

    def tools(self, session_id: str) -> list[ServedTool]:
        """What its target served, in its order."""
        with self._reading() as db:
            row = db.execute("SELECT tools FROM session WHERE id = ?", (session_id,)).fetchone()
        entries = cast("list[dict[str, Any]]", json.loads(row["tools"])) if row else []
        return [ServedTool(each["server"], Tool(each["listed"]["name"], each["listed"])) for each in entries]

    def events(self, session_id: str) -> list[Event]:
        """Its calls, in their order."""
        return list(self._events(session_id))

    def timings(self, session_id: str | None = None) -> list[sqlite3.Row]:
        """What figures are made of, of one session or of all: nothing of what was said."""
        query = "SELECT tool, source, operation, is_error, latency_ms, real_ms, ai_ms FROM event"
        with self._reading() as db:
            if session_id is None:
                return db.execute(query).fetchall()
            return db.execute(f"{query} WHERE session = ?", (session_id,)).fetchall()

    def outcomes(self, session_id: str) -> list[dict[str, Any]]:
        """What sessions are compared by, a row for each call: keys, and texts that nobody has parsed."""
        query = "SELECT sequence, server, tool, key, arguments, response, error FROM event WHERE session = ?"
        with self._reading() as db:
            return [dict(row) for row in db.execute(f"{query} ORDER BY sequence", (session_id,))]

    def by_trace(self, trace_id: str) -> list[tuple[str, int]]:
        """Session and sequence of the calls that are part of an OpenTelemetry trace."""
        with self._reading() as db:
            rows = db.execute("SELECT session, sequence FROM event WHERE trace_id = ?", (trace_id,))
            return [(row["session"], row["sequence"]) for row in rows]

    def _events(self, session_id: str) -> Iterator[Event]:
        query = f"SELECT {', '.join(_EVENT)} FROM event WHERE session = ? ORDER BY sequence"  # noqa: S608
        with self._reading() as db:
            rows = db.execute(query, (session_id,)).fetchall()
        yield from map(_event, rows)

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as exc:
                raise ConfigError(f"the sessions in {str(self.path)!r}: {exc}") from None


def _insert(db: sqlite3.Connection, session: Session, tools: Iterable[ServedTool], owned_by: str) -> None:
    values = (
        session.id, session.created_at_ns, session.ended_at_ns, session.status, session.error, session.instruction,
        session.safety_mode, session.origin, session.redacted, 0, 0, 0, session.lost, session.last_at_ns,
        text_of(list(session.command)), owned_by, _tools_text(tools),
    )  # fmt: skip
    query = f"INSERT INTO session ({_SESSION}, owner, tools) VALUES ({_marks(values)})"  # noqa: S608
    try:
        db.execute(query, [_storable(value) if isinstance(value, str) else value for value in values])
    except sqlite3.IntegrityError:
        raise ValidationError(f"there is a session {show.name(session.id)} already") from None


def _append(db: sqlite3.Connection, session_id: str, events: Sequence[Event]) -> None:
    rows = [(session_id, *_row(event)) for event in events]
    query = f"INSERT INTO event (session, {', '.join(_EVENT)}) VALUES ({_marks(_EVENT)}, ?)"  # noqa: S608
    db.executemany(query, rows)
    db.execute(
        "UPDATE session SET calls = calls + ?, writes = writes + ?, errors = errors + ?,"
        " last_at_ns = MAX(COALESCE(last_at_ns, 0), ?) WHERE id = ?",
        (
            len(events),
            sum(event.operation == "write" for event in events),
            sum(event.is_error for event in events),
            max((event.started_at_ns + round(event.latency_ms * 1e6) for event in events), default=0),
            session_id,
        ),
    )


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _tools_text(tools: Iterable[ServedTool]) -> str:
    return text_of([{"server": each.server, "listed": dict(each.tool.listed)} for each in tools])


def _row(event: Event) -> tuple[Any, ...]:
    values = {name: getattr(event, name) for name in _EVENT}
    values["arguments"] = text_of(dict(event.arguments))
    values["key"] = event.key or key_of(event.tool, event.arguments)
    values["response"] = text_of(dict(event.response))
    values["error"] = None if event.error is None else text_of(dict(event.error))
    for name in ("server", "tool", "reason", "detail"):
        values[name] = _storable(values[name])
    return tuple(values.values())


def _storable(text: str | None) -> str | None:
    """SQLite holds UTF-8: of a name with a lone surrogate, its escape."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _session(row: sqlite3.Row) -> Session:
    values: dict[str, Any] = dict(row)
    values["command"] = tuple(json.loads(values["command"]))
    values.update({name: bool(values[name]) for name in ("safety_mode", "redacted")})
    return Session(**values)


def _event(row: sqlite3.Row) -> Event:
    values: dict[str, Any] = dict(row)
    for name in ("arguments", "response"):
        values[name] = json.loads(values[name])
    values["error"] = None if values["error"] is None else json.loads(values["error"])
    values.update({name: bool(values[name]) for name in _FLAGS})
    return Event(**values)
