"""What a record looks like in the terminal."""

import io
from pathlib import Path

from rich.console import Console

from reports.content import intervals, warnings_of
from reports.record import StudyRecord
from sweeps.finish.summary import print_outcome


def terminal(record: StudyRecord, folder: Path) -> str:
    """What the terminal shows at the end, on one line."""
    text = io.StringIO()
    told = warnings_of(record, intervals(record))
    print_outcome(record, folder / "report.pdf", Console(file=text, width=200), None, told)
    return " ".join(text.getvalue().split())
