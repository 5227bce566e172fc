"""Provenance of a checkpoint: program, commit and versions."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("petitlab", "tensorflow", "tf-keras", "numpy", "pillow")


def provenance() -> dict[str, object]:
    """Python and package versions, git commit and whether the tree differed from it (None outside a checkout)."""
    versions: dict[str, object] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {"versions": versions, "git_commit": commit, "git_dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ("git", "-C", str(here), *arguments), capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
