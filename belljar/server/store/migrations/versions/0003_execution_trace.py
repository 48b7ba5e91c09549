"""What ran: traces, the tools they called, and what is known of each tool for ever."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_RANGES = {
    "priority": "priority >= 0 AND priority <= 1",
    "predicted": "predicted >= 0 AND predicted <= 1",
    "td_error": "td_error >= -1 AND td_error <= 1",
    "mocked_share": "mocked_share >= 0 AND mocked_share <= 1",
    "duration_ms": "duration_ms >= 0",
}
# name: columns between the tenant and the order, rows on PostgreSQL, rows on SQLite
_LISTED: dict[str, tuple[list[str], str, str]] = {
    "executed": ([], "", ""),
    "capability": (["capability_name"], "", ""),
    "workflow": (["workflow_id"], "workflow_id IS NOT NULL", "workflow_id IS NOT NULL"),
    "failed": ([], "NOT success", "success = 0"),
    "mocked": ([], "mocked_share > 0", "mocked_share > 0"),
}


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "execution_trace",
        sa.Column("row_id", _ROW_ID, nullable=False),
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("parent_trace_id", sa.Text),
        sa.Column("capability_id", sa.Text),
        sa.Column("capability_name", sa.Text, nullable=False),
        sa.Column("capability_fqdn", sa.Text, nullable=False),
        sa.Column("capability_hash", sa.Text, nullable=False),
        sa.Column("workflow_id", sa.Text),
        sa.Column("user_id", sa.Text),
        sa.Column("success", sa.Boolean, nullable=False),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("priority", sa.Double, nullable=False),
        sa.Column("predicted", sa.Double, nullable=False),
        sa.Column("td_error", sa.Double, nullable=False),
        sa.Column("mocked_share", sa.Double, nullable=False),
        sa.Column("executed_at", _TIME, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("anonymized_at", _TIME),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("intent", sa.Text),
        sa.Column("metadata", _JSON, nullable=False),
        sa.Column("decisions", _JSON, nullable=False),
        sa.Column("task_results", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("row_id", name="pk_execution_trace"),
        sa.UniqueConstraint("tenant_id", "trace_id", name="uq_execution_trace_tenant_id_trace_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_execution_trace_tenant_id"),
        sa.ForeignKeyConstraint(
            ["capability_id"], ["workflow_pattern.pattern_id"], name="fk_execution_trace_capability_id"
        ),
        *[sa.CheckConstraint(rule, name=op.f(f"ck_execution_trace_{name}")) for name, rule in _RANGES.items()],
    )
    for name, (columns, *rows) in _LISTED.items():
        _index(name, ["tenant_id", *columns, "executed_at", "row_id"], *rows)
    _index("parent", ["tenant_id", "parent_trace_id"], *["parent_trace_id IS NOT NULL"] * 2)
    op.create_table(
        "trace_tool",
        sa.Column("row_id", _ROW_ID, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("executed_at", _TIME, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("mocked", sa.Integer, nullable=False),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("row_id", "tool", name="pk_trace_tool"),
        sa.ForeignKeyConstraint(
            ["row_id"], ["execution_trace.row_id"], name="fk_trace_tool_row_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_trace_tool_tenant_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_trace_tool_listed", "trace_tool", ["tenant_id", "tool", "executed_at", "row_id"])
    op.create_table(
        "tool_stats",
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("mocked", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("last_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "tool", name="pk_tool_stats"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_tool_stats_tenant_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them, children first."""
    for table in ("tool_stats", "trace_tool", "execution_trace"):
        op.drop_table(table)


def _index(name: str, columns: list[str], on_postgresql: str, on_sqlite: str) -> None:
    op.create_index(
        f"ix_execution_trace_{name}",
        "execution_trace",
        columns,
        postgresql_where=sa.text(on_postgresql) if on_postgresql else None,
        sqlite_where=sa.text(on_sqlite) if on_sqlite else None,
    )
