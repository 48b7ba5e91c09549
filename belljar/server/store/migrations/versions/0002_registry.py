"""What runs: organisations, the texts of capabilities, and their names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "registry_org",
        sa.Column("org", sa.Text, nullable=False),
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("claimed_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("org", name="pk_registry_org"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_registry_org_tenant_id"),
    )
    op.create_table(
        "workflow_pattern",
        sa.Column("pattern_id", sa.Text, nullable=False),
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("pattern_id", name="pk_workflow_pattern"),
        sa.UniqueConstraint("tenant_id", "sha256", name="uq_workflow_pattern_tenant_id_sha256"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_workflow_pattern_tenant_id"),
    )
    op.create_table(
        "capability_record",
        sa.Column("record_id", _ROW_ID, nullable=False),
        sa.Column("tenant_id", _ROW_ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash4", sa.Text, nullable=False),
        sa.Column("pattern_id", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("args_schema", _JSON),
        sa.Column("servers", _JSON, nullable=False),
        sa.Column("permissions", _JSON, nullable=False),
        sa.Column("dependencies", _JSON, nullable=False),
        sa.Column("published_by", sa.Text, nullable=False),
        sa.Column("published_at", _TIME, nullable=False),
        sa.Column("yanked_at", _TIME),
        sa.PrimaryKeyConstraint("record_id", name="pk_capability_record"),
        sa.UniqueConstraint("tenant_id", "name", "hash4", name="uq_capability_record_tenant_id_name_hash4"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_capability_record_tenant_id"),
        sa.ForeignKeyConstraint(
            ["pattern_id"], ["workflow_pattern.pattern_id"], name="fk_capability_record_pattern_id"
        ),
    )
    op.create_index("ix_capability_record_pattern_id", "capability_record", ["pattern_id"])


def downgrade() -> None:
    """Drop them, children first."""
    for table in ("capability_record", "workflow_pattern", "registry_org"):
        op.drop_table(table)
