"""The integer reference: a small numpy program that runs a network, whole or by a plan, with TFLite's arithmetic."""

from evaluation.interpreter.run import PlanRun, Trace, execute
from evaluation.interpreter.whole import run_whole

__all__ = ["PlanRun", "Trace", "execute", "run_whole"]
