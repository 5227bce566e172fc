"""What compression costs real networks: `python -m benchmarks.compression ROW ../shared` measures and prints one row.

Each row is a network, a setting and images that are scored; what calibrates and teaches are others, without labels.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deeplab.datasets import Split, open_dataset
from deeplab.datasets.interface import nearest
from deeplab.datasets.joined import Joined
from deeplab.datasets.part import spread
from deeplab.network import input_size
from deeplab.quantization import BitWidths, Clipping
from deeplab.sparsity import WeightSparsity
from evaluation.accuracy import UNRELIABLE_NOTE, Scores, enough_images, paired_difference_interval, to_network_size
from evaluation.errors import UserError, exits_on_user_error
from evaluation.graph import Graph
from evaluation.kernels.weights import layer_storage

Unlabelled = tuple[str, str, str, int]
"""(data set, folder, split, images), evenly spaced ones."""


@dataclass(frozen=True)
class Bench:
    """A network and its images."""

    network: str
    data: tuple[str, str, dict]
    """Name, folder and options of the data set that is scored."""
    split: str
    unlabelled: tuple[Unlabelled, ...]
    """Calibrate, rank and teach; none of them is scored."""
    rounding: tuple[Unlabelled, ...] = ()
    """Images of AdaRound and QAT; `unlabelled` if left out. A rounding fits the images it is learned on far better than
    others, the more so the fewer they are: even other kinds of images help. None is scored."""
    batch: int = 4
    """Images of a step through the rounding."""


@dataclass(frozen=True)
class Row:
    """One setting on one bench."""

    bench: Bench
    bits: BitWidths
    adaround: bool = False
    aware_steps: int = 0
    equalize: bool = True
    clipping: Clipping | None = None
    saving: float = 0.0
    """Share of the untiled plan's memory that goes with channels, before anything else."""
    sparsity: WeightSparsity | None = None
    """Single weights that go, before anything is quantized."""
    tuning_steps: int = 0
    """Of distillation after both."""
    tuning_rate: float = 1e-4
    crop: int | None = None
    """Side of the square windows that float networks are trained on, whole images if None. Training through a
    rounding sees whole ones."""


_ADE20K = Bench(
    "deeplabv3_mnv2_ade20k_int8.tflite",
    ("ade20k", "ade20k_subset", {"classes": 32}),
    "heldout",
    (("voc", "voc2012_subset", "all", 32), ("camvid", "camvid", "train", 16)),
    rounding=(("voc", "voc2012_subset", "all", 100), ("camvid", "camvid", "train", 16)),
    batch=2,
)
_VOC = Bench(
    "deeplabv3_257_mv_gpu.tflite",
    ("voc", "voc2012_subset", {}),
    "val",
    (("voc", "voc2012_subset", "train", 46),),
    rounding=(
        ("voc", "voc2012_subset", "train", 46),
        ("ade20k", "ade20k_subset", "all", 100),
        ("camvid", "camvid", "train", 16),
    ),
)
_CAMVID = Bench(
    "deeplabv3plus_mnv2_camvid_float.tflite", ("camvid", "camvid", {}), "test", (("camvid", "camvid", "train", 367),)
)
_W8 = BitWidths(8, 8)
_W4, _W3, _W2 = (BitWidths(bits, 8, edge_weights=8, depthwise_weights=8) for bits in (4, 3, 2))
_W32 = replace(_W3, aspp_weights=2)
_WIDE = Clipping("percentile", 99.99)
"""With 8-bit weights it is the activations' clipping that costs most, and equalised channels span more. Chosen on VOC's
training images, by the KL divergence from the float network."""
_AWARE_STEPS = 300
ROWS = (
    {
        f"{name}-{setting}": row
        for name, bench in (("ade20k", _ADE20K), ("voc", _VOC), ("camvid", _CAMVID))
        for setting, row in {
            "w8a8": Row(bench, _W8, equalize=False, clipping=_WIDE),
            "w4a8": Row(bench, _W4, adaround=True),
            "w4a8-aware": Row(bench, _W4, adaround=True, aware_steps=_AWARE_STEPS),
            "w3a8": Row(bench, _W3, adaround=True, aware_steps=_AWARE_STEPS),
            "mixed": Row(bench, _W32, adaround=True, aware_steps=_AWARE_STEPS),
            "w2a8": Row(bench, _W2, adaround=True, aware_steps=_AWARE_STEPS),
            "w8a4": Row(bench, BitWidths(8, 4), aware_steps=_AWARE_STEPS),
        }.items()
    }
    | {
        f"camvid-{name}": Row(_CAMVID, _W8, sparsity=sparsity, tuning_steps=steps, tuning_rate=rate, crop=256)
        for name, sparsity, steps, rate in (
            ("magnitude50", WeightSparsity(0.5), 120, 1e-4),
            ("magnitude70", WeightSparsity(0.715), 400, 1e-4),  # of the 1x1 convolutions: 70 % of all weights
            ("magnitude90", WeightSparsity(0.9), 700, 1.5e-3),
            ("2:4", WeightSparsity(0.5, "2:4"), 120, 1e-4),
        )
    }
    | {
        "camvid-combined": Row(_CAMVID, _W8, saving=0.33, tuning_steps=150, crop=256),
        "camvid-smallest": Row(_CAMVID, _W8, saving=0.33, sparsity=WeightSparsity(0.7), tuning_steps=300, crop=256),
    }
)
"""All rows by name: the network; bits of weights and activations (`mixed`: 3, and 2 in the ASPP), `aware` where it is
trained through its rounding; or the share of weights that is pruned, at 8 bits; or channels and weights."""

_CALIBRATION_IMAGES, _RANKING_IMAGES = 48, 24
_LEARNING_RATE = 1e-2
_TUNING_BATCH = 8
ROUNDING_STEPS, ROUNDING_WINDOWS = 500, 128
"""A layer, and an image."""


def measure(row: Row, shared: Path) -> tuple[Scores, list[Scores], Graph]:
    """Scores of the float network and of each compressed one on the row's images, and the last of these."""
    from deeplab.importing import load_network
    from deeplab.scoring import score

    baseline = load_network(shared / "weights" / row.bench.network)
    name, folder, options = row.bench.data
    dataset = open_dataset(name, shared / "data" / folder, **options)
    scored = dataset.split(row.bench.split)
    rounding = joined(row.bench.rounding, shared) if row.bench.rounding else None
    compressed = compress(row, baseline, joined(row.bench.unlabelled, shared), rounding)
    return score(baseline, dataset, scored), [score(network, dataset, scored) for network in compressed], compressed[-1]


def stored_bits(graph: Graph) -> float:
    """Bits a weight as the C program stores them: kernels of all convolutions, the sparse formats' tables included."""
    convolutions = [index for index, operator in enumerate(graph.operators) if "CONV_2D" in operator.kind]
    weights = sum(graph.tensors[graph.operators[index].inputs[1]].elements for index in convolutions)
    return 8 * sum(layer_storage(graph, index).kernel_bytes for index in convolutions) / weights


def joined(parts: Sequence[Unlabelled], shared: Path) -> Split:
    """Images of a bench as one split."""
    return Joined(
        *(spread(open_dataset(name, shared / "data" / folder).split(split), count)
          for name, folder, split, count in parts)
    )  # fmt: skip


def compress(row: Row, baseline: Graph, images: Split, rounding: Split | None = None) -> tuple[Graph, ...]:
    """Prune channels and weights, equalise, calibrate, quantize, learn the rounding, train through it: what is asked.

    Where it is trained through its rounding, the network before that comes first.

    Args:
        row: says what.
        baseline: the float network.
        images: calibrate, rank and teach what is pruned.
        rounding: images of AdaRound and QAT; `images` if None.
    """
    from deeplab.calibration import calibrate
    from deeplab.finetuning import FineTuning, fine_tune
    from deeplab.image_windows import TrainingBatches, frames
    from deeplab.quantization import quantize
    from deeplab.quantization.adaround import AdaRoundOptions
    from deeplab.quantization.equalisation import equalize
    from deeplab.quantization.reconstruction import AdaRound, reconstruct

    def batches(split: Split, batch: int, crop: int | None) -> TrainingBatches:
        return TrainingBatches(split, *size, batch=batch, crop=crop, labelled=False, seed=0)

    size = input_size(baseline)
    seen = frames(spread(images, _CALIBRATION_IMAGES), *size)
    network, ranking = baseline, frames(spread(images, _RANKING_IMAGES), *size)
    if row.saving:
        from deeplab.pruning.curve import Setting, narrower

        (network,) = narrower(baseline, (row.saving,), Setting("memory", "repair", row.bits.weights, 1), ranking)
    tuning = FineTuning(row.tuning_steps, row.tuning_rate, "distill")
    if row.sparsity:
        from deeplab.inference import sample_inputs
        from deeplab.pruning.importance import output_fisher
        from deeplab.pruning.optimal_brain_surgeon import prune_weights
        from deeplab.pruning.refit import PIXELS_PER_IMAGE

        inputs = sample_inputs(network, ranking, PIXELS_PER_IMAGE)
        network = prune_weights(network, row.sparsity, ranking, inputs, output_fisher(network, ranking))
    held = row.sparsity is not None
    network = fine_tune(network, batches(images, _TUNING_BATCH, row.crop), tuning, teacher=baseline, hold_zeros=held)
    if row.equalize:
        network = equalize(network, calibrate(network, seen))
    quantized = quantize(network, calibrate(network, seen), row.bits, row.clipping)
    if row.adaround:
        learned = AdaRound(AdaRoundOptions(ROUNDING_STEPS), ROUNDING_WINDOWS)
        quantized = reconstruct(network, quantized, seen if rounding is None else frames(rounding, *size), learned)
    if row.aware_steps:
        from deeplab.quantization_aware import QatOptions, train_qat

        training = QatOptions(row.aware_steps, _LEARNING_RATE, "distill")
        learned_on = batches(images if rounding is None else rounding, row.bench.batch, None)
        return quantized, train_qat(network, quantized, learned_on, training, teacher=baseline)
    return (quantized,)


def main(
    row: Annotated[str, typer.Argument(help=f"One of {', '.join(ROWS)}.")],
    shared: Annotated[Path, typer.Argument(help="Folder with weights/ and data/.")],
    memory: Annotated[
        bool, typer.Option("--memory", help="Also compile and run it, and measure its process next to LiteRT's.")
    ] = False,
) -> None:
    """Measure one row: float mIoU, compressed mIoU, the change with its paired 95 % interval, stored bits a weight."""
    if row not in ROWS:
        raise UserError(f"there is no row '{row}'{nearest(row, tuple(ROWS))}")
    begun = time.monotonic()
    exact, given, network = measure(ROWS[row], shared)
    table = Table(
        "row", "images", "float mIoU", "mIoU", "change", "95 % interval", "bits a weight", "seconds", box=None
    )
    for number, scored in enumerate(given, start=1):
        change = paired_difference_interval(scored, exact)
        cells = (
            row if number == len(given) else "before training",
            len(exact.image_ids),
            f"{exact.miou:.4f}",
            f"{scored.miou:.4f}",
            f"{scored.miou - exact.miou:+.4f}",
            f"{change.lower:+.4f} to {change.upper:+.4f}{change.mark}",
        )
        last = (f"{stored_bits(network):.1f}", f"{time.monotonic() - begun:.0f}") if number == len(given) else ()
        table.add_row(*map(str, cells), *last)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if not enough_images(len(exact.image_ids)):
        print(UNRELIABLE_NOTE)
    if memory:
        print(_memory(ROWS[row], network, shared))


def _memory(row: Row, network: Graph, shared: Path) -> str:
    """What the whole process of the C program takes, and what LiteRT adds to a process for the float network."""
    from benchmarks.c_program.__main__ import footprint
    from benchmarks.c_program.networks import Subject
    from deeplab.runtime.processes import Launcher
    from evaluation.other_runtimes.resident import Runtime, resident_growth

    frame = to_network_size(joined(row.bench.unlabelled, shared).image(0), *input_size(network))
    file = shared / "weights" / row.bench.network
    with tempfile.TemporaryDirectory() as folder:
        ours = footprint(Subject("this row", network, frame, file), Path(folder), Launcher(Path(folder)))
    parts = ours.plan.arena_bytes, ours.weights_bytes, ours.tables_bytes, ours.rest_bytes
    arena, weights, tables, rest = (f"{size / 1e6:.3f}" for size in parts)
    whole = ours.process.total_bytes
    lines = [f"C program: {whole / 1e6:.3f} MB, the whole process: arena {arena}, weights {weights}, tables {tables}, "
             f"libc, code and stack {rest}"]  # fmt: skip
    for runtime in (Runtime.LITERT_XNNPACK, Runtime.LITERT_BUILTIN):
        grown = resident_growth(file, runtime).peak_bytes
        lines.append(f"{runtime.label}, the float network: adds {grown / 1e6:.1f} MB, {grown / whole:.1f} times that")
    return "\n".join(lines)


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    exits_on_user_error(command)()
