"""The folder for what is made once on this machine: compiled kernels, converted models."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "PETITLAB_CACHE"
"""Environment variable that names another folder than the user's cache."""


def cache_folder() -> Path:
    """The folder: the named one, or the user's cache, or, where that cannot be
    written, a folder of this process alone."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    folder = user_cache_path("petitlab")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _own_folder()
    return folder if os.access(folder, os.W_OK | os.X_OK) else _own_folder()


@lru_cache(maxsize=1)
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="petitlab-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
