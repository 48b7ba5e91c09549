"""Which traces are sent next: the oldest first, but no child before a parent that is still here.

A child run ends, and is captured, before its parent. So for each waiting trace, oldest first, the ancestors that wait
as well go before it, the topmost first. An ancestor that is not here - sent already, dead, never captured - holds up
nobody. Only ids are looked at until it is known who goes; a chain that leads back to itself is cut where it closes.
"""

from __future__ import annotations

import sqlite3
from typing import Any

__all__ = ["in_order"]

# Nested runs are a few levels deep; whoever makes longer chains gets them in pieces, each in order.
_MAX_CHAIN = 1000

_ROW = "SELECT size, id, parent, wire, body, version, at_ns, attempts FROM trace WHERE id = ?"


def in_order(db: sqlite3.Connection, count: int, max_bytes: int) -> list[tuple[Any, ...]]:
    """The rows of at most `count` traces, together at most `max_bytes` long or a single one."""
    rows, room = list[tuple[Any, ...]](), max_bytes
    for trace_id in _chosen(db, count):
        row = db.execute(_ROW, (trace_id,)).fetchone()
        room -= row[0]
        if rows and room < 0:
            break
        rows.append(row[1:])
    return rows


def _chosen(db: sqlite3.Connection, count: int) -> list[str]:
    chosen = dict[str, None]()
    if count <= 0:
        return []
    for trace_id, parent in db.execute("SELECT id, parent FROM trace WHERE dead_code IS NULL ORDER BY seq"):
        for one in reversed(_line(db, trace_id, parent, chosen)):
            chosen[one] = None
            if len(chosen) == count:
                return list(chosen)
    return list(chosen)


def _line(db: sqlite3.Connection, trace_id: str, parent: str | None, chosen: dict[str, None]) -> list[str]:
    """The trace and its ancestors that have to go before it, upward; nothing if it goes already."""
    line = dict[str, None]()
    while trace_id not in chosen and trace_id not in line and len(line) < _MAX_CHAIN:
        line[trace_id] = None
        found = (
            parent
            and db.execute("SELECT id, parent FROM trace WHERE id = ? AND dead_code IS NULL", (parent,)).fetchone()
        )
        if not found:
            break
        trace_id, parent = found
    return list(line)
