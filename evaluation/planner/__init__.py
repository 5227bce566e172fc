"""Plans the peak memory of a network: its split into tiles, the arena, and the cost in MACs."""

from evaluation.graph.regions import Region, extent
from evaluation.kernels.targets import CAMERA, MCU, TFLM, Target, load_target
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import Halo, Section
from evaluation.planner.ir.steps import Access, Buffer, Role, Step
from evaluation.planner.plan import plan, plan_sections
from evaluation.planner.plan_key import plan_cache_key, with_weights_of
from evaluation.planner.validate import InvalidPlanError, validate

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
    "extent",
    "load_target",
    "plan",
    "plan_cache_key",
    "plan_sections",
    "validate",
    "with_weights_of",
]
