"""Search a network's compression settings, and report the front of memory against accuracy.

python -m sweeps.launch pareto.yaml
"""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evaluation.errors import UserError, exits_on_user_error
from reports.document import write_report
from reports.record import StudyRecord, write_record
from sweeps import outcome
from sweeps.closing import close_study, run_import_check
from sweeps.config import SweepConfig, flatten
from sweeps.config_file import check_files, load_config
from sweeps.dry_run import print_dry_run
from sweeps.folder import open_folder
from sweeps.journal import Journal
from sweeps.keys import print_keys
from sweeps.progress import Progress
from sweeps.study import Study
from sweeps.supervisor import Supervisor
from sweeps.sweep import Stop, run_trials
from sweeps.tracking import Tracker
from sweeps.worker import TRIAL_MODULE, open_worker

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def launch(
    config_file: Annotated[Path | None, typer.Argument(metavar="CONFIG.yaml", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option(help="Show the space and its range of memory, and start nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that exists, up to its budget.")] = False,
    trials: Annotated[int | None, typer.Option(help="Distinct trials in all; as search.trials.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; as search.workers.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("-o", metavar="KEY=VALUE", help="Set a key, e.g. -o finetune.steps=100.")
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every key of the file with default and unit.")] = False,
) -> None:
    """Search the compression settings in CONFIG.yaml; write the study, its MLflow runs and its report.

    A study lies in studies/NAME; `mlflow ui`, started in this folder, shows it.
    """
    console = Console()
    if keys:
        return print_keys(console)
    if config_file is None:
        raise UserError("no configuration given; try: python -m sweeps.launch pareto.yaml")
    overrides = list(override or [])
    overrides += [f"search.trials={trials}"] if trials is not None else []
    overrides += [f"search.workers={workers}"] if workers is not None else []
    config = load_config(config_file, overrides)
    check_files(config)
    if dry_run:
        return print_dry_run(config, console)
    run_sweep(config, resume, console)


def run_sweep(config: SweepConfig, resume: bool, console: Console, trial_module: str = TRIAL_MODULE) -> StudyRecord:
    """One sweep, from its configuration to its report."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    begun = time.monotonic()
    stop = Stop()
    with open_folder(config, resume) as folder, Progress(console, config.search.trials) as progress:
        open_handler = partial(open_worker, config, trial_module)
        log = folder.path / "workers.log"
        with (
            stop.on_signals(progress.say),
            Supervisor(open_handler, config.search.workers, log, config.search.trial_seconds) as supervisor,
        ):
            tracker = Tracker(
                config.study, folder.study_id, {k: str(v) for k, v in flatten(config.model_dump()).items()}
            )
            with tracker.ended_on_error():
                check = run_import_check(config, supervisor)
                journal = Journal(folder.path)
                space = config.space.space()
                study = Study(folder.path, config.study, space, config.search.sampler, config.seed)
                early_end = run_trials(config, study, journal, supervisor, tracker, progress, stop)

                progress.say("scoring the front on the held-out pictures")
                folder.add_seconds(time.monotonic() - begun)
                record = close_study(config, journal.trials, supervisor, folder, check)
                write_record(record, folder.path)
                progress.say("writing the report")
                report = write_report(record, folder.path)
                tracker.finish(record, [report, folder.path / "record.json"], early_end is None)
    outcome.print_outcome(record, report, console, early_end)
    return record


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
