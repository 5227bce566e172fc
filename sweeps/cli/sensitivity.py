"""Sensitivity of the stages of a study's network to fewer bits, measured before a search.

petitlab sensitivity pareto.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.accuracy import UNRELIABLE_NOTE
from evaluation.errors import UserError, exits_on_user_error

if TYPE_CHECKING:
    from rich.table import Table

    from deeplab.sensitivity import Sensitivity, SensitivityTable
    from evaluation.graph import Graph
    from sweeps.config.schema import SweepConfig
    from sweeps.trial.context import Context

START_BITS = 8
"""Bits of weights and activations of the reference network; at 8 bits networks lose next to nothing."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def sensitivity(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", show_default=False)],
    weight_bits: Annotated[
        list[int] | None, typer.Option(help="Bits to try, below 8; the fewest of the space if left out. Repeatable.")
    ] = None,
    activation_bits: Annotated[list[int] | None, typer.Option(help="The same for activations.")] = None,
    tiles: Annotated[
        int | None, typer.Option(min=1, help="Tile count of the plan; the largest of the space if left out.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("-o", metavar="KEY=VALUE", help="Set a key, e.g. -o data.search=val[:27].")
    ] = None,
) -> None:
    """Lower each part of CONFIG.yaml's network alone, from 8 bits: backbone, ASPP, decoder, edges, depthwise layers.

    Prints the loss of each on the search images and its saving, the largest loss per saved byte first.
    """
    import sys

    from rich.console import Console

    from sweeps.config.load import load_config
    from sweeps.trial.preflight import check_inputs

    config = load_config(config_file, override or [])
    levels = levels_of(config, weight_bits, activation_bits)
    check_inputs(config, Console(stderr=True))
    tile_count = tiles or max(config.space.tile_count)
    with Console(stderr=True).status("measuring each stage"):
        from sweeps.trial.context import open_context

        context = open_context(config)
        measured = measure(context, *levels, tile_count)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table(measured, context, tile_count))
    console.print(caption(measured), highlight=False)


def levels_of(
    config: SweepConfig, weight_bits: list[int] | None, activation_bits: list[int] | None
) -> tuple[list[int], list[int]]:
    """Levels of weights and of activations to try, ascending.

    Raises:
        UserError: a given level is not supported, or not below `START_BITS`.
    """
    from deeplab.compression import ACTIVATION_BITS, STAGE_BITS, WEIGHT_BITS, backbone_field

    found = []
    for name, given, supported in (
        ("weight_bits", weight_bits, WEIGHT_BITS),
        ("activation_bits", activation_bits, ACTIVATION_BITS),
    ):
        below = [bits for bits in supported if bits < START_BITS]
        for bits in given or ():
            if bits not in below:
                option = f"--{name.replace('_', '-')}"
                choice = ", ".join(map(str, below))
                raise UserError(f"{option} {bits}: not below the {START_BITS} bits of the start; choose from {choice}")
        stages = [getattr(config.space, stage) or () for stage in STAGE_BITS if backbone_field(stage) == name]
        searched = {bits for levels in (getattr(config.space, name), *stages) for bits in levels} & set(below)
        # For a space without levels below 8: networks begin to lose accuracy at 4 bits.
        found.append(sorted(set(given)) if given else [min(searched, default=4)])
    return found[0], found[1]


def measure(context: Context, weight_bits: list[int], activation_bits: list[int], tile_count: int) -> SensitivityTable:
    """The sensitivity table of a study's network, whose stages are computed and cached as those of trials."""
    from deeplab.compression import Compression
    from deeplab.image_windows import frames
    from deeplab.network import input_size
    from deeplab.sensitivity import lowerings, sensitivity
    from evaluation.planner import plan
    from sweeps.trial.stages import compressed, scores, shipped_as

    network, config = context.baseline, context.config
    start = context.with_fixed_bits(Compression(weight_bits=START_BITS, activation_bits=START_BITS))

    def memory_bytes(lowered: Graph) -> int:
        planned = plan(lowered, tile_count, context.target, max_mac_overhead=config.max_mac_overhead)
        return planned.peak_memory_bytes + planned.flash_bytes

    return sensitivity(
        network,
        start,
        tuple(lowerings(network, start, weight_bits, activation_bits)),
        frames(context.images.search, *input_size(network)),
        lambda compression: compressed(compression, context),
        memory_bytes,
        lambda lowered: scores(shipped_as(lowered, tile_count, context), context, "search"),
    )


def table(measured: SensitivityTable, context: Context, tile_count: int) -> Table:
    """The printed table."""
    from rich.table import Table

    images = len(context.images.search)
    title = f"{context.config.study}: each part alone from {START_BITS} bits; {images} search images, "
    title += f"{tile_count} tile{'s' * (tile_count > 1)}"
    made = Table(title=title, title_justify="left", box=None)
    for name in ("part", "lowered to"):
        made.add_column(name, no_wrap=True)
    for name in ("KL added", "labels changed", "mIoU", "95 % interval", "saved, kB", "KL / MB"):
        made.add_column(name, justify="right", no_wrap=True)
    for row in measured.rows:
        made.add_row(*_cells(row))
    return made


def _cells(row: Sensitivity) -> tuple[str, ...]:
    change, lowering = row.change, row.lowering
    return (
        {"aspp": "ASPP"}.get(lowering.part, lowering.part),
        f"{lowering.bits}-bit {lowering.kind}",
        f"{row.added_divergence:+.5f}",
        f"{100 * row.distance.changed_share:.2f} %",
        f"{change.estimate:+.4f}" if change else "",
        f"{change.lower:+.4f} to {change.upper:+.4f}{change.mark}" if change else "",
        f"{row.saved_bytes / 1e3:.2f}",
        f"{1e6 * row.cost_per_byte:+.3f}" if row.saved_bytes > 0 else "saves nothing",
    )


def caption(measured: SensitivityTable) -> str:
    """The caption, which states the reference of the figures."""
    start = measured.start_distance
    marked = any(row.change is not None and not row.change.is_reliable for row in measured.rows)
    return (
        f"KL: nats a pixel from the float network, above the {start.divergence:.5f} of the start, where "
        f"{100 * start.changed_share:.2f} % of the labels\ndiffer from the float network's and memory is "
        f"{measured.start_bytes / 1e3:.1f} kB. Edges: first and last layer. Parts at the top should\n"
        "keep their bits longest." + (f"\n{UNRELIABLE_NOTE}." if marked else "")
    )


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
