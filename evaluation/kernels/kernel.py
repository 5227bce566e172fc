"""A kernel of the C program, as the planner and the emitter know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evaluation.kernels.signature import CallSignature
from evaluation.kernels.structs import Struct


def no_arrays(signature: CallSignature) -> int:
    """No bytes: the descriptor of most kernels points to nothing but weights."""
    del signature
    return 0


def one_row(rows: int, length: int) -> tuple[int, int]:
    """Packed weights are unpacked one output channel at a time."""
    del rows
    return 1, length


@dataclass(frozen=True)
class Kernel:
    """A C function that computes a rectangle of an operator's output."""

    function: str
    """Its name in C."""
    descriptor: Struct
    """The constants it reads."""
    array_bytes: Callable[[CallSignature], int] = no_arrays
    """Bytes of the arrays that the descriptor points to, those that are counted as weights left out."""
    unpacked_shape: Callable[[int, int], tuple[int, int]] = one_row
    """From the shape of packed weights (output channels, values of each) to what is in scratch at a time of them."""

    @property
    def reads_padding(self) -> bool:
        """Whether it reads a pixel of zero points where its filter reaches over an edge."""
        return any(name.rpartition(".")[2] == "padding" for name in self.descriptor.fields)

    @property
    def part(self) -> str:
        """Of the C program: the file below `deeplab/runtime/c`, without suffix, that holds it."""
        return self.descriptor.part
