"""The name of the capability at the end of three indexes, so that counting by name reads nothing else."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# name: rows on PostgreSQL, rows on SQLite
_COUNTED = {
    "executed": ("", ""),
    "failed": ("NOT success", "success = 0"),
    "mocked": ("mocked_share > 0", "mocked_share > 0"),
}
_LISTED = ["tenant_id", "executed_at", "row_id"]


def upgrade() -> None:
    """Make them anew with it."""
    _make([*_LISTED, "capability_name"])


def downgrade() -> None:
    """And without."""
    _make(_LISTED)


def _make(columns: list[str]) -> None:
    for name, (on_postgresql, on_sqlite) in _COUNTED.items():
        op.drop_index(f"ix_execution_trace_{name}", "execution_trace")
        op.create_index(
            f"ix_execution_trace_{name}",
            "execution_trace",
            columns,
            postgresql_where=sa.text(on_postgresql) if on_postgresql else None,
            sqlite_where=sa.text(on_sqlite) if on_sqlite else None,
        )
