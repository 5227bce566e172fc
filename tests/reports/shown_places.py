"""What a record looks like in the terminal."""

import io
from pathlib import Path

from rich.console import Console

from reports.content import intervals, warnings_of
from reports.record import StudyRecord
from sweeps.finish.summary import End, print_outcome


def terminal(record: StudyRecord, folder: Path) -> str:
    """What the terminal shows at the end, on one line."""
    text = io.StringIO()
    told = tuple(warnings_of(record, intervals(record)))
    print_outcome(End(record, folder, (folder / "report.pdf",), None, told, None), Console(file=text, width=200))
    return " ".join(text.getvalue().split())
