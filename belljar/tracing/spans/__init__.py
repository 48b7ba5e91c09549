"""What spans are made of; `tracing.otel` is their door."""
