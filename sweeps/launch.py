"""Search a network's compression settings, and report the front of memory against accuracy.

python -m sweeps.launch pareto.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evaluation.errors import UserError, exits_on_user_error

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def launch(
    config_file: Annotated[Path | None, typer.Argument(metavar="CONFIG.yaml", show_default=False)] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the inputs, show how many candidates fit which memory, start nothing."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an existing study up to its budget.")] = False,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes", help="With --resume: continue although the configuration or its inputs have changed."
        ),
    ] = False,
    trials: Annotated[int | None, typer.Option(help="Distinct trials in all; as search.trials.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; as search.workers.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("-o", metavar="KEY=VALUE", help="Set a key, e.g. -o finetune.steps=100.")
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List every key of the file with default and unit.")] = False,
) -> None:
    """Search the compression settings in CONFIG.yaml; write the study, its MLflow runs and its report.

    A study is in studies/NAME; `mlflow ui`, started in this folder, shows it.

    \b
    python -m sweeps.launch pareto.yaml              the built-in network
    python -m sweeps.launch pareto.yaml --dry-run    checks and planned memory
    python -m sweeps.launch pareto.yaml --resume     continue after any stop
    python -m sweeps.launch pareto.yaml --resume --trials 60    with a larger budget
    python -m sweeps.launch pareto.yaml -o constraints.peak_memory_mb=0.3

    Ctrl-C once (or SIGTERM, SIGHUP, a closed output): the running trials end, and
    the report is written; twice: stop at once. Exit status: 0; 2 and one line on an
    error that the user can correct; 3 if the study finished, but the C program of a
    point of the Pareto front or of the selected configuration exceeds its plan.
    """
    # Imported here: every worker process imports this file too, and needs none of these.
    from rich.console import Console

    from reports.promises import EXCEEDS_PLAN_STATUS, PlanStatus, study_status
    from sweeps.cli.dry_run import print_dry_run
    from sweeps.cli.list_keys import print_keys
    from sweeps.config.load import load_config
    from sweeps.sweep import run_sweep
    from sweeps.workers.output import Output

    console = Console(file=Output())  # type: ignore[arg-type]  # rich asks for IO[str], and uses a TextIOBase
    if keys:
        return print_keys(console)
    if config_file is None:
        raise UserError(
            "no configuration given; try: python -m sweeps.launch pareto.yaml (written by: petitlab example)"
        )
    overrides = list(override or [])
    overrides += [f"search.trials={trials}"] if trials is not None else []
    overrides += [f"search.workers={workers}"] if workers is not None else []
    config = load_config(config_file, overrides)
    if dry_run:
        return print_dry_run(config, console)
    record = run_sweep(config, resume, console, accept_changes=accept_changes)
    if record is not None and study_status(record) is PlanStatus.EXCEEDED:
        raise typer.Exit(EXCEEDS_PLAN_STATUS)


main = exits_on_user_error(app)


if __name__ == "__main__":
    main()
