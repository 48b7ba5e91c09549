"""What Alembic runs: the migrations, on the connection and in the transaction that `migrating` has opened."""

from __future__ import annotations

from alembic import context

from belljar.server.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can; the engine begins its transactions itself.
    transactional_ddl=True,
)
context.run_migrations()
