"""`python -m deeplab.train CONFIG.yaml`: train or fine-tune a network; see `deeplab/training/streets.yaml`."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from deeplab.network import parameters
from deeplab.training.config import read_config
from evaluation.errors import exits_on_user_error

if TYPE_CHECKING:
    from deeplab.training.loop import TrainingProgress


def main(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Network, data and schedule.")],
    resume: Annotated[bool, typer.Option("--resume", help="Resume the training begun in the output folder.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder to write to, instead of the configuration's.")] = None,
) -> None:
    """Train a DeepLab network and keep the checkpoint with the best validation mIoU (best.npz)."""
    config = read_config(config_path)
    if output is not None:
        config = config.model_copy(update={"output": output})
    from deeplab.training.loop import train  # brings in TensorFlow: a wrong configuration is reported before that

    command = shlex.join(["python", "-m", "deeplab.train", *sys.argv[1:]])
    console = Console(width=None if sys.stdout.isatty() else 120)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    clocks = (TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Bar(*columns, *clocks, console=console, disable=not console.is_terminal) as bar:
        try:
            best = train(config, resume=resume, command=command, show=_display(bar, console))
        except KeyboardInterrupt:
            bar.stop()
            console.print(f"stopped; go on with: {command}{'' if resume else ' --resume'}")
            raise typer.Exit(130) from None
    scores = ", ".join(f"{split} {miou:.4f}" for split, miou in best.notes["miou"].items())
    console.print(f"{os.path.join(config.output, 'best.npz')}: {parameters(best.network):,} parameters, mIoU {scores}")


def _display(bar: Bar, console: Console) -> Callable[[TrainingProgress], None]:
    task = bar.add_task("", total=None)

    def show(progress: TrainingProgress) -> None:
        best = "-" if math.isnan(progress.best_miou) else f"{progress.best_miou:.4f}"
        text = f"loss {progress.loss:.3f}, {progress.images_per_s:.0f} img/s, best mIoU {best}"
        bar.update(task, completed=progress.step, total=progress.steps, description=text)
        if progress.validated_miou is not None or (progress.step % 100 == 0 and not console.is_terminal):
            now = f", mIoU {progress.validated_miou:.4f}" if progress.validated_miou is not None else ""
            console.print(f"step {progress.step} of {progress.steps}: {text}{now}", highlight=False)

    return show


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)
command = exits_on_user_error(app)

if __name__ == "__main__":
    command()
