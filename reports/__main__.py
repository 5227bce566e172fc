"""Write the report of a study anew: `python -m reports studies/streets`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from evaluation.errors import exits_on_user_error
from reports.document import write_report
from reports.record import read_record

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(study: Annotated[Path, typer.Argument(metavar="STUDY_FOLDER", help="E.g. studies/streets.")]) -> None:
    """Write report.pdf into STUDY_FOLDER, from its record.json and the files beside it."""
    path = write_report(read_record(study), study)
    print(os.path.relpath(path))


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
