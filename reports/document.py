"""The PDF report, from figures, text and the Typst template `report.typ`. Equal records give equal bytes."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from evaluation.errors import UserError
from evaluation.planner.show.timeline import Timeline
from reports.content import Intervals, class_ious, content, intervals, warnings_of
from reports.content_savings import waterfall_rows
from reports.cost_figures import time_figure, waterfall_figure
from reports.figures import class_figure, timeline_figure
from reports.files import REPORT_FILE, existing_file, write_into
from reports.front_figure import front_figure
from reports.importance import importance
from reports.interactive import write_front_page
from reports.progress import growth
from reports.record import OverlayRow, StudyRecord
from reports.search_figures import growth_figure, importance_figure, slices_figure
from reports.timeline import read_timeline
from reports.typeset import typeset

MOST_OVERLAY_PIXELS = 4096


def write_documents(
    record: StudyRecord, folder: Path, paper: str = "a4", found: Intervals | None = None
) -> tuple[Path, Path]:
    """Write `report.pdf` and `front.html` into the study's folder, and return their paths."""
    found = intervals(record) if found is None else found
    report = write_report(record, folder, paper, found)
    return report, write_front_page(record, found.search, found.on_front, warnings_of(record, found), folder)


def write_report(record: StudyRecord, folder: Path, paper: str = "a4", found: Intervals | None = None) -> Path:
    """Write `report.pdf` into the study's folder, and return its path.

    Args:
        paper: a4 or letter.
        found: intervals of this record; None: they are computed.

    Raises:
        UserError: the folder cannot be written, or a plan or image that the record names is damaged.
    """
    timelines = _timelines(record, folder)
    found = intervals(record) if found is None else found
    page = content(record, found, timelines)
    page["paper"] = paper
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        rows = zip(page["overlays"], record.overlays, strict=True)
        page["overlays"] = [
            row | {"files": brought}
            for index, (row, files) in enumerate(rows)
            if (brought := _copy_images(files, folder, root, index)) is not None
        ]
        drawn = _figures(record, found, timelines)
        page["figures"] = {name: figure is not None for name, figure in drawn.items()}
        for name, figure in drawn.items():
            if figure is not None:
                (root / f"{name}.svg").write_bytes(figure)
        pdf = typeset("report.typ", page, root, str(folder))
    return write_into(folder, REPORT_FILE, pdf)


def _figures(record: StudyRecord, found: Intervals, timelines: Mapping[int, Timeline]) -> dict[str, bytes | None]:
    """Figures as SVG by name; None for a figure without data."""
    titled = [(_title(record, number), timeline) for number, timeline in timelines.items()]
    ious, saved, grown, shares = class_ious(record), waterfall_rows(record), growth(record), importance(record)
    return {
        "front": front_figure(record, found.search),
        "falls": waterfall_figure(saved) if saved else None,
        "time": time_figure(record),
        "timeline": timeline_figure(titled) if titled else None,
        "growth": growth_figure(grown) if grown and len(grown.trials) > 1 else None,
        "slices": slices_figure(record),
        "importance": importance_figure(shares) if shares else None,
        "classes": class_figure(*ious) if ious else None,
    }


def _timelines(record: StudyRecord, folder: Path) -> dict[int, Timeline]:
    """The plans of baseline and selected configuration whose files exist, by trial number."""
    found = {}
    for trial in (record.baseline, record.choice):
        if trial is not None and trial.plan_file:
            file = existing_file(folder, trial.plan_file)
            if file is not None:
                found[trial.number] = read_timeline(file)
    return found


def _title(record: StudyRecord, number: int) -> str:
    trial = record.trial(number)
    return f"{'Baseline' if number == 0 else 'Chosen'}: {trial.name}"


def _copy_images(row: OverlayRow, folder: Path, root: Path, index: int) -> list[str] | None:
    """Copy the images of one row into `root`, which the compiler may read, and return their new names; None if one is
    missing. The new names do not depend on those in the record."""
    wanted = (row.image_file, row.label_file, row.baseline_file, row.choice_file)
    files = [file for name in wanted if (file := existing_file(folder, name)) is not None]
    if len(files) < len(wanted):
        return None
    names = [f"overlay-{index}-{place}.png" for place in range(len(files))]
    for file, name in zip(files, names, strict=True):
        _check_image(file)
        shutil.copyfile(file, root / name)
    return names


def _check_image(file: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as image:
                if max(image.size) > MOST_OVERLAY_PIXELS:
                    raise ValueError("too large")
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UserError(
            f"{file}: no PNG image of at most {MOST_OVERLAY_PIXELS} pixels a side; remove it, and the report is "
            "written without its row"
        ) from None
