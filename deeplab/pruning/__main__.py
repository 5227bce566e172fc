"""`python -m deeplab.pruning NETWORK --data NAME FOLDER`: accuracy against memory as channels are removed, measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from deeplab.compression import ACTIVATION_BITS
from deeplab.datasets import open_dataset
from deeplab.datasets.part import DatasetPart, spread
from evaluation.accuracy import UNRELIABLE_NOTE, Scores, enough_images, paired_difference_interval
from evaluation.errors import UserError, exits_on_user_error
from evaluation.planner import Plan


def main(
    network: Annotated[Path, typer.Argument(help="A trained network: .npz, .tflite or a file of TensorFlow.")],
    data: Annotated[tuple[str, Path], typer.Option(help="Data set and its folder.")],
    split: Annotated[str, typer.Option(help="Images that are scored.")] = "val",
    every: Annotated[int, typer.Option(min=1, help="Score each n-th of them only.")] = 1,
    train: Annotated[str, typer.Option(help="Images to learn from.")] = "train",
    images: Annotated[
        int,
        typer.Option("--images", "--pictures", min=1, help="Number of those that rank channels, re-fit and calibrate."),
    ] = 48,
    saving: Annotated[
        list[float] | None, typer.Option(min=0, max=0.99, help="Share of memory to save; may be repeated.")
    ] = None,
    allotment: Annotated[Literal["memory", "uniform"], typer.Option(help="Groups that lose channels.")] = "memory",
    criterion: Annotated[Literal["repair", "fisher", "l1"], typer.Option(help="Ranking of channels.")] = "repair",
    tiles: Annotated[int, typer.Option(min=1, help="Tiles of the plan.")] = 1,
    bits: Annotated[int, typer.Option(help="Bits of plan and scores: 4, 6, 8, 16, or 32 = float.")] = 8,
    steps: Annotated[int, typer.Option(min=0, help="Steps of fine-tuning after pruning, on all of `train`.")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="Its learning rate.")] = 1e-4,
    batch: Annotated[int, typer.Option(min=1, help="Its images a step.")] = 8,
    crop: Annotated[int, typer.Option(min=0, help="Side of its square windows; 0: whole images.")] = 256,
    loss: Annotated[
        Literal["distill", "labels"], typer.Option(help="Whom it follows: the whole network, or the labels.")
    ] = "distill",
) -> None:
    """Remove channels until a share of the peak memory is saved; print the loss of accuracy."""
    if bits not in ACTIVATION_BITS:
        raise UserError(f"--bits must be one of {', '.join(map(str, ACTIVATION_BITS))}, got {bits}")
    if criterion == "l1" and allotment == "memory":
        raise UserError("--criterion l1 compares channels of one group only; choose another, or --allotment uniform")
    begun = time.monotonic()
    # Here, since they bring in TensorFlow.
    from deeplab.image_windows import TrainingBatches, frames
    from deeplab.importing import load_network
    from deeplab.network import input_size
    from deeplab.optimizer_step import FineTuning
    from deeplab.pruning.curve import Setting, curve
    from deeplab.scoring import score

    baseline = load_network(network)
    size = input_size(baseline)
    dataset = open_dataset(*data)
    learned, shown = dataset.split(train), dataset.split(split)
    scored = DatasetPart(shown, range(0, len(shown), every))
    points = curve(
        baseline,
        tuple(saving or (0.15, 0.33, 0.45, 0.6)),
        Setting(allotment, criterion, bits, tiles),
        frames(spread(learned, images), *size),
        lambda candidate: score(candidate, dataset, scored),
        FineTuning(steps, rate, loss),
        TrainingBatches(learned, *size, batch=batch, crop=crop or None, labelled=loss == "labels", seed=0),
    )
    print(f"{network.name}: {allotment}, {criterion}, {bits} bits, {tiles} tiles; {split}, {len(scored)} images")
    print(_line("asked", "MB", "saved", "arena", "weights", "mIoU", "change", "tuned", "change", "95 % interval", "s"))
    whole = next(points)
    print(_line("-", *_memory(whole.plan, whole.plan), f"{whole.pruned.miou:.4f}", *[""] * 4, _since(begun)))
    for point in points:  # printed as they come: one may take an hour
        tuned = ("", "") if point.tuned is None else _accuracy(point.tuned, whole.pruned)
        change = paired_difference_interval(point.tuned or point.pruned, whole.pruned)
        interval = f"{change.lower:+.3f} to {change.upper:+.3f}{change.mark}"
        memory, pruned = _memory(point.plan, whole.plan), _accuracy(point.pruned, whole.pruned)
        print(_line(f"{point.saving:.2f}", *memory, *pruned, *tuned, interval, _since(begun)), flush=True)
    if not enough_images(len(scored)):
        print(UNRELIABLE_NOTE)


def _line(*cells: str) -> str:
    widths = (5, 8, 8, 8, 8, 8, 9, 8, 9, 18, 7)
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _since(begun: float) -> str:
    return f"{time.monotonic() - begun:.0f}"


def _memory(plan: Plan, whole: Plan) -> tuple[str, ...]:
    """Peak in MB, share saved, arena and weights in MB."""
    share = 1 - plan.peak_memory_bytes / whole.peak_memory_bytes
    peak, arena, weights = (
        f"{size / 1e6:.3f}" for size in (plan.peak_memory_bytes, plan.arena_bytes, plan.weights_bytes)
    )
    return peak, f"{100 * share:.1f} %", arena, weights


def _accuracy(scores: Scores, whole: Scores) -> tuple[str, str]:
    return f"{scores.miou:.4f}", f"{scores.miou - whole.miou:+.4f}"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)
command = exits_on_user_error(app)

if __name__ == "__main__":
    command()
