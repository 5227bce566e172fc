"""Faults injected into running studies: `python -m benchmarks.faults`."""
