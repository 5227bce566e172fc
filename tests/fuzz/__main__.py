"""`python -m tests.fuzz`: run the fuzz targets and print how their inputs ended."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.fuzz.harness import Outcome, fuzz, load_targets

COLUMNS = (Outcome.ACCEPTED, Outcome.REFUSED, Outcome.TRACEBACK, Outcome.HANG, Outcome.WRONG)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time of each target (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument("--only", help="part of a target's name")
    arguments = parser.parse_args()
    default = Path(__file__).resolve().parents[2].parent / "shared"
    shared = Path(os.environ.get("PETITLAB_SHARED", default))
    print("| parser | kind | inputs | accepted | refused in one line | tracebacks | hangs | wrong |")
    print("|---|---|---|---|---|---|---|---|")
    faults = 0
    for target in load_targets():
        if arguments.only and arguments.only not in target.name:
            continue
        tally = fuzz(target, arguments.seconds, shared if shared.is_dir() else None, arguments.seed)
        counts = " | ".join(f"{tally.counts[column]:,}" for column in COLUMNS)
        print(f"| {target.name} | {target.kind} | {tally.tried:,} | {counts} |", flush=True)
        if tally.faults:
            print(tally.report(), file=sys.stderr)
        faults += len(tally.faults)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
