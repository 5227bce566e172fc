"""A plan read back from a file: of this network, or refused."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.kernels.targets import BUILT_IN, load_target
from evaluation.kernels.weights import as_stored
from evaluation.planner.cost.accounting import restated
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.validate import InvalidPlanError, validate

_WRONG = (InvalidPlanError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What a plan of another network, or no plan at all, may lead to."""


def read_plan(path: Path, graph: Graph, target: str | None = None) -> Plan:
    """The plan that `Plan.to_json` wrote, judged by the validator.

    Args:
        target: a target's name or file, for a plan that was made for one of the user's own.

    Raises:
        UserError: the file cannot be read, is no plan, or is one of another network or target.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a saved plan.json") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is not JSON; expected a plan.json that this command wrote") from None
    try:
        plan = Plan.from_dict(values)
    except _WRONG:
        plan = None
    if plan is None or not _is_of(plan, Plan):
        raise UserError(f"{path}: is not a plan; expected a plan.json that this command wrote")
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


def _is_of(value: object, hint: Any) -> bool:
    """Whether a value, and all that is in it, is of the type that the plan's classes say."""
    if get_origin(hint) is UnionType:
        return any(_is_of(value, one) for one in get_args(hint))
    if get_origin(hint) is tuple:  # here always tuple[X, ...]
        return isinstance(value, tuple) and all(_is_of(item, get_args(hint)[0]) for item in value)
    if is_dataclass(hint):
        return type(value) is hint and all(
            _is_of(getattr(value, name), kind) for name, kind in _fields_of(hint).items()
        )
    return type(value) in (int, float) if hint is float else type(value) is hint


@cache
def _fields_of(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
