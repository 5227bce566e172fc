"""What a worker process does: open an evaluator once, then answer requests, one candidate after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from threadpoolctl import threadpool_limits

from sweeps.code import stage_code
from sweeps.config.schema import SweepConfig
from sweeps.trial.evaluator import OpenEvaluator
from sweeps.trial.requests import Request


def open_worker(
    config: SweepConfig, open_evaluator: OpenEvaluator, digests: Mapping[str, str] | None = None
) -> Callable[[Request[object]], object]:
    """Open an evaluator (and load TensorFlow with it) and return the function that answers requests.

    Args:
        digests: of the inputs that the study is measured on, see `fingerprints.Inputs`; None: they are not compared.
    """
    # Threads that wait for cores which other workers hold cost more than they bring.
    threads = config.search.threads or max(1, (os.cpu_count() or 1) // config.search.workers)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    stage_code.running()  # source that changes from here on is not what this process runs
    evaluator = open_evaluator(config)
    threadpool_limits(threads, user_api="blas")  # of the libraries that the evaluator has loaded, too
    if digests is not None:
        evaluator.require_inputs(digests)
    return lambda request: request.answer(evaluator)
