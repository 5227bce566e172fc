"""The PDF: figures and text put into the Typst template `report.typ`. The same record gives the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path

import typst

from evaluation.errors import UserError
from reports.content import class_ious, content, intervals
from reports.figures import class_figure, front_figure, timeline_figure
from reports.record import OverlayRow, StudyRecord
from reports.timeline import Timeline, read_timeline

REPORT_FILE = "report.pdf"
PDF_STANDARDS = ["ua-1"]
"""PDF/UA-1 (ISO 14289-1): the compiler refuses a document that a screen reader could not follow."""


def write_report(record: StudyRecord, folder: Path) -> Path:
    """Write `report.pdf` into the study's folder, and return its path.

    Raises:
        UserError: the folder cannot be written.
    """
    timelines = _timelines(record, folder)
    found = intervals(record)
    page = content(record, found, timelines)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "front.svg").write_bytes(front_figure(record, found.search))
        page["figures"] = {"timeline": bool(timelines), "classes": False}
        if timelines:
            titled = [(_title(record, number), timeline) for number, timeline in timelines.items()]
            (root / "timeline.svg").write_bytes(timeline_figure(titled))
        ious = class_ious(record)
        if ious is not None:
            (root / "classes.svg").write_bytes(class_figure(*ious))
            page["figures"]["classes"] = True
        page["overlays"] = [
            row for row, files in zip(page["overlays"], record.overlays, strict=True) if _bring(files, folder, root)
        ]
        (root / "content.json").write_text(json.dumps(page), encoding="utf-8")
        shutil.copyfile(str(resources.files("reports") / "report.typ"), root / "report.typ")
        pdf = typst.compile(
            root / "report.typ", root=root, format="pdf", ignore_system_fonts=True, pdf_standards=PDF_STANDARDS
        )
    path = folder / REPORT_FILE
    temporary = path.with_suffix(".part")
    try:
        temporary.write_bytes(pdf)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def _timelines(record: StudyRecord, folder: Path) -> dict[int, Timeline]:
    """Plans of baseline and choice, as far as their files are there."""
    found = {}
    for trial in (record.baseline, record.choice):
        if trial is not None and trial.plan_file and (folder / trial.plan_file).exists():
            found[trial.number] = read_timeline(folder / trial.plan_file)
    return found


def _title(record: StudyRecord, number: int) -> str:
    trial = record.trial(number)
    return f"{'Baseline' if number == 0 else 'Chosen'}: {trial.name}"


def _bring(row: OverlayRow, folder: Path, root: Path) -> bool:
    """Copy the pictures of one row to where the compiler may read them; False where one is missing."""
    files = (row.picture_file, row.label_file, row.baseline_file, row.choice_file)
    if not all((folder / name).exists() for name in files):
        return False
    for name in files:
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / name, root / name)
    return True
