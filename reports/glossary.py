"""The glossary of docs and report: this project's own words, and words with several meanings in the field.

python -m reports.glossary > docs/glossary.md
"""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """A word and its meaning here; backticks mark code."""

    word: str
    meaning: str
    in_report: bool = False
    """Whether the glossary of the report contains it."""


WORDS = (
    Word(
        "arena",
        "the one block of memory in which a program keeps everything that changes during a run: the camera frame "
        "(if the target counts it), activations, tiles, row caches, scratch, accumulators and the label map",
        True,
    ),
    Word("candidate", "a setting of pruning, bits and tile count; each is tried once", True),
    Word(
        "trial",
        "a candidate with its result: planned, measured, pruned or failed. `trial-020` is the 21st trial of a study",
        True,
    ),
    Word("baseline", "trial 0: the network as it was given, in float, untiled"),
    Word(
        "Pareto front",
        "the measured trials that no other dominates: none has less peak memory and more mIoU. Equal ones are one "
        "point",
        True,
    ),
    Word(
        "selected configuration",
        "the point of the front that the rule of the study (`choice.rule`) selects",
        True,
    ),
    Word("w5 a8", "5-bit weights, 8-bit activations; `float` is 32 bits of both", True),
    Word(
        "channels 50 %",
        "structured pruning until half of a reference plan's memory is saved; the network is narrower afterwards",
        True,
    ),
    Word("tile count", "upper bound of the tiles in which each section is computed; memory never rises with it", True),
    Word("section", "consecutive operators that are computed tile by tile, or one operator that is computed whole"),
    Word("row tile, column tile", "part of a section's output: some rows of all columns, or of some columns"),
    Word("halo", "rows or columns of an input that two neighbouring tiles both need"),
    Word(
        "row cache",
        "ring buffer that keeps the halo rows of a tensor from one row tile to the next, so that they are not "
        "computed again",
        True,
    ),
    Word("accumulator", "partial sums of a reduction (global pool, MEAN), to which tiles add"),
    Word(
        "plan",
        "for a graph and a target: sections, order of steps, and an address for every buffer. A validator that "
        "shares no code with the planner has accepted it",
    ),
    Word(
        "target",
        "the device for which a plan's memory is counted: alignment, whether weights are in RAM or flash, whether the "
        "frame counts, instruction set",
    ),
    Word("peak memory", "`arena_bytes + weights_bytes + runtime_bytes`, to the byte; MB is 10^6 bytes", True),
    Word("lower bound, gap", "the largest sum of bytes alive at one step, and how far the arena is above it", True),
    Word(
        "within plan",
        "the C program of a trial was compiled and run, and used no byte more than its plan says",
        True,
    ),
    Word("other runtimes", "LiteRT and TensorFlow Lite for Microcontrollers (TFLM), measured on the same network"),
    Word("P(on the front)", "share of the bootstrap resamples of the images in which a trial is on the front", True),
    Word("†", "from fewer than 20 images: intervals and shares are unreliable"),
)


def as_markdown() -> str:
    """The page `docs/glossary.md`."""
    head = "# Glossary\n\nWords of this project's own, and words that the field uses in several senses.\n\n"
    rows = (f"| {one.word} | {one.meaning} |\n" for one in WORDS)
    return head + "| word | meaning |\n|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    print(as_markdown(), end="")
