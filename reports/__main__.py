"""Write the report of a study again: `python -m reports studies/streets`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from evaluation.errors import exits_on_user_error
from reports.document import write_documents
from reports.record_file import read_record

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(
    study: Annotated[Path, typer.Argument(metavar="STUDY_FOLDER", help="E.g. studies/streets.")],
    paper: Annotated[
        Literal["a4", "letter"] | None, typer.Option(help="Size of the pages; the study's report.paper if left out.")
    ] = None,
) -> None:
    """Write report.pdf and front.html into STUDY_FOLDER, from its record.json and the files next to it."""
    record = read_record(study)
    for path in write_documents(record, study, paper or record.config.get("report", {}).get("paper", "a4")):
        print(os.path.relpath(path))


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
