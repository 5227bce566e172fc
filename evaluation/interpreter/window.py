"""Geometry of sliding windows: padding, and the input region under a region of the output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evaluation.graph.padding import AxisPadding, padding_along
from evaluation.graph.regions import Region, extent
from evaluation.interpreter.patch import PatchCall


@dataclass(frozen=True)
class Window:
    """Size, stride, dilation and padding of a filter, (rows, columns) each."""

    filter: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    """Padding above and to the left, elements."""

    def needs(self, region: Region) -> Region:
        """The input rectangle under a region of the output, padding included."""
        spans = []
        for axis, (first, last) in enumerate(((region.top, region.bottom - 1), (region.left, region.right - 1))):
            reach = (self.filter[axis] - 1) * self.dilation[axis] + 1
            start = first * self.stride[axis] - self.before[axis]
            spans.append((start, last * self.stride[axis] - self.before[axis] + reach))
        return Region(*spans[0], *spans[1])


def padding_before(
    size_in: int, size_out: int, filter_size: int, stride: int, dilation: int, padding: AxisPadding
) -> int:
    """Padding above (or left of) a tensor; an odd element of SAME padding is below (or right)."""
    if padding == "VALID":
        return 0
    if not isinstance(padding, str):
        return padding[0]
    reach = (filter_size - 1) * dilation + 1
    return max((size_out - 1) * stride + reach - size_in, 0) // 2


def window_of(call: PatchCall, filter_size: tuple[int, int]) -> Window:
    """The window of a convolution or pooling."""
    attributes = call.operator.attributes
    stride, dilation = tuple(attributes["stride"]), tuple(attributes.get("dilation", (1, 1)))
    size_in, size_out = extent(call.first.tensor), extent(call.output)
    above, left = (
        padding_before(size_in[a], size_out[a], filter_size[a], stride[a], dilation[a], padding_along(attributes, a))
        for a in (0, 1)
    )
    return Window(filter_size, stride, dilation, (above, left))


def taps(window: Window, region: Region) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Yield (filter row, filter column, slice pair into the rectangle of `needs(region)`), row by row."""
    for y in range(window.filter[0]):
        for x in range(window.filter[1]):
            top, left = y * window.dilation[0], x * window.dilation[1]
            yield (
                y,
                x,
                (
                    slice(top, top + (region.rows - 1) * window.stride[0] + 1, window.stride[0]),
                    slice(left, left + (region.columns - 1) * window.stride[1] + 1, window.stride[1]),
                ),
            )
