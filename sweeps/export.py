"""Hand over a point of a study: C sources that run in exactly the memory the study promised, and what goes with them.

python -m sweeps.export studies/streets --out network                  the study's choice
python -m sweeps.export studies/streets --budget 0.2MB --out network   the most accurate within 0.2 MB
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from evaluation.errors import UserError, exits_on_user_error

if TYPE_CHECKING:
    from reports.record import StudyRecord, Trial
    from sweeps.config.schema import SweepConfig
    from sweeps.config.space import Candidate

_UNITS = {"": 1e6, "b": 1.0, "kb": 1e3, "mb": 1e6, "kib": 1024.0, "mib": 1024.0**2}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def export(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study, e.g. studies/streets.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; must not hold anything else.")],
    trial: Annotated[int | None, typer.Option(metavar="N", help="This trial, whatever the rules say.")] = None,
    pick: Annotated[
        Literal["chosen", "knee", "smallest", "best"] | None,
        typer.Option(
            help="chosen: the study's choice (the default); knee, smallest, or best (most accurate) of the front, "
            "without points that exceed their plans."
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="The most accurate within so much peak memory, e.g. 4MB or 512kB."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(metavar="MIOU", help="The smallest that loses at most this against the baseline.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Compile the program and run it on search pictures.")] = True,
) -> None:
    """Write a trial's network: C sources, Makefile, plan, .tflite, labels and a model card; then run the program.

    \b
    python -m sweeps.export studies/streets --out network                  its choice
    python -m sweeps.export studies/streets --out network --budget 0.2MB   the best there

    Exit status: 0; 1 where the program is within plan, but not as the study's
    report says; 2 and one line where something is to be put right; 3 where the
    program exceeds its plan, here or, with --no-check, in the study (the files
    are written all the same).
    """
    from reports.record import read_record

    if sum(given is not None for given in (trial, pick, budget, max_drop)) > 1:
        raise UserError("--trial, --pick, --budget and --max-drop each name one network; give one of them")
    record = read_record(study)
    chosen, why = picked(record, study, trial, pick, budget, max_drop)
    if why:
        print(why)
    config, candidate = settings_of(record, study, chosen)
    from sweeps.finish.export_bundle import hand_over

    with tempfile.TemporaryDirectory() as scratch:
        settings = with_own_cache(config, study, Path(scratch)), candidate
        if status := hand_over(record, study, chosen, out, check, settings):
            raise typer.Exit(status)


def with_own_cache(config: SweepConfig, study: Path, scratch: Path) -> SweepConfig:
    """The configuration of a record with caches that may be written: those next to the study, where they are by default
    and exist, or a folder that holds nothing but a stage cache. A record may come from somebody else, and must not make
    an export write to, or remove from, any other folder or address; nor is a cache begun where there is none. It then
    uses `scratch`.
    """
    place = config.cache.place
    out = study.resolve().parent
    if not (out / ".cache").is_dir() or (out / ".cache").is_symlink():
        out = scratch
    if place is not None and ("://" in place or not is_stage_cache(Path(place))):
        place = str(scratch / ".cache")
    return config.model_copy(update={"out": out, "cache": config.cache.model_copy(update={"place": place})})


def is_stage_cache(folder: Path) -> bool:
    """Whether a folder exists and has folders of cache entries in it, and nothing else."""
    from sweeps.storage.blob_store import SUFFIX

    try:
        stages = list(folder.iterdir())
        files = [file for stage in stages for file in stage.iterdir()]
    except OSError:
        return False
    return bool(files) and all(file.suffix in (SUFFIX, ".lock", ".part") for file in files)


def settings_of(record: StudyRecord, study: Path, trial: Trial) -> tuple[SweepConfig, Candidate]:
    """The configuration of a study and the candidate of one of its trials, as its record gives them.

    Raises:
        UserError: either is none that this program knows.
    """
    from pydantic import ValidationError

    from reports.record import RECORD_FILE
    from sweeps.config.schema import SweepConfig
    from sweeps.config.space import Candidate

    try:
        config = SweepConfig.model_validate_json(json.dumps(dict(record.config)))
        return config, Candidate.from_params(trial.params)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        problem = f"config.{'.'.join(map(str, detail['loc']))}: {detail['msg'].lower()}"
    except (TypeError, ValueError) as error:
        problem = f"params of trial {trial.number}: {error}"
    raise UserError(
        f"{study / RECORD_FILE}: damaged: {' '.join(problem.split())[:200]}; correct it, or write it again: "
        "python -m sweeps.launch CONFIG --resume"
    )


def picked(
    record: StudyRecord,
    study: Path,
    number: int | None = None,
    pick: str | None = None,
    budget: str | None = None,
    max_drop: float | None = None,
) -> tuple[Trial, str]:
    """The trial that is asked for, once it is known to have a network; and why this one, where a rule picked it.

    A rule passes over points whose programs were seen to exceed their plans, while another fits.

    Raises:
        UserError: there is none: no such trial, one that was not measured, or nothing that keeps the rule.
    """
    from reports.front import choose, knee, staircase
    from reports.promises import exceeded

    if number is not None:
        return _numbered(record, study, number), ""
    if budget is None and max_drop is None and pick in (None, "chosen"):
        if record.chosen is None:
            raise UserError(f"{study}: nothing was chosen ({record.chosen_reason}) Name a trial with --trial")
        return record.trial(record.chosen), ""
    over = exceeded(record.executions)
    points = staircase(record.feasible_points())
    if not points:
        raise UserError(f"{study}: no feasible trial completed, so there is nothing to pick from; see its report")
    if pick is not None:
        front = [point for point in points if point.number not in over] or points
        point = {"knee": knee(front), "smallest": front[0], "best": front[-1]}[pick]
        left_out = ", ".join(f"trial-{point.number:03d}" for point in points if point not in front)
        return record.trial(point.number), f"Left out, because they exceed their plans: {left_out}." if left_out else ""
    baseline = record.baseline.measurement.scores.miou if record.baseline else None
    rule = ("budget", megabytes_of(budget), None) if budget is not None else ("max_drop", None, max_drop)
    found, reason = choose(points, baseline, *rule, over)
    if found is None:
        raise UserError(f"{study}: {reason}")
    return record.trial(found.number), reason


def megabytes_of(size: str) -> float:
    """MB (10^6 bytes) of "4MB", "512kB", "1.5 MiB" or a bare number of MB.

    Raises:
        UserError: it is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", size)
    if match is None or match[2].lower() not in _UNITS or float(match[1]) == 0:
        raise UserError(f"--budget {size}: is no size; write it as 4MB, 512kB, 300000B or 1.5MiB (MB = 10^6 bytes)")
    return float(match[1]) * _UNITS[match[2].lower()] / 1e6


def _numbered(record: StudyRecord, study: Path, number: int) -> Trial:
    known = {trial.number: trial for trial in record.trials}
    if number not in known:
        has = f"it has {min(known)} to {max(known)}" if known else "it has none"
        raise UserError(f"{study}: there is no trial {number}; {has}")
    if known[number].measurement is None:
        reason = known[number].reason or "it has no measurement"
        raise UserError(f"{study}: trial {number} is {known[number].state} ({reason}); export one that is complete")
    return known[number]


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
