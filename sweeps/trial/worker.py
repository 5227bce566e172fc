"""A worker process: it opens an evaluator once, then answers requests."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from threadpoolctl import threadpool_limits

from deeplab.threads import VARIABLE
from sweeps.code import stage_code
from sweeps.config.schema import SweepConfig
from sweeps.trial.evaluator import OpenEvaluator
from sweeps.trial.requests import Request


def open_worker(
    config: SweepConfig, open_evaluator: OpenEvaluator, digests: Mapping[str, str] | None = None
) -> Callable[[Request[object]], object]:
    """Open an evaluator, which loads TensorFlow, and return the function that answers requests.

    Args:
        digests: digests of the study's inputs, see `fingerprints.Inputs`; None: inputs are not compared.
    """
    # More threads than cores, over all workers, are slower.
    threads = config.search.threads or max(1, (os.cpu_count() or 1) // config.search.workers)
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ[VARIABLE] = str(threads)
    stage_code.running()  # later changes of source files are noticed
    evaluator = open_evaluator(config)
    threadpool_limits(threads, user_api="blas")  # after loading, so that it covers the evaluator's libraries
    if digests is not None:
        evaluator.require_inputs(digests)
    return lambda request: request.answer(evaluator)
