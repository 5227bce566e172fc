"""Every network of a folder, planned, next to what TFLM takes: `python -m benchmarks.planner.network_folder FOLDER`.

Each `.tflite` file is planned untiled under TFLM's accounting (labels as int32, weights in flash), to stand next to the
head section that TFLM really allocates, and for the camera (frame and labels counted) untiled, at 8 tiles and at
`auto`. Every plan has passed the validator. Files that cannot be planned are listed with the reason.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from evaluation.errors import UserError, exits_on_user_error
from evaluation.graph import read_tflite
from evaluation.other_runtimes import tflm_arena
from evaluation.planner import CAMERA, TFLM, plan
from evaluation.planner.tiling.schemes import TileCount

_COUNTS: tuple[TileCount, ...] = (1, 8, "auto")


@dataclass(frozen=True)
class Row:
    """One network: its plans, or why there are none."""

    network: str
    refusal: str | None = None
    """The planner's reason; then there are no figures but TFLM's."""
    operators: int = 0
    untiled_bytes: int = 0
    """Our arena under TFLM's accounting."""
    tflm_bytes: int | None = None
    """TFLM's head section. None where TFLM does not take the file."""
    tflm_refusal: str | None = None
    camera_bytes: tuple[int, ...] = ()
    """Our arena for the camera target, at 1 and 8 tiles and at auto."""
    proven: tuple[bool, ...] = ()
    """Whether each of these is the least for its steps."""
    mac_overhead: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    """Time that planning took, validation included."""

    @property
    def ratio(self) -> float | None:
        """Our untiled arena as a share of TFLM's."""
        return self.untiled_bytes / self.tflm_bytes if self.tflm_bytes and not self.refusal else None


def measure(path: Path) -> Row:
    """Plan one network in every way, and ask TFLM."""
    try:
        head, tflm_refusal = tflm_arena(path).head_bytes, None
    except UserError as error:
        head, tflm_refusal = None, str(error)
    try:
        graph = read_tflite(path)
        untiled = plan(graph, 1, TFLM)
        plans, seconds = [], []
        for count in _COUNTS:
            start = time.perf_counter()
            plans.append(plan(graph, count, CAMERA))
            seconds.append(time.perf_counter() - start)
    except UserError as error:
        return Row(path.stem, refusal=str(error), tflm_bytes=head, tflm_refusal=tflm_refusal)
    return Row(
        path.stem,
        operators=len(graph.operators),
        untiled_bytes=untiled.arena_bytes,
        tflm_bytes=head,
        tflm_refusal=tflm_refusal,
        camera_bytes=tuple(made.arena_bytes for made in plans),
        proven=tuple(made.proven for made in plans),
        mac_overhead=tuple(made.mac_overhead for made in plans),
        seconds=tuple(seconds),
    )


def above_tflm(rows: Sequence[Row]) -> list[str]:
    """Networks for which our untiled arena is larger than TFLM's head section: there should be none."""
    return [row.network for row in rows if row.ratio is not None and row.ratio > 1]


def show(rows: Sequence[Row]) -> None:
    """The table, and below it the reasons of refusals."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(Console().width, 110))
    table = Table(title="arena in kB (10^3 bytes)", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("network", no_wrap=True)
    for name in ("ops", "untiled", "TFLM", "ratio", "1 tile", "8 tiles", "auto", "MACs", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        figures = ["-"] * 3 if not row.camera_bytes else [_kilobytes(size) for size in row.camera_bytes]
        table.add_row(
            _short(row.network),
            str(row.operators) if row.operators else "-",
            _kilobytes(row.untiled_bytes) if row.untiled_bytes else "refused",
            "refused" if row.tflm_bytes is None else _kilobytes(row.tflm_bytes),
            "-" if row.ratio is None else f"{row.ratio:.3f}",
            *figures,
            f"x{1 + row.mac_overhead[-1]:.3f}" if row.mac_overhead else "-",
            f"{sum(row.seconds):.1f}" if row.seconds else "-",
        )
    console.print(table)
    for line in (
        "untiled: our arena as TFLM counts (labels int32); TFLM: head section it takes for the file;",
        "1 tile to auto: our arena for a camera, frame and labels counted; MACs: at auto;",
        "s: seconds for planning these three, validated",
    ):
        console.print(line, highlight=False)
    for row in rows:
        for who, reason in (("refused", row.refusal), ("TFLM refuses", row.tflm_refusal)):
            if reason is not None:
                console.print(f"{who}: {reason}", highlight=False, markup=False, soft_wrap=True)


def _kilobytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e3:,.1f}" if size_bytes < 1e6 else f"{size_bytes / 1e3:,.0f}"


def _short(name: str) -> str:
    """Enough of a file's name to know it by, in a narrow column."""
    return name if len(name) <= 24 else f"{name[:12]}..{name[-10:]}"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def network_folder(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with .tflite files.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Print the table; exit status 1 if an untiled plan takes more than TFLM does for the same file."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with .tflite files")
    paths = sorted(folder.glob("*.tflite"))
    if not paths:
        raise UserError(f"{folder}: holds no .tflite file")
    rows = [measure(path) for path in paths]
    if json:
        print(dumps({"networks": [asdict(row) | {"ratio": row.ratio} for row in rows]}, indent=1))
    else:
        show(rows)
    worse = above_tflm(rows)
    if worse:
        print(f"above TFLM: {', '.join(worse)}", file=sys.stderr)
        raise typer.Exit(1)


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
