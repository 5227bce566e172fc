"""Reads a saved plan and checks that it is a valid plan of a network."""

from __future__ import annotations

import json
from pathlib import Path

from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.kernels.targets import BUILT_IN, load_target
from evaluation.kernels.weights import as_stored
from evaluation.planner.cost.accounting import restated
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.validate import InvalidPlanError, validate

_WRONG = (InvalidPlanError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""Errors that a plan of another network, or another JSON file, may cause."""


def read_plan(path: Path, graph: Graph, target: str | None = None) -> Plan:
    """Read a plan that `Plan.to_json` wrote, and validate it.

    Args:
        target: name or file of a target, required for plans of targets that are not built in.

    Raises:
        UserError: the file cannot be read, is no plan, or is a plan of another network or target.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a saved plan.json") from None
    try:
        plan = Plan.from_json(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{path}: is not JSON; expected a plan.json that this command wrote") from None
    except _WRONG:
        raise UserError(f"{path}: is not a plan; expected a plan.json that this command wrote") from None
    if target is None and plan.target not in BUILT_IN:
        raise UserError(f"{path}: was made for target {plan.target}; give that target's YAML file with --target")
    rules = load_target(plan.target if target is None else target)
    if rules.name != plan.target:
        raise UserError(f"{path}: was made for target {plan.target}, not {rules.name}; leave --target out")
    try:
        validate(plan, as_stored(graph, plan.target), rules.alignment_bytes, rules.label_bytes)
    except _WRONG as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: a plan of {plan.graph}, cannot run {graph.name} ({reason}); leave --plan out to make a new one"
        ) from None
    return restated(plan, graph, rules)
