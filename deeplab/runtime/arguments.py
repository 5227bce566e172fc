"""The command line of `python -m deeplab.runtime`, checked: whatever cannot be used ends in one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn

from evaluation.errors import UserError
from evaluation.kernels.targets import BUILT_IN
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD

AUTO: Final = "auto"
_OF_PLANNING = ("tiles", "tiling", "max_mac_overhead")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A mistake in the arguments is a user's error like any other: one line."""
        raise UserError(f"{message}; see {self.prog} --help")


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of one call, None or False where not given.

    Raises:
        UserError: unknown, missing or contradictory options, or values out of range.
    """
    parser = _Parser(
        prog="python -m deeplab.runtime",
        description="Write a .tflite network as a C program that runs in one planned block of memory.",
        epilog="Exit status 1: --check found a difference. 2: a file or an argument cannot be used; the message says "
        "why. Times of --bench are of this machine, one thread.",
    )
    parser.add_argument("network", metavar="NETWORK.tflite", help="the network")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write: sources, Makefile, README, plan")
    planning = parser.add_argument_group("planning")
    planning.add_argument(
        "--tiles", metavar="N", type=_tiles, help="upper bound on the tiles of a section, or `auto` (default)"
    )
    planning.add_argument("--target", metavar="T", help=f"{', '.join(BUILT_IN)}, or a YAML file (default: camera)")
    planning.add_argument(
        "--tiling", choices=("cache", "recompute", "mixed"), help="tiles' common rows (default: mixed)"
    )
    planning.add_argument(
        "--max-mac-overhead", type=float, metavar="SHARE",
        help=f"MACs that recomputing may add, as a share of the network's (default: {DEFAULT_MAX_MAC_OVERHEAD})",
    )  # fmt: skip
    planning.add_argument(
        "--plan", metavar="plan.json", help="a plan of this network made before, in place of a new one"
    )
    running = parser.add_argument_group("running (needs a C compiler)")
    running.add_argument(
        "--check", metavar="IMAGES",
        help="an image, an input tensor's bytes (.bin), or a folder of them: compare the program with the interpreter",
    )  # fmt: skip
    running.add_argument(
        "--bench", action="store_true", help="time the program, the untiled one, and LiteRT, turn by turn"
    )
    arguments = parser.parse_args(argv)
    if arguments.plan is not None:
        for name in _OF_PLANNING:
            if getattr(arguments, name) is not None:
                parser.error(f"--plan brings its own --{name.replace('_', '-')}; leave one of them out")
    return arguments


def _tiles(text: str) -> int | str:
    if text == AUTO:
        return text
    if not (text.isascii() and text.isdigit() and int(text[:9]) >= 1 and len(text) < 10):
        raise argparse.ArgumentTypeError(f"expected a tile count of at least 1, or `auto`, got {text!r}")
    return int(text)
