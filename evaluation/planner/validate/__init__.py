"""Check a plan against the graph, without any of the planner's code; slow and plain on purpose, to be easy to review.

In order: `structure` (the sections can be written out as steps), `memory` (each buffer by itself, and that no two
overlap), `operands` (each step is one the kernels know, and takes all that its operator needs, by the geometry in
`needs`), `contents` (the elements it takes are there), `reductions` (accumulators see each element once) and `figures`
(the plan's numbers). The interpreter checks the values that operators compute; here it is checked that they touch only
their own buffers, while these are alive and hold the elements they expect.
"""

from __future__ import annotations

from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.validate.contents import Contents
from evaluation.planner.validate.faults import InvalidPlanError
from evaluation.planner.validate.figures import check_figures
from evaluation.planner.validate.memory import check_buffers
from evaluation.planner.validate.operands import Operands
from evaluation.planner.validate.reductions import Reductions
from evaluation.planner.validate.structure import check_structure

__all__ = ["InvalidPlanError", "validate"]


def validate(plan: Plan, graph: Graph, alignment_bytes: int = 16, label_bytes: int = 1) -> None:
    """Raise `InvalidPlanError` unless the plan can run `graph` within its arena, and its figures are true.

    Args:
        graph: as the plan's target stores it (`evaluation.kernels.weights.as_stored`).
        alignment_bytes: every buffer begins at a multiple of this; of a tensor that lives in rows, the whole tensor.
        label_bytes: bytes of one pixel of the label map.

    Raises:
        InvalidPlanError: the message begins with the name of the rule that is broken, and names step and buffers.
    """
    check_structure(plan)
    check_buffers(plan, graph, alignment_bytes, label_bytes)
    operands, reductions = Operands(plan, graph, label_bytes), Reductions(plan, graph)
    for now, step in enumerate(plan.steps):
        operands.check(step, now)
        reductions.follow(step, now)
    reductions.finish()
    contents = Contents(plan, graph)
    for now, step in enumerate(plan.steps):
        for group in step.reads:
            for access in group:
                contents.read(access, now)
        for access in step.writes:
            contents.write(access)
    contents.check_outputs()
    check_figures(plan, graph, alignment_bytes)
