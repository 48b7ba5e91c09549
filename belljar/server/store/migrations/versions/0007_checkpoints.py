"""Models that were trained, the learner that trains them, and an index of real runs in the order of their arrival."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_REAL = "mocked_share = 0"


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "checkpoint",
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("trained_at", _TIME, nullable=False),
        sa.Column("traces", sa.Integer, nullable=False),
        sa.Column("last_row", sa.BigInteger, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("embedder", sa.Text, nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("config", _JSON, nullable=False),
        sa.Column("evaluation", _JSON, nullable=False),
        sa.Column("uses", _JSON, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("blob", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "version", name="pk_checkpoint"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_checkpoint_tenant_id"),
        sa.CheckConstraint("version >= 1", name=op.f("ck_checkpoint_version")),
    )
    op.create_table(
        "learner_status",
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("replay", sa.BigInteger, nullable=False),
        sa.Column("new_traces", sa.BigInteger, nullable=False),
        sa.Column("trains_after", sa.BigInteger, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_learner_status"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_learner_status_tenant_id"),
    )
    op.create_table(
        "learner",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("leader", sa.Text, nullable=False),
        sa.Column("beat_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_learner"),
    )
    op.create_index(
        "ix_execution_trace_real",
        "execution_trace",
        ["tenant_id", "row_id"],
        postgresql_where=sa.text(_REAL),
        sqlite_where=sa.text(_REAL),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_execution_trace_real", "execution_trace")
    for table in ("learner", "learner_status", "checkpoint"):
        op.drop_table(table)
