"""`petitlab COMMAND`: every command of the project under one name.

Each is also a module that `python -m` runs. The console script works in any folder, whatever the folder holds.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

import typer

from petitlab.namesakes import claim

PROGRAM = "petitlab"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@dataclass(frozen=True)
class Command:
    """A command and the module that has it as `main`."""

    module: str
    help: str
    entry: str = "main"
    """Function of the module that reads `sys.argv` and runs."""


COMMANDS = {
    "example": Command("sweeps.cli.example", "The YAML file of the default study, to begin with."),
    "launch": Command("sweeps.launch", "Search the compression settings of a YAML file; write study and report."),
    "status": Command("sweeps.cli.status", "How far a study is."),
    "export": Command("sweeps.export", "A point of a study's front as C, .tflite and model card."),
    "report": Command("reports.__main__", "Write a study's report anew."),
    "compare": Command("reports.compare", "The fronts of several studies on one axis."),
    "plan": Command("evaluation.planner.__main__", "The memory a .tflite network needs, tiled and untiled."),
    "runtime": Command("deeplab.runtime.__main__", "A .tflite network as a C program, checked and timed."),
    "other-runtimes": Command(
        "evaluation.other_runtimes.__main__", "The memory LiteRT and TFLM use for a .tflite network."
    ),
    "train": Command("deeplab.train", "Train or fine-tune a network.", "command"),
    "prune": Command("deeplab.pruning.__main__", "Remove a network's channels, and what that costs.", "command"),
    "sensitivity": Command("sweeps.cli.sensitivity", "What each layer loses at fewer bits."),
    "cache": Command("sweeps.cli.cache", "Look at or empty the stage cache."),
    "keys": Command("sweeps.cli.list_keys", "Every key of a sweep's YAML file."),
}


def run(program: str, name: str, arguments: list[str]) -> None:
    """Call a command as `python -m` would, with its own arguments.

    Args:
        program: as the user called it, for its help and messages: "petitlab" or "python -m petitlab".
    """
    sys.argv = [f"{program} {name}", *arguments]
    command = COMMANDS[name]
    getattr(importlib.import_module(command.module), command.entry)()


def _handed_on(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        run(context.find_root().info_name or PROGRAM, name, context.args)

    return command


for _name, _command in COMMANDS.items():
    app.command(
        _name,
        help=_command.help,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_handed_on(_name))


def main(program: str = PROGRAM) -> None:
    """The console script.

    Args:
        program: as the user called it.
    """
    claim()
    from evaluation.errors import exits_on_user_error  # ours, once that is done

    exits_on_user_error(app)(prog_name=program)
