"""One sweep, from its configuration to its report: the story that `launch` tells.

check -> open the folder -> start the workers -> search -> close the study -> report -> print the outcome
"""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from reports.record import StudyRecord
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs
from sweeps.search.launch_checks import check_launch
from sweeps.search.progress import Progress
from sweeps.storage.errors import explained
from sweeps.storage.postgres_journal import open_shared
from sweeps.storage.study_folder import LOG_FILE, gone_explained, open_folder
from sweeps.trial.evaluator import Evaluator, OpenEvaluator, open_evaluator
from sweeps.trial.requests import Request, request
from sweeps.workers.signals import Stop
from sweeps.workers.start import open_workers
from sweeps.workers.worker_pool import answers_to

if TYPE_CHECKING:
    from sweeps.finish.summary import End
    from sweeps.storage.postgres_journal import SharedJournal
    from sweeps.storage.study_folder import StudyFolder
    from sweeps.workers.worker_pool import WorkerPool


def run_sweep(
    config: SweepConfig,
    resume: bool,
    console: Console,
    open_evaluator: OpenEvaluator = open_evaluator,
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
        stop, shared = Stop(), open_shared(config)
        with (
            stop.on_lost_output(console),
            open_folder(config, resume, accept_changes, shared, found) as folder,
            gone_explained(folder.path),
            Progress(console, min(config.search.trials, len(config.space.space().candidates()))) as progress,
            stop.on_signals(progress.say),
            open_workers(config, open_evaluator, folder.path / LOG_FILE, found) as executor,
        ):
            for note in folder.notes:
                progress.note(note)
            end = _search_and_report(config, folder, executor, shared, progress, stop)
        if end is None:
            console.print("Other launches work on this study; the last of them writes the report.")
            return None
        from sweeps.finish.summary import print_outcome

        print_outcome(end, console)
        return end.record


def _search_and_report(
    config: SweepConfig,
    folder: StudyFolder,
    executor: WorkerPool,
    shared: SharedJournal | None,
    progress: Progress,
    stop: Stop,
) -> End | None:
    """What is done while the workers run; None where another launch on the same study writes the report."""
    # Imported here: MLflow and Optuna take as long to load as TensorFlow does in the workers, which have begun.
    from reports.files import remove_documents
    from reports.health import data_warnings
    from reports.record import RECORD_FILE
    from reports.record_file import write_record
    from sweeps.config.schema import flatten
    from sweeps.finish.finalize import checked_import, close_study, described
    from sweeps.finish.summary import End
    from sweeps.search.loop import run_trials
    from sweeps.search.optuna_study import STUDY_DATABASE
    from sweeps.search.study_setup import open_study
    from sweeps.storage.journal import Journal
    from sweeps.storage.sqlite import fold_log
    from sweeps.tracking.mirror import Mirror, open_tracker
    from sweeps.tracking.runs import Tracker

    _quiet_mlflow()
    # Answered before the databases are opened: what ends the study here leaves no run and no study in them. The workers
    # go on meanwhile with what candidates share.
    first: dict[str, Request[object]] = {"data": request(Evaluator.describe)}
    if config.import_check is not None:
        first["import check"] = request(Evaluator.import_check)
    for key, asked in first.items():
        executor.submit(key, asked)
    if config.space.prunes_channels:
        executor.submit("preparation", request(Evaluator.prepare))  # whoever needs it sooner waits for it
    if config.import_check is not None:
        progress.say(f"scoring the imported network on {config.import_check.split!r}")
    answers = answers_to(executor, first)
    data = described(answers["data"], folder.path / LOG_FILE)
    check = checked_import(config, answers.get("import check"))

    settings = {key: str(value) for key, value in flatten(config.model_dump()).items()}
    if shared is not None:
        shared.patience.say = progress.note
    with contextlib.nullcontext() if shared is None else shared.setting_up():
        tracker = open_tracker(partial(Tracker, config.study, folder.study_id, settings, shared))
        study = open_study(config, folder.path, shared)
    mirror = Mirror(tracker, folder.path, progress.note)
    with mirror.ended_on_error():
        for sentence in data_warnings(data):
            progress.note(f"Warning: {sentence}")
        tracker.class_names = data.class_names
        if config.space.prunes_channels:
            progress.say("ranking the channels and reading images, once for all trials")
        journal = shared or Journal(folder.path)
        if isinstance(journal, Journal) and journal.notice:
            progress.note(journal.notice)
        early_end = run_trials(config, study, journal, executor, mirror, progress, stop, folder.elapsed_s)

        folder.count_time()
        with contextlib.nullcontext(True) if shared is None else shared.closing() as is_ours:
            if not is_ours or (shared is not None and shared.others_at_work()):
                mirror.close()
                return None
            progress.say("scoring the front on the held-out images")
            record = close_study(config, journal.trials, executor, folder, data, check)
            write_record(record, folder.path)
            from reports.content import intervals, warnings_of

            found = intervals(record)
            documents: tuple[Path, ...] = ()
            remove_documents(folder.path)
            if config.report.documents:
                progress.say("writing the report")
                from reports.document import write_documents  # a second of Matplotlib and Typst, kept from the start

                documents = write_documents(record, folder.path, config.report.paper, found)
            fold_log(folder.path / STUDY_DATABASE)
            warnings = tuple(warnings_of(record, found))
            artifacts = [*documents, folder.path / RECORD_FILE]
            unwritten = mirror.finish(record, artifacts, early_end is None, found.on_front, warnings)
    return End(record, folder.path, documents, early_end, warnings, unwritten)


def _quiet_mlflow() -> None:
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # one line of ours says what is lost
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # of each attempt to reach a server that is away
