"""What a sweep does once its workers are starting: the search, the front's closer look, the record and the report."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reports.health import data_warnings
from reports.record import RECORD_FILE, StudyRecord, write_record
from sweeps.config.constraints import planned_limits
from sweeps.config.schema import SweepConfig, flatten
from sweeps.finish.finalize import checked_import, close_study, described
from sweeps.search.ehvi import Costs, Worth
from sweeps.search.loop import run_trials
from sweeps.search.optuna_study import STUDY_DATABASE, Study
from sweeps.search.progress import Progress
from sweeps.storage.journal import Journal
from sweeps.storage.postgres_journal import SharedJournal
from sweeps.storage.sqlite import fold_log
from sweeps.storage.study_folder import LOG_FILE, StudyFolder
from sweeps.tracking.mirror import Mirror, Unwritten, open_tracker
from sweeps.tracking.runs import Tracker
from sweeps.trial.worker import CheckImport, Describe, Prepare
from sweeps.workers.executor import Executor, answers_to
from sweeps.workers.signals import Stop


@dataclass(frozen=True)
class End:
    """How a sweep ended."""

    record: StudyRecord
    report: Path
    early_end: str | None
    """Why before its budget was spent."""
    warnings: tuple[str, ...]
    """What a reader must know, as on page 1 of the report."""
    unwritten: Unwritten | None
    """What MLflow does not hold of it."""


def run_course(
    config: SweepConfig,
    folder: StudyFolder,
    executor: Executor,
    shared: SharedJournal | None,
    progress: Progress,
    stop: Stop,
) -> End | None:
    """From the first request to the report; None where another launch on the same study writes that."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # one line of ours says what is lost
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # of each attempt to reach a server that is away
    # Answered before the databases are opened: what ends the study here leaves no run and no study in them. The workers
    # go on meanwhile with what candidates share.
    first = {"data": Describe()} | ({"import check": CheckImport()} if config.import_check else {})
    for key, request in first.items():
        executor.submit(key, request)
    if config.space.prunes_channels:
        executor.submit("preparation", Prepare())  # whoever needs it sooner waits for it
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
            progress.say("ranking the channels and reading pictures, once for all trials")
        journal = shared or Journal(folder.path)
        if isinstance(journal, Journal) and journal.notice:
            progress.note(journal.notice)
        early_end = run_trials(config, study, journal, executor, mirror, progress, stop, folder.elapsed_s)
        folder.count_time()
        with contextlib.nullcontext(True) if shared is None else shared.closing() as is_ours:
            if not is_ours or (shared is not None and shared.others_at_work()):
                mirror.close()
                return None
            progress.say("scoring the front on the held-out pictures")
            record = close_study(config, journal.trials, executor, folder, data, check)
            write_record(record, folder.path)
            progress.say("writing the report")
            from reports.content import intervals, warnings_of
            from reports.document import write_documents  # a second of Matplotlib and Typst, kept from the start

            found = intervals(record)
            report, page = write_documents(record, folder.path, config.report.paper, found)
            fold_log(folder.path / STUDY_DATABASE)
            told = tuple(warnings_of(record, found))
            artifacts = [report, page, folder.path / RECORD_FILE]
            unwritten = mirror.finish(record, artifacts, early_end is None, found.on_front, told)
    return End(record, report, early_end, told, unwritten)


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
