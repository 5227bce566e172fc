"""Offset allocation next to its references: `python -m benchmarks.planner.offsets CASES_FOLDER [--timeout S]`.

MiniMalloc's challenging cases are solved at their capacity of 1 MiB, case C at its bound of 1,039,360 bytes too; the
networks of Pisarchyk and Lee (2020) and all other lists are minimised. With `--random N`, N rectangles cut into boxes
as well (see `rectangles`), which can all be placed within 1 MiB.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.planner.rectangles import HEIGHT_BYTES, cut_rectangle
from evaluation.errors import UserError, exits_on_user_error
from evaluation.planner.placement import Block, Placement, load_bytes, place
from evaluation.planner.placement.greedy import best_greedy, neighbours_in_time
from evaluation.planner.show.buffers_csv import read_buffers

CAPACITY_BYTES = 1_048_576
TIGHT_C_BYTES = 1_039_360
# Seconds of the C++ reference (one thread, two-core machine, +-40 %), from the SOURCE.txt next to the cases.
MINIMALLOC_S = {"A": 9.4, "C": 1.1, "E": 6.4, "G": 2.3, "I": 5.7, "K": 1.1}
_PREFIX = "minimalloc_"


@dataclass(frozen=True)
class Row:
    """One case, solved."""

    name: str
    blocks: int
    greedy_bytes: int
    """Best of the greedy orders."""
    capacity_bytes: int | None
    placement: Placement
    seconds: float
    reference_s: float | None


def run(name: str, blocks: list[Block], capacity_bytes: int | None, timeout_s: float, reference_s: float | None) -> Row:
    """Place `blocks` within `capacity_bytes`, or as low as possible where it is None."""
    size = [block.size_bytes for block in blocks]
    greedy = best_greedy(blocks, size, neighbours_in_time(blocks, size), load_bytes(blocks))
    began = time.perf_counter()
    placement = place(blocks, timeout_s=timeout_s, capacity_bytes=capacity_bytes)
    seconds = time.perf_counter() - began
    return Row(name, len(blocks), greedy.height, capacity_bytes, placement, seconds, reference_s)


def cases(folder: Path) -> list[tuple[str, list[Block], int | None, float | None]]:
    """(name, blocks, capacity, reference seconds) of every list in `folder`."""
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise UserError(f"{folder}: holds no .csv file; name the folder with the buffer lists")
    found: list[tuple[str, list[Block], int | None, float | None]] = []
    for path in paths:
        blocks = [buffer.block for buffer in read_buffers(path)]
        if path.stem.startswith(_PREFIX):
            letter = path.stem.removeprefix(_PREFIX)
            found.append((path.stem, blocks, CAPACITY_BYTES, MINIMALLOC_S.get(letter)))
            if letter == "C":
                found.append((f"{path.stem} tight", blocks, TIGHT_C_BYTES, None))
        else:
            found.append((path.stem, blocks, None, None))
    return found


def show(row: Row) -> str:
    placement = row.placement
    reference = "" if row.reference_s is None else f"{row.reference_s:.1f}"
    solved = row.capacity_bytes is None or placement.height_bytes <= row.capacity_bytes
    return (
        f"{row.name:38} {row.blocks:6} {placement.bound_bytes:10} {row.greedy_bytes:10} {placement.height_bytes:10} "
        f"{'yes' if solved else 'NO':>6} {'yes' if placement.proven else 'no':>6} {row.seconds:8.3f} {reference:>10}"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def offsets(
    folder: Annotated[Path, typer.Argument(metavar="CASES_FOLDER", help="Folder with buffer lists (CSV).")],
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds a case.")] = 30.0,
    random: Annotated[int, typer.Option(metavar="N", help="Rectangles to cut and solve as well.")] = 0,
) -> None:
    """Print one row a case, then the sums over the cases that have a reference."""
    listed = cases(folder)
    for seed in range(random):
        count, kept = (100, 200, 300, 400)[seed % 4], (1.0, 0.9)[seed // 4 % 2]
        listed.append((f"rectangle {count} x {kept} seed {seed}", cut_rectangle(count, kept, seed), HEIGHT_BYTES, None))
    # Compile, or load what was compiled, before the clock runs.
    place(cut_rectangle(30, 1.0, 0), node_limit=100, moves=0)
    heads = ("blocks", "bound", "greedy", "height", "solved", "proven", "seconds", "MiniMalloc")
    print(f"{'case':38} {heads[0]:>6} {heads[1]:>10} {heads[2]:>10} {heads[3]:>10} ", end="")
    print(f"{heads[4]:>6} {heads[5]:>6} {heads[6]:>8} {heads[7]:>10}")
    rows = []
    for name, blocks, capacity, reference_s in listed:
        rows.append(run(name, blocks, capacity, timeout, reference_s))
        print(show(rows[-1]), flush=True)
    ours = sum(row.seconds for row in rows if row.reference_s is not None)
    theirs = sum(row.reference_s for row in rows if row.reference_s is not None)
    if theirs:
        print(f"sum over cases with a reference: {ours:.2f} s, MiniMalloc {theirs:.1f} s (x{theirs / ours:.1f})")


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
