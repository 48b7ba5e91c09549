"""How the spool and the outbox lie on the disk; `tracing.spool` and `tracing.outbox` are their doors."""
