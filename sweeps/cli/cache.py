"""List the stage cache, and remove entries from it.

python -m sweeps cache show
python -m sweeps cache prune --to 2GB
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.errors import UserError, exits_on_user_error

if TYPE_CHECKING:
    from sweeps.storage.blob_store import Entry, Store

app = typer.Typer(help="List the stage cache, and remove entries from it.", no_args_is_help=True)

SIZE = re.compile(r"^(\d+(?:\.\d+)?) ?([kMGT]?)B?$", re.IGNORECASE)
AGE = re.compile(r"^(\d+(?:\.\d+)?) ?([mhdw])$")
FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DEFAULT_PLACE = "studies/.cache"

Place = Annotated[str, typer.Argument(metavar="PLACE", help="Folder or address, as cache.place of the sweep.")]


@app.command()
def show(place: Place = DEFAULT_PLACE) -> None:
    """List the stages with their entries, sizes and last use."""
    from rich.console import Console
    from rich.table import Table

    entries = _store(place).entries()
    table = Table("stage")
    for name in ("entries", "MB", "last used"):
        table.add_column(name, justify="right")
    for stage in sorted({entry.stage for entry in entries}):
        own = [entry for entry in entries if entry.stage == stage]
        table.add_row(stage, *_summary(own))
    table.add_section()
    table.add_row("all", *_summary(entries))
    Console().print(table)


@app.command("prune")
def prune_command(
    place: Place = DEFAULT_PLACE,
    to: Annotated[str | None, typer.Option(help="Size to reduce it to, e.g. 500MB or 2GB.", metavar="SIZE")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Remove entries not used for this time, e.g. 12h, 30d.", metavar="TIME")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
) -> None:
    """Remove entries, the least recently used first. Running sweeps compute missing entries again."""
    from sweeps.storage.blob_store import evict

    if not everything and to is None and older_than is None:
        raise UserError("give --to 2GB, --older-than 30d, or --all")
    age = 0.0 if older_than is None else time.time() - _seconds(older_than)
    size = 0.0 if everything else float("inf") if to is None else _bytes(to)
    evicted = evict(_store(place), size, age)
    print(f"removed {len(evicted)} entries, {sum(entry.size_bytes for entry in evicted) / 1e6:.1f} MB")


def _store(place: str) -> Store:
    """The existing store at a folder or address."""
    from sweeps.storage.blob_store import open_store

    if "://" not in place and not Path(place).is_dir():
        raise UserError(f"{place}: no stage cache here; give the folder, such as {DEFAULT_PLACE}, or an address")
    return open_store(place)


def _summary(entries: list[Entry]) -> tuple[str, str, str]:
    size = sum(entry.size_bytes for entry in entries) / 1e6
    last = max((entry.used for entry in entries), default=0.0)
    return f"{len(entries)}", f"{size:.1f}", f"{datetime.fromtimestamp(last):%Y-%m-%d %H:%M}" if last else "-"


def _bytes(text: str) -> float:
    match = SIZE.match(text.strip())
    if match is None:
        raise UserError(f"--to {text}: expected a size such as 500MB or 2GB")
    return float(match[1]) * FACTORS[match[2].lower()]


def _seconds(text: str) -> float:
    match = AGE.match(text.strip())
    if match is None:
        raise UserError(f"--older-than {text}: expected a time such as 90m, 12h, 30d or 4w")
    return float(match[1]) * SECONDS[match[2]]


main = exits_on_user_error(app)
