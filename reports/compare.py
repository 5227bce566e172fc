"""Comparison of two studies: their fronts on one axis, their hypervolumes, and the differences of their settings.

python -m reports.compare studies/streets studies/streets-narrow
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evaluation.accuracy import UNRELIABLE_NOTE, paired_difference_interval
from evaluation.addresses import masked_address
from evaluation.errors import UserError, exits_on_user_error
from reports import format as fmt
from reports.files import replace_file
from reports.front import FrontPoint, hypervolume, pareto_front, staircase
from reports.promises import PlanStatus, plan_status
from reports.record import StudyRecord, Trial
from reports.record_file import read_record

COMPARISON_FILE = "comparison.pdf"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Comparison:
    """The comparison of two studies as text."""

    names: tuple[str, str]
    summary: tuple[tuple[str, str, str], ...]
    """Rows (quantity, value in the first, value in the second)."""
    changed: tuple[tuple[str, str, str], ...]
    """Differences of configuration, data and code: rows (key, value in the first, value in the second)."""
    verdict: str
    """One or two sentences."""


def compare(first: StudyRecord, second: StudyRecord, names: tuple[str, str]) -> Comparison:
    """Compare two studies. Both hypervolumes have one reference, the larger of the two baselines' memory."""
    volumes = _hypervolumes(first, second)

    def row(what: str, of: Callable[[StudyRecord], str]) -> tuple[str, str, str]:
        return what, of(first), of(second)

    rows = (
        row("trials, complete of all", lambda record: f"{_complete(record)} of {len(record.trials)}"),
        row("time", lambda record: fmt.duration(record.environment.seconds)),
        row("points on the front", lambda record: str(len(record.front))),
        ("hypervolume", *(("\u2013", "\u2013") if volumes is None else (f"{volumes[0]:.4f}", f"{volumes[1]:.4f}"))),
        row("baseline", lambda record: _described(record.baseline)),
        row("chosen", _chosen),
        row("C programs of the front", _programs),
        row("chosen by", lambda record: str(record.config.get("choice", {}).get("rule", "\u2013"))),
    )
    return Comparison(names, rows, tuple(_changes(first, second)), _verdict(first, second, names, volumes))


def _hypervolumes(first: StudyRecord, second: StudyRecord) -> tuple[float, float] | None:
    """The hypervolumes of both fronts in one box; None where neither study has a baseline."""
    reference = max(_baseline_bytes(first), _baseline_bytes(second))
    if not reference:
        return None
    return hypervolume(first.feasible_points(), reference), hypervolume(second.feasible_points(), reference)


def _baseline_bytes(record: StudyRecord) -> float:
    return float(record.baseline.measured.memory.peak_memory_bytes) if record.baseline else 0.0


def _complete(record: StudyRecord) -> int:
    return sum(trial.measurement is not None for trial in record.trials)


def _described(trial: Trial | None) -> str:
    if trial is None or trial.measurement is None:
        return "none"
    scores, memory = trial.measurement.scores, trial.measurement.memory
    return f"{trial.name}: {fmt.megabytes(memory.peak_memory_bytes)}, mIoU {fmt.miou(scores.miou)}"


def _chosen(record: StudyRecord) -> str:
    """The selected configuration, with a note if its program exceeds its plan."""
    status = PlanStatus.WITHIN if record.chosen is None else plan_status(record.executions.get(record.chosen))
    return _described(record.choice) + {"no": " (exceeds plan)"}.get(status.value, "")


def _programs(record: StudyRecord) -> str:
    """Counts by plan status: "12 within plan", "2 within plan, 10 exceed plan", "12 not run"."""
    counts = Counter(plan_status(record.executions.get(equal[0])) for equal in record.front)
    words = {PlanStatus.WITHIN: "within plan", PlanStatus.EXCEEDED: "exceed plan", PlanStatus.NOT_RUN: "not run"}
    return ", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status]) or "none"


def _changes(first: StudyRecord, second: StudyRecord) -> list[tuple[str, str, str]]:
    """The differing keys, without names and paths."""
    sides = []
    for record in (first, second):
        environment, data = record.environment, record.data
        sides.append(
            {
                **_flat({name: value for name, value in record.config.items() if name not in ("study", "out")}),
                **({f"data: {name}": value[:24] for name, value in data.fingerprints.items()} if data else {}),
                "code: commit": (environment.git_commit or "none")[:12] + (" changed" if environment.git_dirty else ""),
                "code: constraints.txt": (environment.lock or "none")[:12],
                **{f"code: {name}": version for name, version in environment.versions.items()},
                "machine": environment.machine,
            }
        )
    keys = dict.fromkeys((*sides[0], *sides[1]))
    return [
        (key, sides[0].get(key, "absent"), sides[1].get(key, "absent"))
        for key in keys
        if sides[0].get(key) != sides[1].get(key)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[prefix + key] = ", ".join(masked_address(str(item)) for item in value)
        else:
            flat[prefix + key] = "null" if value is None else masked_address(str(value))
    return flat


def _verdict(
    first: StudyRecord, second: StudyRecord, names: tuple[str, str], volumes: tuple[float, float] | None
) -> str:
    """Sentences on which front dominates more, and on the difference of the selected configurations in mIoU."""
    said = []
    if volumes is not None and volumes[0] != volumes[1]:
        better, worse = (0, 1) if volumes[0] > volumes[1] else (1, 0)
        said.append(f"The front of {names[better]} dominates more ({volumes[better]:.4f} to {volumes[worse]:.4f}).")
    elif volumes is not None:
        said.append(f"Both fronts dominate the same ({volumes[0]:.4f}).")
    shares = _joint_front(first, second)
    if shares:
        said.append(
            f"Of the {sum(shares)} points that are left on a joint front {shares[0]} are of {names[0]} and {shares[1]} "
            f"of {names[1]}."
        )
    if first.choice and second.choice:
        try:
            interval = paired_difference_interval(second.choice.measured.scores, first.choice.measured.scores, seed=0)
        except ValueError:
            said.append("The two were not scored on the same images, so their scores cannot be paired.")
        else:
            said.append(
                f"From the selected configuration of {names[0]} to that of {names[1]} mIoU changes by "
                f"{fmt.signed(interval.estimate)} "
                f"(95 % paired interval {fmt.signed_interval(interval)})."
                + ("" if interval.is_reliable else f" {UNRELIABLE_NOTE}.")
            )
    return " ".join(said)


def _joint_front(first: StudyRecord, second: StudyRecord) -> tuple[int, int] | None:
    """Number of points of each study on the front of both together; equal points count for both."""
    pooled: list[FrontPoint] = []
    sides: list[int] = []
    for side, record in enumerate((first, second)):
        for point in staircase(record.feasible_points()):
            pooled.append(FrontPoint(len(sides), point.miou, point.peak_memory_bytes))
            sides.append(side)
    if len(set(sides)) < 2:
        return None
    left = [sides[point.number] for equal in pareto_front(pooled) for point in equal]
    return left.count(0), left.count(1)


def comparison_figure(first: StudyRecord, second: StudyRecord, names: tuple[str, str]) -> bytes:
    """Figure of both fronts as staircases in the plane of peak memory and mIoU, other trials pale; SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    from evaluation.planner.show.figure_style import STYLE
    from reports.style import BLUE, ORANGE, VERMILION, WIDTH, grid, log_memory_axis, pad_vertical_axis, svg

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        axes = figure.add_subplot()
        styles = ((BLUE, "o", "-", VERMILION), (ORANGE, "s", "--", VERMILION))
        for record, name, (colour, marker, line, chosen) in zip((first, second), names, styles, strict=True):
            points = record.feasible_points()
            memory, miou = [p.peak_memory_bytes / 1e6 for p in points], [p.miou for p in points]
            axes.plot(memory, miou, marker, color=colour, alpha=0.3, markersize=4, markeredgewidth=0)
            front = staircase(points)
            memory, miou = [p.peak_memory_bytes / 1e6 for p in front], [p.miou for p in front]
            axes.step(memory, miou, where="post", color=colour, linewidth=1.2, linestyle=line)
            axes.plot(memory, miou, marker, color=colour, markersize=6, label=f"front of {name}")
            if record.choice is not None:
                taken = record.choice.measured
                axes.plot([taken.memory.peak_memory_bytes / 1e6], [taken.scores.miou], marker, markersize=11,
                          markerfacecolor="none", markeredgecolor=chosen, markeredgewidth=1.4,
                          label=f"chosen in {name}")  # fmt: skip
        if first.feasible_points() or second.feasible_points():
            log_memory_axis(axes)
            pad_vertical_axis(axes)
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper center", ncols=2)
        axes.set_xlabel("peak memory, MB (logarithmic)")
        axes.set_ylabel("mIoU on the search images")
        grid(axes)
        return svg(figure)


def write_comparison(first: StudyRecord, second: StudyRecord, names: tuple[str, str], path: Path, paper: str) -> None:
    """Write the comparison as a PDF.

    Raises:
        UserError: `path` cannot be written.
    """
    from reports.typeset import typeset

    found = compare(first, second, names)
    page = {
        "paper": paper,
        "names": list(names),
        "verdict": found.verdict,
        "summary": [list(row) for row in found.summary],
        "changed": [list(row) for row in found.changed],
    }
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "fronts.svg").write_bytes(comparison_figure(first, second, names))
        pdf = typeset("comparison.typ", page, root, names[0])
    try:
        replace_file(path, pdf)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give another place with --out") from None


def distinct_names(studies: tuple[Path, Path], records: tuple[StudyRecord, StudyRecord]) -> tuple[str, str]:
    """The names of the two studies, or their folders if the names are equal."""
    names = records[0].study, records[1].study
    return names if names[0] != names[1] else (str(studies[0]), str(studies[1]))


@app.command()
def main_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a study, e.g. studies/streets.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of the other study.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="PDF to write.")] = Path(COMPARISON_FILE),
    paper: Annotated[str, typer.Option(help="a4 or letter.")] = "a4",
) -> None:
    """Print how two studies differ, and write their fronts on one axis as a PDF.

    Both hypervolumes have one reference. Differences in configuration, data, code and machine are listed, and the two
    selected configurations are compared on the images they share.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    records = read_record(first), read_record(second)
    names = distinct_names((first, second), records)
    found = compare(*records, names)
    console = Console(highlight=False)
    for title, rows in (("", found.summary), ("differences", found.changed)):
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title or None, title_justify="left")
        for name in ("", *names):
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*row)
        if rows:
            console.print(table)
    console.print(found.verdict)
    write_comparison(*records, names, out, paper)
    console.print(os.path.relpath(out))


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
