"""The server: traces in, capabilities resolved, nothing lost, everything visible."""
