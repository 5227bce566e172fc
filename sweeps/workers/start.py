"""Starting the workers that a configuration describes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs
from sweeps.trial.evaluator import OpenEvaluator
from sweeps.trial.worker import open_worker
from sweeps.workers.process_pool import ProcessPool
from sweeps.workers.worker_pool import Limits, WorkerPool

OpenWorkers = Callable[[SweepConfig, OpenEvaluator, Path, Inputs | None], WorkerPool]
"""As `open_workers`."""


def open_workers(
    config: SweepConfig, open_evaluator: OpenEvaluator, log: Path, inputs: Inputs | None = None
) -> WorkerPool:
    """Start the workers, on this machine or a cluster. A worker that reads other inputs than `inputs` ends the
    sweep."""
    search, executor = config.search, config.executor
    memory_bytes = None if search.worker_memory_mb is None else search.worker_memory_mb * 1e6
    limits = Limits(search.trial_seconds, memory_bytes, search.worker_trials, search.retries)
    open_handler = partial(open_worker, config, open_evaluator, None if inputs is None else inputs.digests)
    if executor.kind == "local":
        return ProcessPool(open_handler, search.workers, log, limits)
    from sweeps.workers.ray_pool import RayPool

    return RayPool(
        open_handler,
        search.workers,
        log,
        limits,
        address=executor.address,
        cpus=search.threads or 1,
        gpus=executor.gpus,
    )
