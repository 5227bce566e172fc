"""One sweep, from its configuration to its report: the story that `launch` tells.

The workers are started before anything that takes this process long to load: they have TensorFlow to load meanwhile.
"""

from __future__ import annotations

import os
import platform
import uuid
from functools import partial
from pathlib import Path

from rich.console import Console

from evaluation.addresses import masked_address
from evaluation.errors import UserError
from reports.record import StudyRecord
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs
from sweeps.search.progress import Progress
from sweeps.storage.databases import OPTUNA, server_problem
from sweeps.storage.errors import explained
from sweeps.storage.postgres_journal import SharedJournal
from sweeps.storage.study_folder import LOG_FILE, check_writable, gone_explained, open_folder
from sweeps.tracking.address import check_tracking
from sweeps.trial.preflight import check_inputs
from sweeps.trial.worker import TRIAL_MODULE, open_worker
from sweeps.workers.executor import Executor, Limits
from sweeps.workers.process_pool import Supervisor
from sweeps.workers.signals import Stop


def open_executor(config: SweepConfig, trial_module: str, log: Path, inputs: Inputs | None = None) -> Executor:
    """The workers of a sweep, here or on a cluster. One that finds other `inputs` than these ends the sweep."""
    search, executor = config.search, config.executor
    memory_bytes = None if search.worker_memory_mb is None else search.worker_memory_mb * 1e6
    limits = Limits(search.trial_seconds, memory_bytes, search.worker_trials, search.retries)
    open_handler = partial(open_worker, config, trial_module, None if inputs is None else inputs.digests)
    if executor.kind == "local":
        return Supervisor(open_handler, search.workers, log, limits)
    from sweeps.workers.ray_pool import RayExecutor

    return RayExecutor(
        open_handler,
        search.workers,
        log,
        limits,
        address=executor.address,
        cpus=search.threads or 1,
        gpus=executor.gpus,
    )


def run_sweep(
    config: SweepConfig,
    resume: bool,
    console: Console,
    trial_module: str = TRIAL_MODULE,
    *,
    accept_changes: bool = False,
    inputs: Inputs | None = None,
) -> StudyRecord | None:
    """One sweep, from its configuration to its report; None where another launch on the same study writes that.

    Args:
        inputs: what `check_launch` found; None: it is asked here.

    Raises:
        UserError: of everything a user can put right, a full disk and a locked database among it. What was measured by
            then is in the journal, and `--resume` goes on from there.
    """
    with explained(config.folder):
        found = check_launch(config, console, inputs)
        return _run(config, resume, console, trial_module, accept_changes, found)


def _run(
    config: SweepConfig, resume: bool, console: Console, trial_module: str, accept_changes: bool, inputs: Inputs
) -> StudyRecord | None:
    stop = Stop()
    shared = open_shared(config)
    with (
        stop.on_lost_output(console),
        open_folder(config, resume, accept_changes, shared, inputs) as folder,
        gone_explained(folder.path),
        Progress(console, min(config.search.trials, len(config.space.space().candidates()))) as progress,
        stop.on_signals(progress.say),
        open_executor(config, trial_module, folder.path / LOG_FILE, inputs) as executor,
    ):
        for note in folder.notes:
            progress.note(note)
        from sweeps.course import run_course

        end = run_course(config, folder, executor, shared, progress, stop)
    if end is None:
        console.print("Other launches work on this study; the last of them writes the report.")
        return None
    from sweeps.finish.summary import print_outcome

    print_outcome(end.record, end.report, console, end.early_end, end.warnings, end.unwritten)
    return end.record


def check_launch(
    config: SweepConfig, console: Console | None = None, inputs: Inputs | None = None, folder: Path | None = None
) -> Inputs:
    """Check everything that a launch needs, in the order of what is soonest answered: whether its folder can be made,
    MLflow's store and the database, and what it reads. `--dry-run` checks the same. Nothing of the study is made.

    Args:
        inputs: as they were found before; None: they are checked.
        folder: of the study; None: the configuration's.

    Returns:
        The inputs, hashed.

    Raises:
        UserError: something cannot be used.
    """
    check_writable(folder or config.folder)
    check_services(config)
    return inputs or check_inputs(config, console)


def check_services(config: SweepConfig) -> None:
    """Ask MLflow's store and the database of `storage.url`, once and for seconds, whether they can be used.

    Raises:
        UserError: one cannot. Nothing of the study was made.
    """
    check_tracking()
    if (url := config.storage.url) is not None and (problem := server_problem(url, OPTUNA)):
        raise UserError(f"storage.url: {masked_address(url)} {problem}")


def open_shared(config: SweepConfig) -> SharedJournal | None:
    """The journal of a study that several launches work on, where the configuration names its database."""
    if config.storage.url is None:
        return None
    owner = f"{platform.node()} {os.getpid()} {uuid.uuid4().hex[:8]}"
    storage = config.storage
    return SharedJournal(storage.url, config.study, owner, storage.lease_seconds, config.search.trials)
