"""Threads that run one network on several images."""

from __future__ import annotations

import os

VARIABLE = "PETITLAB_THREADS"
"""Environment variable that holds their number; all cores where it is not set."""


def threads() -> int:
    """Their number."""
    return int(os.environ.get(VARIABLE) or os.cpu_count() or 1)
