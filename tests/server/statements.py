"""What the store says to its database, and how the database would do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from belljar.server.store.engine import Database

Statement = tuple[str, Any]


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Every statement of the block with its parameters, as the driver gets them."""
    seen = list[Statement]()

    def note(
        _connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plan(db: Database, statement: Statement) -> str:
    """How the database would execute it."""
    words = "EXPLAIN QUERY PLAN" if db.dialect == "sqlite" else "EXPLAIN"
    with db.read() as connection:
        rows = connection.exec_driver_sql(f"{words} {statement[0]}", statement[1]).all()
    return "\n".join(str(row[-1]) for row in rows)


def analyze(db: Database) -> None:
    """Let the database look at its tables, as it does by itself in time."""
    with db.write() as connection:
        connection.execute(text("ANALYZE"))
