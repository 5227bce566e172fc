"""Strides of a backbone at an output stride: those past it become dilations."""

from __future__ import annotations

from collections.abc import Iterable


def windows_at(strides: Iterable[int], output_stride: int, before: int) -> tuple[tuple[int, int], ...]:
    """(stride, dilation) of the windows of a backbone, one after the other: past `output_stride`, strides become
    dilations (Chen et al. 2017, section 3.1). The window that would have strided still sees the old spacing.

    Args:
        strides: of each window, as in the classifier.
        output_stride: of the last one.
        before: stride of the map that the first one reads.
    """
    found, stride, dilation = [], before, 1
    for own in strides:
        if stride * own > output_stride:
            found.append((1, dilation))
            dilation *= own
        else:
            found.append((own, dilation))
            stride *= own
    return tuple(found)
