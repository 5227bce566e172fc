"""`python -m evaluation.other_runtimes NETWORK.tflite ...`: what LiteRT and TFLM really use for each file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import USER_ERROR_STATUS, exits_on_user_error
from evaluation.other_runtimes.survey import Survey, survey


@exits_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """Print one table, or JSON; another runtime that cannot take a file is named, and the exit status is 2 if none
    could."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.other_runtimes",
        description="What LiteRT (with and without XNNPACK) and TFLM use for a network: arena, and resident memory of "
        "a process that runs it once. Each figure is measured in a fresh process.",
        epilog="Exit status 2: no runtime could take any of the files.",
    )
    parser.add_argument("networks", nargs="+", metavar="NETWORK.tflite")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    surveys = [survey(network) for network in options.networks]
    if options.json:
        print(json.dumps({"networks": [one.to_dict() for one in surveys]}))
    elif any(use.arena_bytes is not None for one in surveys for use in one.uses):
        _show(surveys)
    for problem in dict.fromkeys(use.problem for one in surveys for use in one.uses if use.problem):
        print(f"error: {problem}", file=sys.stderr)
    if all(use.arena_bytes is None for one in surveys for use in one.uses):
        sys.exit(USER_ERROR_STATUS)


def _show(surveys: Sequence[Survey]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for one in surveys:
        table = Table(title=f"{Path(one.network).name}: bytes", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
        table.add_column("runtime", no_wrap=True)
        for name in ("arena", "persistent", "resident, peak", "resident, after"):
            table.add_column(name, justify="right", no_wrap=True)
        for use in one.uses:
            sizes = (use.arena_bytes, use.persistent_bytes, use.resident_bytes, use.resident_after_bytes)
            table.add_row(use.runtime.label, *("-" if size is None else f"{size:,}" for size in sizes))
        console.print(table)
    for line in (
        "arena: LiteRT, span of its tensors (XNNPACK's own workspace not in it); TFLM, head section",
        "persistent: TFLM's tail section; resident: growth of a fresh process from before the interpreter",
        "exists, at its peak and after one run on one thread (file, arena, packed weights, workspace)",
    ):
        console.print(line, highlight=False)


if __name__ == "__main__":
    main()
