"""What real runs say of tools, and of one code with each of them: the evidence that `auto` is decided by.

Counted from the newest traces and not from `learned`, because three things must be told apart here that suggestions
need not: a tool that failed from a run that failed beside it; one code from another that has its name, whose trust it
must not inherit; and a call that was made from one that waited for a person, which says nothing of the tool. A run that
ended because nobody was there to be asked, or was interrupted, says nothing of the code either.

Everything is bounded before it is looked at: tools, traces of a tool, traces of a name. Whoever floods one of them
makes others' evidence disappear, and what has no evidence is asked about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, select

from belljar.fqdn import Fqdn
from belljar.learning.trust import WINDOW, Standing
from belljar.rpc.policy import matches
from belljar.server.store._content import MAX_TOOL_CHARS, NO_WORD
from belljar.server.store._names import base_name
from belljar.server.store.engine import Database
from belljar.server.store.keys import Principal
from belljar.server.store.schema import execution_trace, tool_stats, trace_tool

__all__ = ["MAX_TOOLS", "ToolTrust", "trust"]

MAX_TOOLS = 64
"""Tools in one answer."""

_NAMES = 500
# Of a tool; mocked ones among them say nothing.
_OF_TOOL = 2 * WINDOW
# Of a capability's name; other codes of it among them say nothing.
_OF_NAME = 1000

_Outcomes = Iterable[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class ToolTrust:
    """What is known of a tool."""

    tool: str
    overall: Standing
    """By all real runs that called it: did its calls succeed?"""
    capability: Standing = field(default_factory=Standing)
    """By the real runs of this code that called it: did they?"""

    def to_wire(self) -> dict[str, Any]:
        """{tool, overall, capability}."""
        return {"tool": self.tool, "overall": _wire(self.overall), "capability": _wire(self.capability)}


def _wire(standing: Standing) -> dict[str, Any]:
    return {
        "successes": round(standing.evidence.successes, 4),
        "failures": round(standing.evidence.failures, 4),
        "n": standing.n,
        "nFailed": standing.n_failed,
        "keys": standing.keys,
        "own": standing.own,
    }


def trust(db: Database, who: Principal, capability: Fqdn, patterns: Sequence[str]) -> list[ToolTrust]:
    """Evidence for the tools that match, of those that this tenant's real runs called; the last used first.

    Args:
        who: whose own evidence counts as such.
        capability: with its whole hash.
        patterns: names of tools, or patterns as in a policy.
    """
    with db.read() as connection:
        tools = _tools(connection, who.tenant_id, patterns)
        here = _of_code(connection, who.tenant_id, capability, tools)
        overall = {tool: Standing.of(_of_tool(connection, who.tenant_id, tool), who.key_id) for tool in tools}
    return [
        ToolTrust(tool, overall[tool], Standing.of(here.get(tool, ()), who.key_id)) for tool in tools if overall[tool].n
    ]


def _tools(connection: Connection, tenant_id: int, patterns: Sequence[str]) -> list[str]:
    """Names that match; those that are named first, then by their last use."""
    named = [pattern[:MAX_TOOL_CHARS] for pattern in patterns if "*" not in pattern]
    found = dict[str, None](dict.fromkeys(named))
    for pattern in patterns:
        if "*" in pattern:
            names = connection.scalars(_names(tenant_id, pattern.partition("*")[0]))
            found |= dict.fromkeys(name for name in names if matches(pattern, *_split(name)))
    return list(found)[:MAX_TOOLS]


def _names(tenant_id: int, prefix: str) -> Select[str]:
    """The names that begin so, the last used first; perhaps in another case, on SQLite."""
    row = tool_stats.c
    begin = row.tool.startswith(prefix, autoescape=True)
    return select(row.tool).where(row.tenant_id == tenant_id, begin).order_by(row.last_at.desc()).limit(_NAMES)


def _split(name: str) -> tuple[str, str]:
    server, _, tool = name.partition(":")
    return server, tool


def _of_tool(connection: Connection, tenant_id: int, tool: str) -> _Outcomes:
    """(key, whether its calls succeeded) of the newest real runs that called it, oldest first."""
    row, run = trace_tool.c, execution_trace.c
    newest = (
        select(row.row_id, row.executed_at, row.calls, row.failures)
        .where(row.tenant_id == tenant_id, row.tool == tool)
        .order_by(row.executed_at.desc(), row.row_id.desc())
        .limit(_OF_TOOL)
        .subquery()
        .c
    )
    real = (
        select(run.user_id, newest.failures)
        .join(execution_trace, run.row_id == newest.row_id)
        .where(newest.calls > 0, run.mocked_share == 0)
        .order_by(newest.executed_at.desc(), newest.row_id.desc())
        .limit(WINDOW)
    )
    return [(found.user_id or "", found.failures == 0) for found in reversed(connection.execute(real).all())]


def _of_code(
    connection: Connection, tenant_id: int, capability: Fqdn, tools: Sequence[str]
) -> dict[str, list[tuple[str, bool]]]:
    """(key, success) of the newest real runs of this code that called each tool, oldest first."""
    row, run = trace_tool.c, execution_trace.c
    newest = (
        select(run.row_id, run.executed_at, run.user_id, run.success, run.error_code, run.mocked_share)
        .add_columns(run.capability_hash)
        .where(run.tenant_id == tenant_id, run.capability_name == base_name(capability))
        .order_by(run.executed_at.desc(), run.row_id.desc())
        .limit(_OF_NAME)
        .subquery()
        .c
    )
    real = (
        select(row.tool, newest.user_id, newest.success, newest.error_code)
        .join(trace_tool, row.row_id == newest.row_id)
        .where(newest.capability_hash == capability.hash, newest.mocked_share == 0)
        .where(row.tool.in_(tools), row.calls > 0)
        .order_by(newest.executed_at.desc(), newest.row_id.desc())
    )
    outcomes = defaultdict[str, list[tuple[str, bool]]](list)
    for found in connection.execute(real):
        if found.error_code not in NO_WORD and len(outcomes[found.tool]) < WINDOW:
            outcomes[found.tool].append((found.user_id or "", found.success))
    return {tool: some[::-1] for tool, some in outcomes.items()}
