"""Benchmarks: each a command that prints its figures next to their references. Nothing that ships imports them."""
