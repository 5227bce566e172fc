"""`python -m evaluation.planner NETWORK.tflite`: what memory a network needs, tiled and untiled."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from evaluation.errors import UserError, exits_on_user_error
from evaluation.graph import Graph, read_tflite
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD, plan
from evaluation.planner.targets import BUILT_IN, load_target
from evaluation.planner.text import show_peers, show_plans
from evaluation.planner.types import Plan


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.planner",
        description="Plan the peak memory of a .tflite network: one arena for frame, activations, scratch and labels.",
        epilog="MB is 10^6 bytes. Exit status 2: the network or an argument cannot be used; the message says why.",
    )
    parser.add_argument("network", help="a .tflite file")
    parser.add_argument(
        "--tiles", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N", help="upper bounds on the tiles of a section"
    )
    parser.add_argument("--target", default="camera", help=f"{', '.join(BUILT_IN)}, or a YAML file (default: camera)")
    parser.add_argument(
        "--max-mac-overhead",
        type=float,
        default=DEFAULT_MAX_MAC_OVERHEAD,
        metavar="SHARE",
        help="MACs that recomputed rows may add, as a share of the network's (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help='print {"plans": [...]}, figures only')
    parser.add_argument("--peers", action="store_true", help="beside it, what LiteRT and TFLM allocate for this file")
    return parser.parse_args(argv)


@exits_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Print one row a tile count, then what fills the arena at its peak."""
    arguments = _arguments(argv)
    graph = read_tflite(arguments.network)
    target = load_target(arguments.target)
    plans = [
        plan(graph, tiles, target, max_mac_overhead=arguments.max_mac_overhead)
        for tiles in sorted(set(arguments.tiles))
    ]
    peers = _peers(arguments.network, graph) if arguments.peers else None
    if arguments.json:
        document: dict = {"plans": [summary(made) for made in plans]}
        if peers is not None:
            document["peers"] = peers
        print(json.dumps(document, indent=1))
        return
    show_plans(graph, plans)
    if peers is not None:
        show_peers(peers)


def summary(made: Plan) -> dict:
    """The plan's figures without its steps and buffers."""
    figures = made.to_dict()
    for name in ("steps", "buffers", "live_bytes", "high_water_buffers"):
        del figures[name]
    sections = [{"first": s.operators[0], "last": s.operators[-1], "tiles": s.tiles} for s in made.sections]
    return figures | {"sections": sections, "steps": len(made.steps), "buffers": len(made.buffers)}


def _peers(path: str, graph: Graph) -> dict[str, int | str]:
    """Untiled arenas by each peer's own accounting, in bytes; a line that says why where one could not be had."""
    from evaluation import peers  # loads interpreters, only wanted here

    figures: dict[str, int | str] = {}
    tflm_rules = plan(graph, 1, load_target("tflm"))
    figures["ours_tflm_accounting_bytes"] = tflm_rules.arena_bytes
    measures = {
        "tflm_arena_bytes": lambda: peers.tflm_arena(path).head_bytes,
        "litert_arena_bytes": lambda: peers.litert_arena(path),
    }
    for name, measure in measures.items():
        try:
            figures[name] = measure()
        except UserError as error:
            figures[name] = str(error)
    return figures


if __name__ == "__main__":
    main()
