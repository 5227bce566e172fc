"""`python -m evaluation.other_runtimes NETWORK.tflite ...`: memory that LiteRT and TFLM use for each file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from evaluation.errors import USER_ERROR_STATUS, exits_on_user_error
from evaluation.other_runtimes.survey import Survey, survey

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Exit status 2: no runtime could take any of the files.")
def other_runtimes(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK.tflite")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Memory that LiteRT (with and without XNNPACK) and TFLM use for a network: arena, and resident memory of a process
    that runs it once. Each figure is measured in a fresh process."""
    surveys = [survey(network) for network in networks]
    if json:
        print(dumps({"networks": [one.figures() for one in surveys]}))
    elif any(use.arena_bytes is not None for one in surveys for use in one.uses):
        _show(surveys)
    for problem in dict.fromkeys(use.problem for one in surveys for use in one.uses if use.problem):
        print(f"error: {problem}", file=sys.stderr)
    if all(use.arena_bytes is None for one in surveys for use in one.uses):
        raise typer.Exit(USER_ERROR_STATUS)


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


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
