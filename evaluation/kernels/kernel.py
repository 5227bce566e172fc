"""Description of a kernel of the C program for the planner and the emitter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evaluation.kernels.signature import CallSignature
from evaluation.kernels.structs import Struct


def no_arrays(signature: CallSignature) -> int:
    """Zero bytes, for kernels whose descriptor points to weights only."""
    del signature
    return 0


def one_row(rows: int, length: int) -> tuple[int, int]:
    """(rows, values) that are unpacked together: the kernel of one output channel."""
    del rows
    return 1, length


@dataclass(frozen=True)
class Kernel:
    """A C function that computes a rectangle of an operator's output."""

    function: str
    """Name in C."""
    descriptor: Struct
    """Struct of the constants it reads."""
    array_bytes: Callable[[CallSignature], int] = no_arrays
    """Bytes of the arrays that the descriptor points to, except those counted as weights."""
    unpacked_shape: Callable[[int, int], tuple[int, int]] = one_row
    """From the shape of packed weights, (output channels, values of each), to the shape that is in scratch at a
    time."""

    @property
    def reads_padding(self) -> bool:
        """Whether the descriptor has a pixel of zero points for windows that reach over an edge."""
        return any(name.rpartition(".")[2] == "padding" for name in self.descriptor.fields)

    @property
    def part(self) -> str:
        """File below `deeplab/runtime/c` that defines it, without suffix."""
        return self.descriptor.part
