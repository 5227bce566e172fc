"""`python -m benchmarks.planner SHARED`: every figure of the planner that the README states, next to its reference.

SHARED is a folder with `planner_cases/offsets`, `planner_cases/networks` and `weights`. Every plan has passed the
validator. Times are of this machine, this run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.planner import network_folder, offsets
from benchmarks.planner.published import Comparison, ade20k, mcunet_v2_patches, msf_cnn_curve
from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.checkpoint import load_checkpoint
from deeplab.compression import Compression, compressed_shapes
from evaluation.errors import UserError, exits_on_user_error
from evaluation.graph import Graph
from evaluation.other_runtimes import tflm_arena
from evaluation.planner import plan

LADDER: tuple[int | Literal["auto"], ...] = (1, 2, 4, 8, 16, 32, "auto")
TILINGS: tuple[Literal["recompute", "cache", "mixed"], ...] = ("recompute", "cache", "mixed")
_INT8 = Compression(weight_bits=8, activation_bits=8)
_IMPORT = (
    "import sys, time; began = time.perf_counter(); import evaluation.planner; "
    "print(time.perf_counter() - began, 'tensorflow' in sys.modules)"
)


def deeplab_v3_plus() -> Graph:
    """DeepLab v3+ 513x513 int8: MobileNetV2 1.0, output stride 16, five ASPP branches of 256 (rates 6, 12, 18), a skip
    of 24 channels projected to 48, decoder of 256, 21 classes."""
    network = mobilenet_v2_deeplab(
        input_height=513, input_width=513, classes=21, atrous_rates=(6, 12, 18), skip_tap="project"
    )
    return replace(compressed_shapes(network, _INT8), name="deeplab_v3plus_513")


def ladder(graph: Graph) -> Table:
    """Arena by tiling and tile count, with MACs."""
    table = _table(f"{graph.name}, int8: arena in MB (MACs), at most x1.05 MACs", "tiles", *TILINGS)
    for tiles in LADDER:
        cells = []
        for tiling in TILINGS:
            made = plan(graph, tiles, tiling=tiling, max_mac_overhead=0.05)
            cells.append(f"{made.arena_bytes / 1e6:.3f} (x{1 + made.mac_overhead:.3f})")
        table.add_row(str(tiles), *cells)
    return table


def comparisons(title: str, rows: Iterable[Comparison]) -> Table:
    """Ours next to the references."""
    table = _table(title, "what", "reference, bytes", "from", "ours, bytes", "ratio", "MACs")
    for row in rows:
        figures = f"{row.reference_bytes:,}", row.reference, f"{row.ours_bytes:,}", f"{row.ratio:.3f}"
        table.add_row(row.what, *figures, f"x{row.mac_factor:.3f}")
    return table


def times(large: Graph) -> Table:
    """Seconds that planning takes, validation included; the import in a fresh process, least of three."""
    embedded = load_checkpoint(Path(str(files("deeplab") / "pretrained" / "streets.npz"))).network
    small = compressed_shapes(embedded, _INT8)
    table = _table("planning time", "what", "seconds")
    timed: tuple[tuple[str, Graph, int | Literal["auto"]], ...] = (
        ("DeepLab v3+ 513x513, 16 tiles", large, 16),
        ("DeepLab v3+ 513x513, auto", large, "auto"),
        ("embedded network, untiled", small, 1),
        ("embedded network, 8 tiles", small, 8),
    )
    for what, graph, tiles in timed:
        began = time.perf_counter()
        plan(graph, tiles)
        table.add_row(what, f"{time.perf_counter() - began:.3f}")
    runs = [
        subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    with_tensorflow = any(run[1] == "True" for run in runs)
    loaded = "with TensorFlow" if with_tensorflow else "without TensorFlow"
    table.add_row(f"import evaluation.planner, {loaded}", f"{min(float(run[0]) for run in runs):.3f}")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1), title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def planner(
    shared: Annotated[Path, typer.Argument(metavar="SHARED", help="Folder with planner_cases and weights.")],
) -> None:
    """Print all tables."""
    cases, weights = shared / "planner_cases", shared / "weights"
    for folder in (cases / "offsets", cases / "networks", weights):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the folder that holds planner_cases and weights")
    console = Console(width=max(Console().width, 120))
    large = deeplab_v3_plus()
    console.print(times(large))
    console.print(ladder(large))
    network = weights / "deeplabv3_mnv2_ade20k_int8.tflite"
    console.print(comparisons("next to TFLM", ade20k(network, tflm_arena(network).head_bytes)))
    patched = cases / "networks" / "coral__tf2_mobilenet_v2_1.0_224_ptq.tflite"
    console.print(comparisons("next to MCUNetV2", mcunet_v2_patches(patched)))
    console.print(comparisons("next to msf-CNN", msf_cnn_curve()))
    network_folder.network_folder(cases / "networks")
    offsets.offsets(cases / "offsets")


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
