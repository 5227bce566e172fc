"""Memory of LiteRT and TFLM for the same networks, compared with ours."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.other_runtimes import Runtime, RuntimeUse
from reports.record import OtherRuntimes, StudyRecord


@dataclass(frozen=True)
class Mark:
    """One runtime's memory for one network, as a point of the figure of the front."""

    number: int
    """Number of the trial."""
    runtime: Runtime
    title: str
    memory_bytes: int
    miou: float


def total_bytes(use: RuntimeUse, other_runtimes: OtherRuntimes) -> int | None:
    """Bytes that correspond to our peak memory; None if not measured. LiteRT: its addition to a running process (file,
    arena and workspace). TFLM, which needs no process: its arena and the file with the weights."""
    if use.runtime is Runtime.TFLM:
        if use.arena_bytes is None or other_runtimes.file_bytes is None:
            return None
        return use.arena_bytes + (use.persistent_bytes or 0) + other_runtimes.file_bytes
    return use.resident_bytes


def other_marks(record: StudyRecord) -> tuple[Mark, ...]:
    """Points for the figure of the front, those of the baseline first."""
    marks = []
    measured = {trial.number: trial.measurement for trial in record.trials if trial.measurement is not None}
    for number in sorted(record.other_runtimes.keys() & measured.keys()):
        other_runtimes, measurement = record.other_runtimes[number], measured[number]
        for use in other_runtimes.uses:
            size = total_bytes(use, other_runtimes)
            if size is not None and size > 0:  # the axis is logarithmic
                marks.append(Mark(number, use.runtime, use.runtime.label, size, measurement.scores.miou))
    return tuple(marks)
