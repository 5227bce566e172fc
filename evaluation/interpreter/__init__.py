"""NumPy reference interpreter: runs a network, whole or by a plan, in the arithmetic of TFLite's reference kernels."""

from evaluation.interpreter.run import PlanRun, Trace, execute
from evaluation.interpreter.whole import run_whole

__all__ = ["PlanRun", "Trace", "execute", "run_whole"]
