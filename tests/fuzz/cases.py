"""`python -m tests.fuzz.cases`: give every input that once went wrong to the real command, and print how each ended.

The inputs are those of the folder `cases` of the shared test data; its journal has tests of its own. An input ends
rightly where the command works, or refuses it in one line with exit status 2, within the time its kind allows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.harness import Outcome

LONGEST_MESSAGE = 1000
CAPACITY = "9223372036854775807"
NETWORK_YAML = """study: case
data: {{name: streets}}
network: {{source: "{path}"}}
"""
FOLDER_YAML = b"""study: case
data: {name: folder, path: ., train: train, search: search, heldout: heldout}
"""
SPLITS = ("train", "search", "heldout")
PARTS = ("images", "masks")
CLASSES = "\n".join(f"class {index}" for index in range(11)).encode()
"""As many as the built-in network has."""


@dataclass(frozen=True)
class Case:
    """One input and the command that reads it."""

    kind: str
    name: str
    command: tuple[str, ...]
    """Arguments after `python -m`."""
    limit_s: float
    """Longest time it may take, in seconds of this machine."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Written into the command's folder before."""


def cases(folder: Path) -> Iterator[Case]:
    """Every input below the folder."""
    for path in sorted((folder / "yaml").glob("*.yaml")):
        yield Case("YAML", path.name, ("sweeps.launch", str(path), "--dry-run"), 400.0)
    for path in sorted((folder / "csv").glob("*.csv")):
        command = ("evaluation.planner", "--solve", str(path), "--capacity", CAPACITY, "--timeout", "5")
        yield Case("buffer list", path.name, command, 12.0)
    for path in sorted((folder / "tflite").glob("*.tflite")):
        yield Case(".tflite, planned", path.name, ("evaluation.planner", str(path), "--tiles", "1", "auto"), 60.0)
        command = ("deeplab.runtime", str(path), "--out", "network", "--check", "random")
        yield Case(".tflite, as C", path.name, command, 120.0)
    for path in sorted((folder / "networks").iterdir()):
        text = NETWORK_YAML.format(path=path).encode()
        yield Case("network", path.name, ("sweeps.launch", "case.yaml", "--dry-run"), 400.0, (("case.yaml", text),))
    for path in sorted((folder / "images").glob("*.png")):
        for use in PARTS:
            files = {f"{part}/{split}.png": GOOD[part] for part in PARTS for split in SPLITS}
            files |= {f"{split}.txt": f"{split}\n".encode() for split in SPLITS}
            files |= {f"{use}/search.png": path.read_bytes(), "classes.txt": CLASSES, "case.yaml": FOLDER_YAML}
            command = ("sweeps.launch", "case.yaml", "--dry-run")
            yield Case(f"image, as {use[:-1]}", path.name, command, 400.0, tuple(files.items()))


def small_png(mode: str) -> bytes:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new(mode, (4, 4)).save(buffer, "png")
    return buffer.getvalue()


GOOD = {"images": small_png("RGB"), "masks": small_png("L")}


def outcome_of(case: Case) -> tuple[Outcome, str]:
    """How the command ended, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in case.files:
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        command = [sys.executable, "-m", *case.command]
        begin = time.monotonic()
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=case.limit_s, check=False)
        except subprocess.TimeoutExpired:
            return Outcome.HANG, f"longer than {case.limit_s} s"
        took = time.monotonic() - begin
    said = done.stderr.decode(errors="replace").strip()
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    if "Traceback" in said or done.returncode not in (0, 1, 2):
        return Outcome.TRACEBACK, f"status {done.returncode}: {said[-LONGEST_MESSAGE:]}"
    if done.returncode == 2 and (len(lines) != 1 or len(lines[0]) > LONGEST_MESSAGE):
        return Outcome.TRACEBACK, f"no single line: {said[-LONGEST_MESSAGE:]}"
    if done.returncode == 1 and not said and not done.stdout:
        return Outcome.TRACEBACK, "status 1, nothing said"
    said = (said or done.stdout.decode(errors="replace").strip()).splitlines()[-1:]
    return (Outcome.REFUSED if done.returncode == 2 else Outcome.ACCEPTED), f"{took:.1f} s  {' '.join(said)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.cases", description=__doc__)
    default = Path(__file__).resolve().parents[2].parent / "shared"
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("PETITLAB_SHARED", default)) / "cases")
    parser.add_argument("--only", default="", help="part of a kind")
    parser.add_argument("--verbose", action="store_true", help="print each input with what was said")
    arguments = parser.parse_args()
    every = [case for case in cases(arguments.folder) if arguments.only in case.kind]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(outcome_of, every))
    counts: dict[str, Counter[Outcome]] = {}
    for case, (outcome, said) in zip(every, found, strict=True):
        counts.setdefault(case.kind, Counter())[outcome] += 1
        if arguments.verbose or outcome.is_fault:
            print(f"{case.kind}: {case.name}: {outcome}: {said}", file=sys.stderr)
    print("| kind | inputs | accepted | refused in one line | tracebacks | hangs |")
    print("|---|---|---|---|---|---|")
    shown = (Outcome.ACCEPTED, Outcome.REFUSED, Outcome.TRACEBACK, Outcome.HANG)
    for kind, one in counts.items():
        print(f"| {kind} | {one.total()} | {' | '.join(str(one[column]) for column in shown)} |")
    sys.exit(any(outcome.is_fault for outcome, _ in found))


if __name__ == "__main__":
    main()
