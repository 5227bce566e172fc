"""Plans the peak memory of a network: how to cut it into tiles, in what arena, and what that costs in MACs."""

from evaluation.planner.plan import plan, plan_sections
from evaluation.planner.targets import CAMERA, MCU, TFLM, Target, load_target
from evaluation.planner.types import Access, Buffer, Halo, Plan, Region, Role, Section, Step, extent
from evaluation.planner.validator import InvalidPlanError, validate
from evaluation.planner.view import carried_over, planning_view

__all__ = [
    "CAMERA",
    "MCU",
    "TFLM",
    "Access",
    "Buffer",
    "Halo",
    "InvalidPlanError",
    "Plan",
    "Region",
    "Role",
    "Section",
    "Step",
    "Target",
    "carried_over",
    "extent",
    "load_target",
    "plan",
    "plan_sections",
    "planning_view",
    "validate",
]
