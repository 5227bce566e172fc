"""A trial that ends with its accuracy and its plan: neither labels are compared nor programs compiled and timed.

What is left is what a search is steered by, so that it can be timed next to a loop that has nothing else.
"""

from __future__ import annotations

from evaluation.measurement import Cost, Measurement, MemoryFigures
from reports.record import Early, OtherRuntimes
from sweeps.config.space import Candidate
from sweeps.trial.evaluate import (
    Context,
    describe,
    held_out,
    image,
    import_check,
    open_context,
    outline,
    overlay,
    plan_candidate,
    prepare,
    require_inputs,
)
from sweeps.trial.stages import Stop, compressed, parameters, scores_until

__all__ = [
    "Context",
    "describe",
    "evaluate",
    "execution",
    "held_out",
    "image",
    "import_check",
    "network_files",
    "open_context",
    "other_runtimes",
    "outline",
    "overlay",
    "plan_candidate",
    "prepare",
    "require_inputs",
]  # fmt: skip


def evaluate(candidate: Candidate, context: Context, stop: Stop = lambda *_: None) -> Measurement | Early:
    context.seconds = {}
    network = compressed(candidate.compression, context)
    with context.timed("score"):
        on_search = scores_until(network, context, "search", stop)
    if isinstance(on_search, Early):
        return on_search
    made = plan_candidate(candidate, context)
    cost = Cost(made.macs, made.mac_overhead, parameters(network))
    return Measurement(on_search, MemoryFigures.of_plan(made), cost, stage_seconds=dict(context.seconds))


def other_runtimes(candidate: Candidate, context: Context) -> OtherRuntimes:
    return OtherRuntimes(None, (), "no other runtime is asked in this benchmark")


def network_files(candidate: Candidate, context: Context) -> dict[str, bytes]:
    return {}


def execution(candidate: Candidate, context: Context) -> str:
    return "no program is run in this benchmark"
