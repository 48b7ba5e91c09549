"""What the outcomes of runs taught: decayed counts of everything a run consists of, by the key that sent it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "learned",
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("mocked", sa.Boolean, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("parent", sa.Text),
        sa.Column("tool", sa.Text),
        sa.Column("successes", sa.Double, nullable=False),
        sa.Column("failures", sa.Double, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("n_failed", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_learned_tenant_id"),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "subject", "mocked", "key_id", name="pk_learned"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_learned_after", "learned", ["tenant_id", "kind", "parent"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_learned_after", table_name="learned")
    op.drop_table("learned")
