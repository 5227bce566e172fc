"""One sweep, from its configuration to its report.

check -> open the folder -> start the workers -> search -> close the study -> report -> print the outcome
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reports.record import DataSet, ImportCheck, StudyRecord
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs
from sweeps.search.first_answers import checked_import, described
from sweeps.search.launch_checks import check_launch
from sweeps.search.progress import Progress
from sweeps.storage.coordinator import Coordinator
from sweeps.storage.errors import explained
from sweeps.storage.open_coordinator import open_coordinator
from sweeps.storage.study_folder import LOG_FILE, StudyFolder, gone_explained
from sweeps.trial.evaluator import Evaluator, OpenEvaluator, open_evaluator
from sweeps.trial.requests import Request, request
from sweeps.workers.signals import Stop
from sweeps.workers.start import OpenWorkers, open_workers
from sweeps.workers.worker_pool import WorkerPool, answers_to

if TYPE_CHECKING:
    from sweeps.finish.summary import End
    from sweeps.tracking.mirror import Mirror


@dataclass(frozen=True)
class RunningSweep:
    """A sweep in progress: its configuration, folder, workers and displays."""

    config: SweepConfig
    coordinator: Coordinator
    folder: StudyFolder
    executor: WorkerPool
    progress: Progress
    stop: Stop


def run_sweep(
    config: SweepConfig,
    resume: bool,
    console: Console,
    open_evaluator: OpenEvaluator = open_evaluator,
    *,
    accept_changes: bool = False,
    inputs: Inputs | None = None,
    open_workers: OpenWorkers = open_workers,
) -> StudyRecord | None:
    """Run one sweep, from its configuration to its report.

    Args:
        open_evaluator: opens the evaluator of the candidates in each worker.
        inputs: the result of `check_launch`; None: it is called here.
        open_workers: starts the pool that answers the requests of the sweep.

    Raises:
        UserError: for every error that the user can correct, a full disk and a locked database among them. Trials
            measured by then are in the journal, and `--resume` continues from there.
    """
    with explained(config.folder):
        found = check_launch(config, console, inputs)
        stop, coordinator = Stop(), open_coordinator(config)
        with (
            stop.on_lost_output(console),
            coordinator.open_folder(config, resume, accept_changes, found) as folder,
            gone_explained(folder.path),
            Progress(console, min(config.search.trials, len(config.space.space().candidates()))) as progress,
            stop.on_signals(progress.say),
            open_workers(config, open_evaluator, folder.path / LOG_FILE, found) as executor,
        ):
            for note in folder.notes:
                progress.note(note)
            end = _search_and_report(RunningSweep(config, coordinator, folder, executor, progress, stop))
        if end is None:
            console.print("Other processes work on this study; the last of them writes the report.")
            return None
        from sweeps.finish.summary import print_outcome

        print_outcome(end, console)
        return end.record


def _search_and_report(sweep: RunningSweep) -> End | None:
    """Search and report while the workers run; None where another process on the same study writes the report."""
    # Imported here: MLflow and Optuna load while the workers, already started, load TensorFlow.
    from reports.health import data_warnings
    from sweeps.search.loop import run_trials
    from sweeps.search.study_setup import open_study

    config, coordinator, folder, progress = sweep.config, sweep.coordinator, sweep.folder, sweep.progress
    # Before the databases are opened: an error here leaves no run and no study in them.
    data, check = _first_answers(sweep)
    coordinator.notify(progress.note)
    with coordinator.setting_up():
        mirror = _open_mirror(sweep, data)
        study = open_study(config, coordinator)
    with mirror.ended_on_error():
        for sentence in data_warnings(data):
            progress.note(f"Warning: {sentence}")
        if config.space.prunes_channels:
            progress.say("ranking the channels and reading images, once for all trials")
        early_end = run_trials(
            config, study, coordinator, sweep.executor, mirror, progress, sweep.stop, folder.elapsed_s
        )
        folder.count_time()
        with coordinator.closing() as is_ours:
            if is_ours:
                return _close_and_report(sweep, mirror, data, check, early_end)
        mirror.close()
        return None


def _first_answers(sweep: RunningSweep) -> tuple[DataSet, ImportCheck | None]:
    """The workers' description of the images, and the import check; shared preparation continues in the background."""
    config, executor = sweep.config, sweep.executor
    first: dict[str, Request[object]] = {"data": request(Evaluator.describe)}
    if config.import_check is not None:
        first["import check"] = request(Evaluator.import_check)
    for key, asked in first.items():
        executor.submit(key, asked)
    if config.space.prunes_channels:
        # Two workers do these side by side; a trial that needs one earlier waits for it.
        executor.submit("preparation", request(Evaluator.prepare))
        executor.submit("training images", request(Evaluator.read_training_images))
    if config.import_check is not None:
        sweep.progress.say(f"scoring the imported network on {config.import_check.split!r}")
    answers = answers_to(executor, first)
    data = described(answers["data"], sweep.folder.path / LOG_FILE)
    return data, checked_import(config, answers.get("import check"))


def _open_mirror(sweep: RunningSweep, data: DataSet) -> Mirror:
    """Open the study's runs in MLflow, and the thread that keeps them equal to the journal."""
    from sweeps.config.schema import flatten
    from sweeps.tracking.mirror import Mirror, open_tracker
    from sweeps.tracking.runs import Tracker

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # `Mirror` reports a lost store in one line
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # a warning for each failed attempt to reach a server
    config, folder = sweep.config, sweep.folder
    settings = {key: str(value) for key, value in flatten(config.model_dump()).items()}
    tracker = open_tracker(partial(Tracker, config.study, folder.study_id, settings, sweep.coordinator))
    tracker.class_names = data.class_names
    return Mirror(tracker, folder.path, sweep.progress.note)


def _close_and_report(
    sweep: RunningSweep, mirror: Mirror, data: DataSet, check: ImportCheck | None, early_end: str | None
) -> End:
    """Score the front on the held-out images, run its programs, and write record, documents and MLflow runs."""
    from reports.content import intervals, warnings_of
    from reports.files import remove_documents
    from reports.record import RECORD_FILE
    from reports.record_file import write_record
    from sweeps.finish.finalize import close_study
    from sweeps.finish.summary import End
    from sweeps.storage.local_coordinator import STUDY_DATABASE
    from sweeps.storage.sqlite import fold_log

    config, folder, progress = sweep.config, sweep.folder, sweep.progress
    progress.say("scoring the front on the held-out images")
    record = close_study(config, sweep.coordinator.trials, sweep.executor, folder, data, check)
    write_record(record, folder.path)
    found = intervals(record)
    documents: tuple[Path, ...] = ()
    remove_documents(folder.path)
    if config.report.documents:
        progress.say("writing the report")
        from reports.document import write_documents  # Matplotlib and Typst take a second to load

        documents = write_documents(record, folder.path, config.report.paper, found)
    fold_log(folder.path / STUDY_DATABASE)
    warnings = tuple(warnings_of(record, found))
    artifacts = [*documents, folder.path / RECORD_FILE]
    unwritten = mirror.finish(record, artifacts, early_end is None, found.on_front, warnings)
    return End(record, folder.path, documents, early_end, warnings, unwritten)
