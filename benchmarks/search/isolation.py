"""Runs that must not warm each other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def in_its_own_process(function: Callable, *arguments: Any) -> Any:
    """What a function returns that runs in a fresh process: no library keeps a database open, or anything warm."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def made(folder: Path) -> Path:
    """A folder, once it is there."""
    folder.mkdir()
    return folder
