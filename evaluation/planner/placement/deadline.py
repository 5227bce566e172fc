"""`place` under a time limit that holds whatever it is doing: in a process of its own that is ended on time.

Loading numba takes a second, compiling the exact search ten where no compiled code is cached, and neither can be
interrupted from within. The child sends each better placement as it finds it; the parent keeps the last.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from evaluation.planner.placement.blocks import Block, Placement, load_bytes
from evaluation.planner.placement.place import place

_GRACE_S = 0.2
"""The child stops by itself at the limit; a child that cannot stop is ended this much later."""
_LONGEST_WAIT_S = 3600.0


def place_within(blocks: list[Block], timeout_s: float, capacity_bytes: int | None = None) -> Placement:
    """The best that `place` finds in `timeout_s`, which is kept to a fraction of a second.

    There is a placement however little the time, if need be all blocks one above the other.
    """
    began = time.monotonic()
    # A fork needs no second start of Python; elsewhere it is not safe.
    context = multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_search, args=(sender, blocks, timeout_s, capacity_bytes), daemon=True)
    child.start()
    sender.close()
    best = _stacked(blocks)
    try:
        while (left := began + timeout_s + _GRACE_S - time.monotonic()) > 0:
            if receiver.poll(min(left, _LONGEST_WAIT_S)):
                best = receiver.recv()
    except (EOFError, OSError):
        pass  # it has ended, and closed its end
    finally:
        child.kill()
        child.join()
        receiver.close()
    return best


def _search(sender: Connection, blocks: list[Block], timeout_s: float, capacity_bytes: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a message; the parent reports it
    parent = os.getppid()

    def send(placement: Placement) -> None:
        if os.getppid() != parent:
            os._exit(1)  # nobody waits for it any more
        sender.send(placement)

    send(place(blocks, timeout_s=timeout_s, capacity_bytes=capacity_bytes, better=send))


def _stacked(blocks: list[Block]) -> Placement:
    """All blocks one above the other, whenever they live."""
    offsets, top = [], 0
    for block in blocks:
        is_placed = block.size_bytes and block.lower < block.upper
        offsets.append(top if is_placed else 0)
        top += block.size_bytes if is_placed else 0
    load = load_bytes(blocks)
    return Placement(tuple(offsets), top, load, load)
