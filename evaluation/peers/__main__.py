"""`python -m evaluation.peers NETWORK.tflite ...`: what LiteRT and TFLM allocate for each file."""

from __future__ import annotations

import argparse
import json
import sys

from evaluation.errors import USER_ERROR_STATUS, UserError, exits_on_user_error
from evaluation.peers import litert_arena, tflm_arena


@exits_on_user_error
def main(arguments: list[str] | None = None) -> None:
    """Print one table, or JSON; a peer that cannot take a file is named, and the exit status is 2 if none could."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.peers", description=__doc__)
    parser.add_argument("networks", nargs="+", metavar="NETWORK.tflite")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args(arguments)
    rows = [_measure(network) for network in options.networks]
    if options.json:
        print(json.dumps({"networks": rows}))
    else:
        print(f"{'LiteRT arena':>14} {'TFLM head':>14} {'TFLM tail':>12}  network (bytes)")
        for row in rows:
            cells = [row["litert_arena_bytes"], row["tflm_head_bytes"], row["tflm_tail_bytes"]]
            shown = [f"{cell:,}" if cell is not None else "-" for cell in cells]
            print(f"{shown[0]:>14} {shown[1]:>14} {shown[2]:>12}  {row['network']}")
    for row in rows:
        for problem in row["problems"]:
            print(f"error: {problem}", file=sys.stderr)
    if all(row["litert_arena_bytes"] is None and row["tflm_head_bytes"] is None for row in rows):
        sys.exit(USER_ERROR_STATUS)


def _measure(network: str) -> dict[str, object]:
    row: dict[str, object] = {"network": network, "litert_arena_bytes": None}
    row |= {"tflm_head_bytes": None, "tflm_tail_bytes": None}
    problems: list[str] = []
    try:
        row["litert_arena_bytes"] = litert_arena(network)
    except UserError as error:
        problems.append(str(error))
    try:
        tflm = tflm_arena(network)
        row |= {"tflm_head_bytes": tflm.head_bytes, "tflm_tail_bytes": tflm.tail_bytes}
    except UserError as error:
        problems.append(str(error))
    return row | {"problems": list(dict.fromkeys(problems))}


if __name__ == "__main__":
    main()
