"""The server's store: one code for an SQLite file and for PostgreSQL.

Every function takes a `Database` first (`engine.open_database`), blocks, and is asked by a tenant and answers that
tenant alone. `migrating` makes the tables of `schema`; `keys` and `sessions` say who asks, `limiter` how often;
`ingest` takes traces in, `queries` and `stats` give them out, `maintenance` removes, anonymizes and exports them;
`registry` holds capabilities. What goes wrong is one of `errors`.
"""
