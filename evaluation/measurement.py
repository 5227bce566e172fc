"""`Measurement`: everything one trial measured of one candidate. The contract between trial, study and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluation.accuracy import Scores
from evaluation.planner import Plan

NAMED_AT_HIGH_WATER = 4


@dataclass(frozen=True)
class MemoryFigures:
    """Memory by plan. `peak_memory_bytes = arena + runtime + weights (where the target keeps them in RAM)`."""

    arena_bytes: int
    """Highest address used in the one arena: frame, activations, row caches, scratch, label map."""
    weights_bytes: int
    """Packed weights, sparse indices, biases, multipliers, shifts, zero points, as they are in the shipped program."""
    flash_bytes: int
    """Bytes the target keeps in flash: the weights of an `mcu`, 0 where they are in RAM."""
    runtime_bytes: int
    """Descriptors, tables and the stack bound of the C runtime."""
    peak_memory_bytes: int
    lower_bound_bytes: int
    """Largest sum of sizes alive at one step of the same schedule: no arena of this schedule can be smaller."""
    proven: bool
    """Whether the offsets are proven optimal for the schedule."""
    high_water: str
    """The step at which the arena is fullest, and the tensors alive there, in words."""

    @classmethod
    def of_plan(cls, plan: Plan) -> MemoryFigures:
        alive = [plan.buffers[index] for index in plan.high_water_buffers]
        named = ", ".join(f"{buffer.name} ({buffer.size_bytes} B)" for buffer in alive[:NAMED_AT_HIGH_WATER])
        more = f" and {len(alive) - NAMED_AT_HIGH_WATER} more" if len(alive) > NAMED_AT_HIGH_WATER else ""
        return cls(
            arena_bytes=plan.arena_bytes,
            weights_bytes=plan.weights_bytes,
            flash_bytes=plan.flash_bytes,
            runtime_bytes=plan.runtime_bytes,
            peak_memory_bytes=plan.peak_memory_bytes,
            lower_bound_bytes=plan.lower_bound_bytes,
            proven=plan.proven,
            high_water=f"step {plan.high_water_step} of {len(plan.steps)}: {named}{more}",
        )


@dataclass(frozen=True)
class Cost:
    """Cost of computing one image."""

    macs: int
    """Multiply-accumulates, halo rows that are computed twice included."""
    mac_overhead: float
    """macs / macs of the untiled network - 1."""
    parameters: int
    """Weights and biases of the compressed network, zeros of an unstructured pruning included."""


@dataclass(frozen=True)
class Latency:
    """Time of one image in the C program, one thread, on the study's own machine; least of several runs."""

    program_ms: float
    untiled_ms: float
    """Time of the same network's untiled program, whose runs alternate with the tiled one's."""

    @property
    def ratio(self) -> float:
        """Time relative to the untiled program: 1.1 is a tenth more."""
        return self.program_ms / self.untiled_ms


@dataclass(frozen=True)
class Execution:
    """Measurements of a candidate's C program, run in a process of its own."""

    images: int
    label_agreement: float
    """Share of those images' label pixels that equal those that were scored, in [0, 1]."""
    arena_bytes: int
    """Bytes of the planned arena."""
    end_bytes: int
    """One past the last byte of any planned buffer; the arena may end with padding to a whole alignment unit."""
    high_water_bytes: int
    """One past the highest byte of the arena that a run wrote, over runs that found it filled with two patterns."""
    written_outside: bool
    """Whether a run changed a byte around the arena."""
    repeatable: bool
    """Whether the labels were the same whatever the arena held before."""
    stack_bytes: int
    """Deepest stack measured."""
    stack_bound_bytes: int
    """Bound of the stack on the study's own machine, derived from the compiled program; `runtime_bytes` counts the
    stack of the target's instruction set."""
    milliseconds: float
    """Time of one image, least of several runs."""
    failure: str | None = None
    """The end of a program that crashed or hung, e.g. "died of SIGSEGV"; nothing else was measured then."""

    @property
    def excesses(self) -> tuple[str, ...]:
        """Every planned memory figure that the program exceeded, in words; none where it is within plan."""
        if self.failure is not None:
            return (f"the program did not run to its end ({self.failure})",)
        written, end, arena = self.high_water_bytes, self.end_bytes, self.arena_bytes
        over_stack = self.stack_bytes - self.stack_bound_bytes
        checks = (
            (
                written > end,
                f"the arena was written up to byte {written:,}, {written - end:,} beyond the {end:,} planned",
            ),
            (
                written < end,
                f"the arena was written up to byte {written:,} only, but its plan ends at byte {end:,}, "
                f"{end - written:,} later",
            ),
            (end > arena, f"the planned buffers end at byte {end:,}, {end - arena:,} beyond the arena of {arena:,}"),
            (self.written_outside, "bytes around the arena were written"),
            (
                over_stack > 0,
                f"the stack took {self.stack_bytes:,} bytes, {over_stack:,} over its bound of "
                f"{self.stack_bound_bytes:,}",
            ),
            (not self.repeatable, "the labels depend on what the arena held before (not repeatable)"),
        )
        return tuple(words for is_exceeded, words in checks if is_exceeded)

    @property
    def holds(self) -> bool:
        """Whether the program is within plan: it exceeded no planned memory figure."""
        return not self.excesses


@dataclass(frozen=True)
class Measurement:
    """Accuracy on the search images, planned memory and cost of one candidate."""

    scores: Scores
    memory: MemoryFigures
    cost: Cost
    label_agreement: float | None = None
    """Share of label pixels equal to the integer interpreter's, in [0, 1]. None where it was not measured."""
    latency: Latency | None = None
    """Latency of the C program; None without a C compiler."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage that ran; for a stage answered from the cache, the time of the look-up."""
