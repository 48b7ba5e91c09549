"""What pass 2 of the sanitizer is made of; `tracing.second_pass` is its door."""
