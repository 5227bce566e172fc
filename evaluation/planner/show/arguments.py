"""The command line of `python -m evaluation.planner`, checked: whatever cannot be used ends in one line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Literal, NoReturn

from evaluation.errors import UserError
from evaluation.kernels.targets import BUILT_IN
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD

AUTO: Literal["auto"] = "auto"
DEFAULT_TIMEOUT_S = 30.0
_DIGITS = re.compile(r"[+-]?[0-9]{1,30}")
_LONGEST_SHOWN = 40


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A mistake in the arguments is a user's error like any other: one line."""
        raise UserError(f"{message}; see {self.prog} --help")


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of one call, None or False where not given; a network to plan, or a file to `--solve`.

    Raises:
        UserError: unknown, missing or contradictory options, or values out of range.
    """
    parser = _Parser(
        prog="python -m evaluation.planner",
        description="Plan the memory of a .tflite network: one arena for frame, activations, scratch and labels. "
        "Or place the buffers of a CSV file in a given capacity (--solve).",
        epilog="MB is 10^6 bytes. Exit status 2: a file or an argument cannot be used; the message says why. "
        "With --solve, 0: solved, 1: not solved.",
    )
    parser.add_argument("network", nargs="?", metavar="NETWORK.tflite", help="the network to plan")
    planning = parser.add_argument_group("planning")
    planning.add_argument(
        "--tiles", nargs="+", metavar="N", type=_tiles,
        help="upper bounds on the tiles of a section, and `auto`: the planner picks (default: 1 4 16 auto)",
    )  # fmt: skip
    planning.add_argument(
        "--tiling", choices=("cache", "recompute", "mixed"), help="tiles' common rows (default: mixed)"
    )
    planning.add_argument("--activation-bits", type=_whole, metavar="B", help="bits of an activation element instead")
    planning.add_argument("--weight-bits", type=_whole, metavar="B", help="bits of a kernel value instead")
    planning.add_argument("--target", metavar="T", help=f"{', '.join(BUILT_IN)}, or a YAML file (default: camera)")
    planning.add_argument(
        "--max-mac-overhead", type=float, metavar="SHARE",
        help=f"MACs that recomputing may add, as a share of the network's (default: {DEFAULT_MAX_MAC_OVERHEAD})",
    )  # fmt: skip
    results = parser.add_argument_group("results")
    results.add_argument("--json", action="store_true", help='print {"plans": [...]}, figures only')
    results.add_argument("--plot", metavar="plan.svg", help="draw the last plan asked for (.svg, .pdf, .png)")
    results.add_argument("--buffers", metavar="out.csv", help="the last plan's buffers and offsets, MiniMalloc's CSV")
    results.add_argument("--tflm", metavar="out.tflite", help="a copy of the network with an offline plan for TFLM")
    results.add_argument(
        "--other-runtimes", "--peers", action="store_true", help="what LiteRT and TFLM use for this file, next to it"
    )
    solving = parser.add_argument_group("placing buffers")
    solving.add_argument("--solve", metavar="buffers.csv", help="place these buffers (id, lower, upper, size)")
    solving.add_argument("--capacity", type=_whole, metavar="BYTES", help="what they must fit in")
    solving.add_argument("--timeout", type=float, metavar="S", help="seconds at most (default: 30)")
    solving.add_argument("--out", metavar="solution.csv", help="the buffers with an offset column")
    arguments = parser.parse_args(argv)
    _check_mode(parser, arguments)
    return arguments


def _tiles(text: str) -> int | str:
    if text == AUTO:
        return text
    count = _whole(text) if _DIGITS.fullmatch(text) else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected a tile count of at least 1, or `auto`, got {_shown(text)}")
    return count


def _whole(text: str) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"expected a whole number of at most 30 digits, got {_shown(text)}")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")


_NETWORK_OPTIONS = (
    "tiles", "tiling", "activation_bits", "weight_bits", "target", "max_mac_overhead", "json", "plot", "buffers",
    "tflm", "other_runtimes",
)  # fmt: skip
_SOLVE_OPTIONS = ("capacity", "timeout", "out")


def _check_mode(parser: _Parser, arguments: argparse.Namespace) -> None:
    """A network to plan, or buffers to place: exactly one, each with its own options."""
    if arguments.network is not None and arguments.solve is not None:
        parser.error("give a NETWORK.tflite to plan or --solve buffers.csv, not both")
    if arguments.network is None and arguments.solve is None:
        parser.error("give a NETWORK.tflite to plan, or --solve buffers.csv")
    foreign, mode = (_NETWORK_OPTIONS, "a network") if arguments.solve is not None else (_SOLVE_OPTIONS, "--solve")
    for name in foreign:
        if getattr(arguments, name) not in (None, False):
            parser.error(f"--{name.replace('_', '-')} needs {mode}")
    if arguments.solve is not None:
        _check_solve(parser, arguments)
    elif arguments.tflm is not None and (arguments.activation_bits, arguments.weight_bits) != (None, None):
        parser.error("--tflm copies the network with the bits it has; leave --activation-bits and --weight-bits out")


def _check_solve(parser: _Parser, arguments: argparse.Namespace) -> None:
    if arguments.capacity is None:
        parser.error("--solve needs --capacity, the bytes that the buffers must fit in")
    if arguments.capacity < 1:
        parser.error(f"--capacity must be at least 1 byte, got {arguments.capacity}")
    if arguments.capacity >= 1 << 63:
        parser.error(f"--capacity must be below 2^63 bytes, got {arguments.capacity}")
    if arguments.timeout is not None and not 0 < arguments.timeout < float("inf"):
        parser.error(f"--timeout must be a positive number of seconds, got {arguments.timeout:g}")
