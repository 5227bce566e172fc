"""The state of a study, from the files in its folder; works during a sweep and after a kill.

python -m sweeps status studies/streets
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.errors import UserError, exits_on_user_error

if TYPE_CHECKING:
    from rich.console import Console

    from reports.record import Trial
    from sweeps.config.schema import ConstraintsConfig
    from sweeps.storage.study_folder import StudyFolder

DEFAULT_FOLDER = Path("studies")
LISTED = 12

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def status(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a study, or of several.")] = DEFAULT_FOLDER,
) -> None:
    """Print whether the study runs, how many trials have ended and how, and the present front."""
    from rich.console import Console

    from sweeps.storage.study_folder import STUDY_FILE

    studies = (
        [study] if (study / STUDY_FILE).exists() else sorted(path.parent for path in study.glob(f"*/{STUDY_FILE}"))
    )
    if not studies:
        raise UserError(f"{study}: no study here; give a folder such as studies/streets")
    console = Console(highlight=False)
    for folder in studies:
        _print_status(folder, console)


def _print_status(path: Path, console: Console) -> None:
    from rich.table import Table

    from reports.front import pareto_front
    from reports.health import urgent_warnings
    from reports.record import RECORD_FILE, State, point_of
    from reports.record_file import read_record
    from sweeps.config.constraints import judge
    from sweeps.search.progress import clock
    from sweeps.storage.study_folder import is_in_use, read_folder

    folder = read_folder(path)
    constraints, third = _settings(folder)
    found = _trials(folder)
    trials = {number: judge(trial, found.get(0), constraints) for number, trial in sorted(found.items())}
    launch, spent = folder.launch, sum(trial.spent for trial in trials.values())
    if is_in_use(path):
        state = f"running (process {launch['process']} on {launch['machine']})"
    elif spent >= launch["trials"] or _is_exhausted(folder, found):
        state = "finished"
    else:
        state = "stopped; continue with: python -m sweeps.launch CONFIG.yaml --resume"
    console.print(f"[bold]{path}[/bold]: {state}", soft_wrap=True)
    counts = Counter(str(trial.state) for trial in trials.values())
    ends = ", ".join(f"{counts[name]} {name}" for name in (State.COMPLETE, State.PRUNED, State.FAILED) if counts[name])
    console.print(
        f"  {spent} of {launch['trials']} trials measured, {len(trials)} candidates tried ({ends or 'none yet'})"
    )
    if trials:
        busy = clock(sum(trial.seconds for trial in trials.values()))
        console.print(f"  {busy} spent in trials, all workers together")
    config = {"search": {"third_objective": third}}
    front = pareto_front([point_of(trial, config) for trial in trials.values() if trial.feasible])
    if not front:
        return
    table = Table("trial", "candidate", box=None, padding=(0, 2))
    table.add_column("MB", justify="right")
    table.add_column("mIoU", justify="right")
    for equal in front[:LISTED]:
        table.add_row(*_row(trials[equal[0].number]))
    console.print(table)
    if len(front) > LISTED:
        console.print(f"  and {len(front) - LISTED} more on the front")
    if (path / RECORD_FILE).exists() and not is_in_use(path):
        with suppress(UserError):  # commands that need the record report the damage
            for sentence in urgent_warnings(read_record(path)):
                console.print(f"  {sentence}", style="red", markup=False, soft_wrap=True)


def _is_exhausted(folder: StudyFolder, trials: Mapping[int, Trial]) -> bool:
    """Whether a study ended before its budget was spent, because all candidates were tried or ruled out by plans."""
    from pydantic import ValidationError

    from sweeps.config.compression import SpaceConfig
    from sweeps.config.space import Candidate
    from sweeps.search.loop import RULED_OUT_IN_A_ROW

    last = [trials[number] for number in sorted(trials)[-RULED_OUT_IN_A_ROW:]]
    if len(last) == RULED_OUT_IN_A_ROW and not any(trial.spent for trial in last):
        return True
    levels = {key.removeprefix("space."): value for key, value in folder.identity.items() if key.startswith("space.")}
    try:
        space = SpaceConfig.model_validate_json(json.dumps(levels)).space()
        tried = {Candidate.from_params(trial.params) for trial in trials.values()}
    except (ValidationError, TypeError, ValueError, KeyError):  # written by another version
        return False
    return tried.issuperset(space.candidates())


def _settings(folder: StudyFolder) -> tuple[ConstraintsConfig, str | None]:
    """The constraints and the third objective of a study."""
    from pydantic import ValidationError

    from sweeps.config.schema import ConstraintsConfig, SearchConfig
    from sweeps.storage.study_folder import STUDY_FILE

    limits = {name: folder.identity.get(f"constraints.{name}") for name in ConstraintsConfig.model_fields}
    try:
        search = SearchConfig(third_objective=folder.identity.get("search.third_objective"))
        return ConstraintsConfig(**limits), search.third_objective
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        name = ".".join(map(str, detail["loc"]))
        raise UserError(
            f"{folder.path / STUDY_FILE}: damaged ({name}: {detail['msg'].lower()}); move the folder away, or use "
            "-o study=NAME"
        ) from None


def _trials(folder: StudyFolder) -> dict[int, Trial]:
    from sweeps.storage.databases import OPTUNA, server_problem
    from sweeps.storage.journal import read_journal
    from sweeps.storage.postgres_tables import read_shared_journal

    url = folder.launch.get("storage")
    if url is None:
        return read_journal(folder.path)
    if problem := server_problem(url, OPTUNA):
        raise UserError(f"{folder.path}: its database {url} {problem}")
    return read_shared_journal(url, folder.path.name)


def _row(trial: Trial) -> tuple[str, str, str, str]:

    measurement = trial.measured
    memory_mb = measurement.memory.peak_memory_bytes / 1e6
    return trial.label, trial.name, f"{memory_mb:.3f}", f"{measurement.scores.miou:.4f}"


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
