"""Run a measurement in a fresh process: a network that another runtime cannot take may end the process it is loaded
in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from evaluation.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
TIME_LIMIT_S = 300

Answer = dict[str, int | str]
"""The JSON that a measuring process prints: sizes in bytes by name; or `{"missing": True}`, or "refused" and why."""


def call_in_fresh_process(module: str, path: Path, runtime: str, package: str, *arguments: str) -> dict[str, int]:
    """Run `python -m module path arguments`, which prints one line of JSON last, and return its sizes in bytes.

    Args:
        module: dotted name of the measuring module.
        path: the network.
        runtime: its name in messages.
        package: the distribution that brings it.
        arguments: further arguments of the module.

    Raises:
        UserError: the file cannot be read, or the runtime is not installed, refuses the file, crashes or hangs.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a .tflite network")
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore::RuntimeWarning", "-m", module, str(path.resolve()), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=REPOSITORY,
            timeout=TIME_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{path}: {runtime} gave no answer within {TIME_LIMIT_S} s; the file cannot be measured"
        ) from None
    answer = _last_json(done.stdout)
    if answer is None:
        reason = f"died of signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise UserError(f"{path}: {runtime} {reason} on this file ({last.strip()[:200]}); it cannot be measured")
    if answer.get("missing"):
        raise UserError(f"{path}: {runtime} is not installed; `pip install {package}` to measure it")
    if "refused" in answer:
        raise UserError(f"{path}: {runtime} refuses this file: {answer['refused']}")
    return {name: size for name, size in answer.items() if isinstance(size, int)}


def _last_json(text: str) -> Answer | None:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                answer: Answer = json.loads(line)
                return answer
            except json.JSONDecodeError:
                return None
    return None
