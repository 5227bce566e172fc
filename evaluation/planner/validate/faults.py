"""The validator's error, and the names of buffers in its message."""

from __future__ import annotations

from typing import NoReturn

from evaluation.planner.ir.plan_types import Plan


class InvalidPlanError(Exception):
    """The plan breaks a rule; the message names the rule, the buffers and the step."""


def refuse(rule: str, what: str) -> NoReturn:
    raise InvalidPlanError(f"{rule}: {what}")


def named(plan: Plan, number: int) -> str:
    """A buffer as messages name it."""
    return f"buffer {number} ({plan.buffers[number].name}, {plan.buffers[number].role})"
