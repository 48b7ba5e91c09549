"""From the name a trace gives to the UUID of the capability, for a whole batch in one query.

A name resolves to what *this tenant* has published under it, and only if the full hash of what ran is the hash of what
was published; four digits alone do not make it the same code. Everything else - unknown, malformed, `local.`, another
tenant's, a UUID somebody has seen elsewhere - resolves to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from sqlalchemy import Connection, select, tuple_

from belljar import fqdn
from belljar.errors import ValidationError
from belljar.fqdn import LOCAL_ORG, Fqdn
from belljar.server.store._names import base_name
from belljar.server.store.schema import capability_record, workflow_pattern
from belljar.tracing.types import Trace

__all__ = ["resolve"]


def resolve(connection: Connection, tenant_id: int, traces: Iterable[Trace]) -> list[str | None]:
    """The capability's UUID or None, for each trace in order."""
    wanted = [_wanted(trace.capability_id, trace.capability_hash) for trace in traces]
    pairs = sorted({(base_name(name), name.hash4) for name in wanted if name is not None})
    found = _look_up(connection, tenant_id, pairs) if pairs else {}
    return [name and _chosen(name, found) for name in wanted]


# A client runs few capabilities often.
@lru_cache(maxsize=4096)
def _wanted(capability: str, sha256: str) -> Fqdn | None:
    """The name with all that is known of the hash; None if nothing can be found under it."""
    try:
        name = fqdn.parse(capability)
        ran = Fqdn(name.org, name.project, name.namespace, name.action, sha256 or name.hash)
    except ValidationError:
        return None
    return ran if ran.hash and ran.org != LOCAL_ORG and ran.matches(name) else None


def _look_up(
    connection: Connection, tenant_id: int, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, str]]:
    record, pattern = capability_record.c, workflow_pattern.c
    statement = (
        select(record.name, record.hash4, pattern.sha256, pattern.pattern_id)
        .join(workflow_pattern, pattern.pattern_id == record.pattern_id)
        .where(record.tenant_id == tenant_id, tuple_(record.name, record.hash4).in_(pairs))
    )
    return {(row.name, row.hash4): (row.sha256, row.pattern_id) for row in connection.execute(statement)}


def _chosen(name: Fqdn, found: dict[tuple[str, str], tuple[str, str]]) -> str | None:
    sha256, pattern_id = found.get((base_name(name), name.hash4), ("", None))
    return pattern_id if sha256.startswith(name.hash) else None
