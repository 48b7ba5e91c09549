"""Keys that end by themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keys that are there stay without an end."""
    op.add_column("api_key", sa.Column("expires_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Keys that had an end have none."""
    op.drop_column("api_key", "expires_at")
