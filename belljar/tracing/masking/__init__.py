"""What pass 1 of the sanitizer is made of; `tracing.sanitizer` is its door."""
