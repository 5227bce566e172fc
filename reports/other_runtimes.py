"""What LiteRT and TFLM need for the same networks, as the report shows it next to our own."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.other_runtimes import Runtime, RuntimeUse
from reports.record import OtherRuntimes, StudyRecord


@dataclass(frozen=True)
class Mark:
    """One runtime's need for one network."""

    number: int
    """The trial."""
    runtime: Runtime
    title: str
    memory_bytes: int
    miou: float


def total_bytes(use: RuntimeUse, other_runtimes: OtherRuntimes) -> int | None:
    """What compares with a peak memory: of LiteRT what it adds to a process that is up, file, arena and workspace; of
    TFLM, which needs no process, its arena and the file that holds the weights. None where it was not measured."""
    if use.runtime is Runtime.TFLM:
        if use.arena_bytes is None or other_runtimes.file_bytes is None:
            return None
        return use.arena_bytes + (use.persistent_bytes or 0) + other_runtimes.file_bytes
    return use.resident_bytes


def other_marks(record: StudyRecord) -> tuple[Mark, ...]:
    """Marks for the figure of the front, baseline's first."""
    marks = []
    measured = {trial.number: trial.measurement for trial in record.trials if trial.measurement is not None}
    for number in sorted(record.other_runtimes.keys() & measured.keys()):
        other_runtimes, measurement = record.other_runtimes[number], measured[number]
        for use in other_runtimes.uses:
            size = total_bytes(use, other_runtimes)
            if size is not None and size > 0:  # the axis is logarithmic
                marks.append(Mark(number, use.runtime, use.runtime.label, size, measurement.scores.miou))
    return tuple(marks)
