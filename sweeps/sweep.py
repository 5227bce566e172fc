"""One sweep, from its configuration to its report: the story that `launch` tells."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
import uuid
from functools import partial
from pathlib import Path

from rich.console import Console

from reports.document import write_report
from reports.record import RECORD_FILE, StudyRecord, write_record
from sweeps.closing import close_study, describe_data, run_import_check
from sweeps.config import SweepConfig, flatten
from sweeps.ehvi import Costs, Worth
from sweeps.engine import Stop, run_trials
from sweeps.executor import Executor, Limits
from sweeps.folder import open_folder
from sweeps.journal import Journal
from sweeps.judging import planned_limits
from sweeps.outcome import print_outcome
from sweeps.progress import Progress
from sweeps.shared_journal import SharedJournal
from sweeps.sqlite import fold_log
from sweeps.storage_errors import explained
from sweeps.study import STUDY_DATABASE, Study
from sweeps.supervisor import Supervisor
from sweeps.tracking import Tracker
from sweeps.worker import TRIAL_MODULE, Prepare, open_worker


def open_executor(config: SweepConfig, trial_module: str, log: Path) -> Executor:
    """The workers of a sweep, here or on a cluster."""
    search, executor = config.search, config.executor
    memory_bytes = None if search.worker_memory_mb is None else search.worker_memory_mb * 1e6
    limits = Limits(search.trial_seconds, memory_bytes, search.worker_trials, search.retries)
    open_handler = partial(open_worker, config, trial_module)
    if executor.kind == "local":
        return Supervisor(open_handler, search.workers, log, limits)
    from sweeps.ray_executor import RayExecutor

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
) -> StudyRecord | None:
    """One sweep, from its configuration to its report; None where another launch on the same study writes that.

    Raises:
        UserError: of everything a user can put right, a full disk and a locked database among it. What was measured by
            then is in the journal, and `--resume` goes on from there.
    """
    with explained(config.folder):
        return _run(config, resume, console, trial_module, accept_changes)


def _run(
    config: SweepConfig, resume: bool, console: Console, trial_module: str, accept_changes: bool
) -> StudyRecord | None:
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    begun = time.monotonic()
    stop = Stop()
    shared = open_shared(config)
    with (
        open_folder(config, resume, accept_changes, shared) as folder,
        Progress(console, min(config.search.trials, len(config.space.space().candidates()))) as progress,
        stop.on_signals(progress.say),
        open_executor(config, trial_module, folder.path / "workers.log") as executor,
    ):
        settings = {key: str(value) for key, value in flatten(config.model_dump()).items()}
        with contextlib.nullcontext() if shared is None else shared.setting_up():
            tracker = Tracker(config.study, folder.study_id, settings, shared)
            study = open_study(config, folder.path, shared)
        with tracker.ended_on_error():
            data = describe_data(executor)
            tracker.class_names = data.class_names
            if config.import_check is not None:
                progress.say(f"scoring the imported network on {config.import_check.split!r}")
            check = run_import_check(config, executor)
            if config.space.prunes_channels:
                progress.say("ranking the channels and reading pictures, once for all trials")
                executor.submit("preparation", Prepare())  # whoever needs it sooner waits for it
            journal = shared or Journal(folder.path)
            early_end = run_trials(config, study, journal, executor, tracker, progress, stop)
            folder.add_seconds(time.monotonic() - begun)
            with contextlib.nullcontext(True) if shared is None else shared.closing() as is_ours:
                if not is_ours or (shared is not None and shared.others_at_work()):
                    console.print("Other launches work on this study; the last of them writes the report.")
                    return None
                progress.say("scoring the front on the held-out pictures")
                record = close_study(config, journal.trials, executor, folder, data, check)
                write_record(record, folder.path)
                progress.say("writing the report")
                report = write_report(record, folder.path)
                fold_log(folder.path / STUDY_DATABASE)
                tracker.finish(record, [report, folder.path / RECORD_FILE], early_end is None, folder.path)
    print_outcome(record, report, console, early_end)
    return record


def open_study(config: SweepConfig, folder: Path, shared: SharedJournal | None) -> Study:
    """The search of a sweep."""
    search, space = config.search, config.space.space()
    seed = config.seed if shared is None else shared.own_seed(config.seed)
    worth = Worth(rough_costs(config), planned_limits(config.constraints), config.constraints.miou_drop)
    return Study(folder, config.study, space, search.sampler_name, seed, search.costs, shared, worth)


def rough_costs(config: SweepConfig) -> Costs:
    """What trials take, from what a configuration asks for; in seconds of a small network on two cores, and only their
    ratios count."""
    network = 2.0 + 0.1 * config.quantization.aware_steps + 15.0 * (config.quantization.rounding == "learned")
    return Costs(network=network, prune=2.0 + 0.08 * config.finetune.steps)


def open_shared(config: SweepConfig) -> SharedJournal | None:
    """The journal of a study that several launches work on, where the configuration names its database."""
    if config.storage.url is None:
        return None
    owner = f"{platform.node()} {os.getpid()} {uuid.uuid4().hex[:8]}"
    storage = config.storage
    return SharedJournal(storage.url, config.study, owner, storage.lease_seconds, config.search.trials)
