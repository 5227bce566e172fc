"""`python -m deeplab.pruning NETWORK --data NAME FOLDER`: accuracy against memory as channels go, measured."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from deeplab.datasets import Dataset, open_dataset
from evaluation.accuracy import Scores, paired_difference_interval, score_pictures
from evaluation.errors import exits_on_user_error

_PIXELS_PER_PICTURE = 256
_BATCH, _CROP = 8, 256


def main(
    network: Annotated[Path, typer.Argument(help="A trained network: .npz, .tflite or a file of TensorFlow.")],
    data: Annotated[tuple[str, Path], typer.Option(help="Data set and its folder.")],
    split: Annotated[str, typer.Option(help="Pictures that are scored.")] = "val",
    every: Annotated[int, typer.Option(min=1, help="Score each n-th of them only.")] = 1,
    train: Annotated[str, typer.Option(help="Pictures to learn from; their labels are not looked at.")] = "train",
    pictures: Annotated[int, typer.Option(min=1, help="How many of those, from the first on.")] = 48,
    saving: Annotated[list[float] | None, typer.Option(min=0, max=0.99, help="Share of memory that goes.")] = None,
    allotment: Annotated[Literal["memory", "uniform"], typer.Option(help="Which groups give.")] = "memory",
    criterion: Annotated[Literal["repair", "fisher", "l1"], typer.Option(help="Which channels go.")] = "repair",
    tiles: Annotated[int, typer.Option(min=1, help="Tiles of the plan.")] = 1,
    bits: Annotated[int, typer.Option(help="Bits of plan and scores: 4, 6, 8, 16, or 32 = float.")] = 8,
    steps: Annotated[int, typer.Option(min=0, help="Steps of distillation after pruning.")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="Its learning rate.")] = 3e-4,
) -> None:
    """Remove channels until a share of the peak memory is gone; print what that costs."""
    begun = time.monotonic()
    # Here, since they bring in TensorFlow.
    from deeplab.descent import FineTuning
    from deeplab.importing import load_network
    from deeplab.pruning import curve
    from deeplab.pruning.ranking import rank_channels
    from deeplab.simulation import simulator
    from deeplab.windows import TrainingBatches, frames

    baseline = load_network(network)
    dataset = open_dataset(*data)
    size = baseline.spec.input_height, baseline.spec.input_width
    learned = dataset.split(train).take(pictures)
    seen = frames(learned, *size)
    inputs = simulator(baseline.spec).sample_inputs(baseline, seen, _PIXELS_PER_PICTURE)
    rankings = rank_channels(baseline, criterion, seen, inputs)
    planned = curve.reference_plans(bits, tiles)

    def score(candidate) -> Scores:
        return _score(candidate, dataset, split, every)

    whole = score(curve.at_bits(baseline, bits, seen))
    reference = planned(baseline.spec)[1]
    scored = f"{split}, {len(whole.image_ids)} pictures"
    title = f"{network.name}: {allotment}, {criterion}, {bits} bits, {tiles} tiles; {scored}"
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("asked", "MB", "saved", "arena", "weights", "mIoU", "change", "tuned", "change", "95 % interval",
                  title=title, title_justify="left", box=None)  # fmt: skip
    table.add_row("-", *_memory(reference, reference), f"{whole.miou:.4f}", "", "", "", "")
    savings = tuple(saving or (0.15, 0.33, 0.45, 0.6))
    keeps = curve.channels_left(baseline.spec, rankings, planned, savings, bits, allotment == "uniform")
    tuning = FineTuning(steps, rate, "distill")
    batches = TrainingBatches(learned, *size, batch=_BATCH, crop=_CROP, labelled=False, seed=0)
    for asked, keep in zip(savings, keeps, strict=True):
        point = curve.measure(baseline, keep, asked, planned, bits, seen, inputs, score, tuning, batches)
        tuned = ("", "") if point.tuned is None else _accuracy(point.tuned, whole)
        change = paired_difference_interval(point.tuned or point.pruned, whole)
        interval = f"{change.lower:+.3f} to {change.upper:+.3f}"
        memory = _memory(point.plan, reference)
        table.add_row(f"{asked:.2f}", *memory, *_accuracy(point.pruned, whole), *tuned, interval)
    console.print(table)
    console.print(f"{time.monotonic() - begun:.0f} s", highlight=False)


def _memory(plan, reference) -> tuple[str, ...]:
    share = 1 - plan.peak_memory_bytes / reference.peak_memory_bytes
    megabytes = (f"{size / 1e6:.3f}" for size in (plan.peak_memory_bytes, plan.arena_bytes, plan.weights_bytes))
    peak, arena, weights = megabytes
    return peak, f"{100 * share:.1f} %", arena, weights


def _accuracy(scores: Scores, whole: Scores) -> tuple[str, str]:
    return f"{scores.miou:.4f}", f"{scores.miou - whole.miou:+.4f}"


def _score(network, dataset: Dataset, split: str, every: int) -> Scores:
    from deeplab.simulation import simulator

    runner, pictures = simulator(network.spec), dataset.split(split)
    samples = (pictures.sample(index) for index in range(0, len(pictures), every))
    return score_pictures(
        lambda frames: runner.labels(network, frames),
        ((sample.image_id, sample.image, sample.label) for sample in samples),
        len(dataset.class_names),
        dataset.void,
        input_size=(network.spec.input_height, network.spec.input_width),
        batch_size=runner.batch_size,
    )


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(exits_on_user_error(main))
    command()
