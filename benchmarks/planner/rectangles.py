"""Random buffer lists with a known best placement: a rectangle of time and address, cut into boxes."""

from __future__ import annotations

import random

from evaluation.planner.placement import Block

STEPS = 256
HEIGHT_BYTES = 1 << 20


def cut_rectangle(
    count: int, kept: float, seed: int, steps: int = STEPS, height_bytes: int = HEIGHT_BYTES, grain_bytes: int = 1024
) -> list[Block]:
    """At most `count` boxes that fill `steps` x `height_bytes` but for a share 1 - `kept` of them, in a random order.

    The largest box is cut in two again and again, more often in time than in address, anywhere but at its edges.
    They can be placed within `height_bytes`, whatever is left out; with kept = 1 that is their load at every step, and
    no byte may be wasted. Sizes are multiples of `grain_bytes`.
    """
    chance = random.Random(seed)
    boxes = [(0, steps, 0, height_bytes // grain_bytes)]
    whole: list[tuple[int, int, int, int]] = []
    while boxes and len(boxes) + len(whole) < count:
        # One of three at random, by area, so that sizes spread over two orders of magnitude.
        chosen = max(chance.sample(boxes, min(3, len(boxes))), key=lambda b: (b[1] - b[0]) * (b[3] - b[2]))
        boxes.remove(chosen)
        lower, upper, low, high = chosen
        in_time = chance.random() < 0.6
        begin, end = (lower, upper) if in_time else (low, high)
        if end - begin < 2:
            whole.append(chosen)
            continue
        at = chance.randrange(begin + 1, end)
        if in_time:
            boxes += [(lower, at, low, high), (at, upper, low, high)]
        else:
            boxes += [(lower, upper, low, at), (lower, upper, at, high)]
    boxes += whole
    chance.shuffle(boxes)
    stay = boxes[: max(1, round(kept * len(boxes)))]
    return [Block(lower, upper, (high - low) * grain_bytes) for lower, upper, low, high in stay]
