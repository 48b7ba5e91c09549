"""The tables, as SQLAlchemy Core. Migrations make them; a test holds the two equal.

One schema for two engines. Where they differ, the difference is in a type below: times are `timestamptz` on PostgreSQL
and text in UTC on SQLite, JSON is `jsonb` there and text here. Row ids are integers that only grow, so that the order
of arrival is an index we have anyway. Trace ids are kept as the text that travels.

A child names its parent by trace id and nothing points back: a parent that arrives later is linked by arriving. The
columns of a list come before the large JSON ones, because SQLite reads a row from its front.

`trace_tool` says which tools a trace called, so that "all traces that called this one" is an index on both engines;
`tool_stats` is what is known of a tool for ever, and stays when traces are pruned.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "Json",
    "RowId",
    "Utc",
    "api_key",
    "capability_record",
    "checkpoint",
    "execution_trace",
    "learned",
    "learner",
    "learner_status",
    "metadata",
    "rate_bucket",
    "registry_org",
    "tenant",
    "tool_stats",
    "trace_tool",
    "web_session",
    "workflow_pattern",
]


class Utc(TypeDecorator[datetime]):
    """A moment. Goes in with any offset and comes out in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite's own row id is 64 bits wide under the name INTEGER, and under no other.
RowId = BigInteger().with_variant(Integer(), "sqlite")
# A JSON null is a JSON null, also when it is a whole column.
Json = JSON().with_variant(JSONB(), "postgresql")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _row_id(name: str) -> Column[int]:
    return Column(name, RowId, primary_key=True)


def _tenant_id() -> Column[int]:
    return Column("tenant_id", RowId, ForeignKey("tenant.tenant_id"), nullable=False)


# Who

tenant = Table(
    "tenant",
    metadata,
    _row_id("tenant_id"),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Utc, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", Text, primary_key=True),  # derived from the key, tells nothing of it; finds the row
    _tenant_id(),
    Column("key_hash", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("last_used_at", Utc),
    Column("revoked_at", Utc),
    Column("expires_at", Utc),
    Index(None, "tenant_id"),
)

web_session = Table(
    "web_session",
    metadata,
    Column("session_hash", Text, primary_key=True),
    Column("key_id", Text, ForeignKey("api_key.key_id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Index(None, "expires_at"),
)

rate_bucket = Table(
    "rate_bucket",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("tokens", Double, nullable=False),
    Column("filled_at", Double, nullable=False),  # seconds of the database's clock
)

# What runs

registry_org = Table(
    "registry_org",
    metadata,
    Column("org", Text, primary_key=True),
    _tenant_id(),
    Column("claimed_at", Utc, nullable=False),
)

workflow_pattern = Table(
    "workflow_pattern",
    metadata,
    Column("pattern_id", Text, primary_key=True),  # a UUID
    _tenant_id(),
    Column("sha256", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("tenant_id", "sha256"),
)

capability_record = Table(
    "capability_record",
    metadata,
    _row_id("record_id"),
    _tenant_id(),
    Column("name", Text, nullable=False),  # org.project.namespace.action
    Column("hash4", Text, nullable=False),
    Column("pattern_id", Text, ForeignKey("workflow_pattern.pattern_id"), nullable=False),
    Column("description", Text, nullable=False),
    Column("args_schema", Json),
    Column("servers", Json, nullable=False),
    Column("permissions", Json, nullable=False),
    Column("dependencies", Json, nullable=False),
    Column("published_by", Text, nullable=False),
    Column("published_at", Utc, nullable=False),
    Column("yanked_at", Utc),
    UniqueConstraint("tenant_id", "name", "hash4"),
    Index(None, "pattern_id"),
)

# What ran

execution_trace = Table(
    "execution_trace",
    metadata,
    _row_id("row_id"),
    _tenant_id(),
    Column("trace_id", Text, nullable=False),
    Column("parent_trace_id", Text),
    Column("capability_id", Text, ForeignKey("workflow_pattern.pattern_id")),
    Column("capability_name", Text, nullable=False),  # the FQDN without its hash; a malformed one as it is
    Column("capability_fqdn", Text, nullable=False),
    Column("capability_hash", Text, nullable=False),
    Column("workflow_id", Text),
    Column("user_id", Text),
    Column("success", Boolean, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("priority", Double, nullable=False),
    Column("predicted", Double, nullable=False),
    Column("td_error", Double, nullable=False),
    Column("mocked_share", Double, nullable=False),
    Column("executed_at", Utc, nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("anonymized_at", Utc),
    Column("size_bytes", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("intent", Text),
    Column("metadata", Json, nullable=False),
    Column("decisions", Json, nullable=False),
    Column("task_results", Json, nullable=False),
    UniqueConstraint("tenant_id", "trace_id"),
    CheckConstraint("priority >= 0 AND priority <= 1", name="priority"),
    CheckConstraint("predicted >= 0 AND predicted <= 1", name="predicted"),
    CheckConstraint("td_error >= -1 AND td_error <= 1", name="td_error"),
    CheckConstraint("mocked_share >= 0 AND mocked_share <= 1", name="mocked_share"),
    CheckConstraint("duration_ms >= 0", name="duration_ms"),
)
"""One run. Every index has what a list is ordered by; three have the name behind it, by which runs are counted."""


def _listed(
    name: str, *columns: str, behind: str = "", only: str | None = None, only_on_sqlite: str | None = None
) -> None:
    where: dict[str, Any] = {}
    if only is not None:
        where = {"sqlite_where": text(only_on_sqlite or only), "postgresql_where": text(only)}
    table = execution_trace.c
    keys = [table[column] for column in ("tenant_id", *columns, "executed_at", "row_id", *behind.split())]
    Index(f"ix_execution_trace_{name}", *keys, **where)


_listed("executed", behind="capability_name")
_listed("capability", "capability_name")
_listed("workflow", "workflow_id", only="workflow_id IS NOT NULL")
# SQLite has no booleans, and uses such an index only for the very words it was made with.
_listed("failed", behind="capability_name", only="NOT success", only_on_sqlite="success = 0")
_listed("mocked", behind="capability_name", only="mocked_share > 0")
Index(
    "ix_execution_trace_parent",
    execution_trace.c.tenant_id,
    execution_trace.c.parent_trace_id,
    sqlite_where=text("parent_trace_id IS NOT NULL"),
    postgresql_where=text("parent_trace_id IS NOT NULL"),
)
# What the learner walks along: real runs in the order of their arrival. Not the priority, which changes often.
Index(
    "ix_execution_trace_real",
    execution_trace.c.tenant_id,
    execution_trace.c.row_id,
    sqlite_where=text("mocked_share = 0"),
    postgresql_where=text("mocked_share = 0"),
)

trace_tool = Table(
    "trace_tool",
    metadata,
    Column("row_id", RowId, ForeignKey("execution_trace.row_id", ondelete="CASCADE"), primary_key=True),
    Column("tool", Text, primary_key=True),
    _tenant_id(),
    Column("executed_at", Utc, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("mocked", Integer, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Index("ix_trace_tool_listed", "tenant_id", "tool", "executed_at", "row_id"),
    sqlite_with_rowid=False,
)

tool_stats = Table(
    "tool_stats",
    metadata,
    Column("tenant_id", RowId, ForeignKey("tenant.tenant_id"), primary_key=True),
    Column("tool", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("mocked", BigInteger, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Column("last_at", Utc, nullable=False),
    sqlite_with_rowid=False,
)

# What was learned

learned = Table(
    "learned",
    metadata,
    _tenant_id(),
    Column("kind", Text, nullable=False),  # tool, pair, path, capability
    Column("subject", Text, nullable=False),
    Column("mocked", Boolean, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("parent", Text),  # what a pair's or a path's last tool came after
    Column("tool", Text),  # that last tool
    Column("successes", Double, nullable=False),
    Column("failures", Double, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("n_failed", BigInteger, nullable=False),
    Column("last_at", Utc, nullable=False),
    PrimaryKeyConstraint("tenant_id", "kind", "subject", "mocked", "key_id"),
    Index("ix_learned_after", "tenant_id", "kind", "parent"),
    sqlite_with_rowid=False,
)
"""Decayed counts of runs that succeeded and failed, and the whole numbers beside them. Stays when traces are pruned."""

checkpoint = Table(
    "checkpoint",
    metadata,
    _tenant_id(),
    Column("version", Integer, nullable=False),  # 1, 2, 3 ... of each tenant
    Column("trained_at", Utc, nullable=False),
    Column("traces", Integer, nullable=False),
    Column("last_row", BigInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("embedder", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),  # of the embedder's vectors
    Column("config", Json, nullable=False),
    Column("evaluation", Json, nullable=False),
    Column("uses", Json, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("blob", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant_id", "version"),
    CheckConstraint("version >= 1", name="version"),
)
"""Models that were trained; of each tenant the newest few."""

learner_status = Table(
    "learner_status",
    metadata,
    Column("tenant_id", RowId, ForeignKey("tenant.tenant_id"), primary_key=True),
    Column("state", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("replay", BigInteger, nullable=False),
    Column("new_traces", BigInteger, nullable=False),
    Column("trains_after", BigInteger, nullable=False),
    Column("updated_at", Utc, nullable=False),
)
"""What the learner last did for each tenant."""

learner = Table(
    "learner",
    metadata,
    Column("name", Text, primary_key=True),
    Column("leader", Text, nullable=False),
    Column("beat_at", Utc, nullable=False),
)
"""One row: the learner that leads, and when it was last heard of."""
