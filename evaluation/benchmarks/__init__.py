"""Benchmarks: each a command that prints its figures beside their references."""
