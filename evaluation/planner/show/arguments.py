"""Options that commands which plan a network share, and how their values are read."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from evaluation.kernels.targets import BUILT_IN
from evaluation.planner.tiling import schemes

_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")

planning = partial(typer.Option, rich_help_panel="Planning")
Tiling = Annotated[schemes.Tiling, planning(help="Tiles' common rows.")]
Target = Annotated[str | None, planning(metavar="T", help=f"{', '.join(BUILT_IN)}, or a YAML file (default: camera).")]
MacOverhead = Annotated[
    float, planning(metavar="SHARE", help="MACs that recomputing may add, as a share of the network's.")
]


class TilesCommand(TyperCommand):
    """Takes `--tiles 1 4 auto` for `--tiles 1 --tiles 4 --tiles auto`, which is all that Click knows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        of_tiles = False
        for argument in args:
            if argument.startswith("-"):
                of_tiles = argument == "--tiles"
            elif of_tiles and spread[-1] != "--tiles":
                spread.append("--tiles")
            spread.append(argument)
        return super().parse_args(ctx, spread)


def is_given(context: typer.Context, name: str | None) -> bool:
    """Whether an option is on the command line, even with its default."""
    source = context.get_parameter_source(name or "")
    return source is not None and source.name == "COMMANDLINE"


def tile_count(text: str) -> schemes.TileCount:
    """A bound on tiles: 1 or more, or `auto`.

    Raises:
        typer.BadParameter: neither.
    """
    if text == "auto":
        return "auto"
    if not _WHOLE.fullmatch(text) or int(text) < 1:
        raise typer.BadParameter(f"expected a tile count of at least 1, or `auto`, got {_shown(text)}")
    return int(text)


def whole_number(text: str) -> int:
    """Digits, with a sign or without.

    Raises:
        typer.BadParameter: anything else, or too many.
    """
    if not _WHOLE.fullmatch(text):
        raise typer.BadParameter(f"expected a whole number of at most 30 digits, got {_shown(text)}")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
