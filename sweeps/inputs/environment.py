"""The environment of a study: command, commit, versions and machine, as needed to reproduce it."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from evaluation.addresses import masked_address
from reports.record import Environment

PACKAGES = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "optuna", "mlflow", "numpy", "ai-edge-litert")


def of_run(folder: Path, started: str, seconds: float) -> Environment:
    """The environment of this run, for the study's record.

    Args:
        folder: folder of the study.
        started: start time of its first run.
        seconds: wall time of all its runs.
    """
    commit, dirty = git_state()
    return Environment(
        command=command_line(),
        git_commit=commit,
        git_dirty=dirty,
        versions=versions(),
        lock=lock_digest(),
        machine=machine(),
        started=started,
        seconds=round(seconds, 1),
        study_folder=relative(folder),
    )


def command_line() -> str:
    """The command line, with secrets masked."""
    script, arguments = Path(sys.argv[0]), [masked_address(argument) for argument in sys.argv[1:]]
    if script.name == "launch.py":
        return f"python -m sweeps.launch {shlex.join(arguments)}".strip()
    if " " in script.name:  # set by `petitlab.cli`
        return f"{sys.argv[0]} {shlex.join(arguments)}".strip()
    return shlex.join([script.name, *arguments])


def relative(path: Path) -> str:
    """A path relative to the current folder if it is below it, else absolute."""
    inside = path.resolve().is_relative_to(Path.cwd())
    return str(path.resolve().relative_to(Path.cwd()) if inside else path.resolve())


def git_state() -> tuple[str | None, bool | None]:
    """(commit, whether files differ from it) of this code's git checkout; (None, None) outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None, None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def lock_digest() -> str | None:
    """SHA-256 of constraints.txt next to this code; None where it was not installed from a checkout."""
    lock = Path(__file__).resolve().parents[2] / "constraints.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries on which results depend."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Processor, cores and memory, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line[:10] == "model name"
        ]
        model = names[0] if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model}, {cores} cores, {memory_gb:.0f} GB memory, {platform.system()} {platform.machine()}"
