"""Export one trial of a study: C sources that run in exactly the planned memory, with the network and its model card.

python -m sweeps.export studies/streets --out network                  the selected configuration
python -m sweeps.export studies/streets --budget 0.2MB --out network   the most accurate within 0.2 MB
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from evaluation.errors import UserError, exits_on_user_error

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def export(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study, e.g. studies/streets.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write: new, empty or of an earlier export.")],
    trial: Annotated[int | None, typer.Option(metavar="N", help="Number of the trial to export.")] = None,
    pick: Annotated[
        Literal["chosen", "knee", "smallest", "best"] | None,
        typer.Option(
            help="chosen: the selected configuration (default); knee, smallest, or best (most accurate) of the front, "
            "without points that exceed their plans."
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="The most accurate trial within this peak memory, e.g. 4MB or 512kB."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(metavar="MIOU", help="The smallest trial that loses at most this mIoU.")
    ] = None,
    check: Annotated[bool, typer.Option(help="Compile the program and run it on search images.")] = True,
) -> None:
    """Write a trial's network: C sources, Makefile, plan, .tflite, labels and a model card; then run the program.

    \b
    python -m sweeps.export studies/streets --out network                  the selected configuration
    python -m sweeps.export studies/streets --out network --budget 0.2MB   the best there

    Exit status: 0; 1 if the program is within plan, but differs from the study's
    report; 2 and one line on an error that the user can correct; 3 if the program
    exceeds its plan, here or, with --no-check, in the study (the files are
    written nevertheless).
    """
    if sum(given is not None for given in (trial, pick, budget, max_drop)) > 1:
        raise UserError("--trial, --pick, --budget and --max-drop each name one network; give one of them")
    # Imported here: `--help` and a mistyped option need none of these.
    from reports.record_file import read_record
    from sweeps.finish.picked import picked_trial
    from sweeps.finish.study_settings import settings_of, with_own_cache

    record = read_record(study)
    chosen, why = picked_trial(record, study, trial, pick, budget, max_drop)
    if why:
        print(why)
    config, candidate = settings_of(record, study, chosen)
    from sweeps.finish.export_bundle import export_trial  # loads TensorFlow, so after the options are checked

    with tempfile.TemporaryDirectory() as scratch:
        settings = with_own_cache(config, study, Path(scratch)), candidate
        if status := export_trial(record, study, chosen, out, check, settings):
            raise typer.Exit(status)


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
