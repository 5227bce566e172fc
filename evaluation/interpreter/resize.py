"""RESIZE_BILINEAR in TFLite's three conventions, its fusion with ARG_MAX, and RESIZE_NEAREST_NEIGHBOR.

int8 and int16 interpolate in fixed point with positions in 1/1024 (`reference_ops::ResizeBilinearInteger`); float32 and
uint8 in float32 (`reference_ops::ResizeBilinear`, which rounds uint8 half up).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evaluation.graph.regions import Region, extent
from evaluation.interpreter.patch import NumberT, PatchCall, Values
from evaluation.interpreter.requantize import Integers, round_half_away

Reals = npt.NDArray[np.float32]

ONE = 1 << 10
"""1.0 in the fixed point of positions."""


def resize_bilinear(call: PatchCall) -> Values:
    """RESIZE_BILINEAR over a region, any dtype; computed row by row, so that working values stay in cache."""
    return np.concatenate([_resize(call, row) for row in _rows(call.region)])


def _rows(region: Region) -> list[Region]:
    return [Region(row, row + 1, region.left, region.right) for row in range(region.top, region.bottom)]


def resize_argmax(call: PatchCall) -> Values:
    """RESIZE_BILINEAR followed by ARG_MAX over the channels; logits exist for one row at a time.

    Values are compared after rounding, as in the unfused operators; ties go to the first class.
    """
    return np.concatenate([np.argmax(_resize(call, row), axis=2)[..., np.newaxis] for row in _rows(call.region)])


def resize_nearest(call: PatchCall) -> Values:
    """RESIZE_NEAREST_NEIGHBOR over a region, any dtype."""
    size_in, size_out, region = extent(call.first.tensor), extent(call.output), call.region
    attributes = call.operator.attributes
    align, half = attributes.get("align_corners", False), attributes.get("half_pixel_centers", False)
    rows = _nearest(np.arange(region.top, region.bottom), size_in[0], size_out[0], align, half)
    columns = _nearest(np.arange(region.left, region.right), size_in[1], size_out[1], align, half)
    return call.first.at(rows, columns)


def _nearest(out: Integers, size_in: int, size_out: int, align_corners: bool, half_pixel: bool) -> Integers:
    """The input position of each output position, int64 (TFLite `GetNearestNeighbor`, in float32)."""
    aligned = align_corners and size_out > 1
    step = np.float32(size_in - aligned) / np.float32(size_out - aligned)
    position = (out.astype(np.float32) + np.float32(0.5 if half_pixel else 0.0)) * step
    nearest = round_half_away(position) if aligned else np.floor(position)
    return np.clip(nearest.astype(np.int64), 0, size_in - 1)


def _resize(call: PatchCall, region: Region) -> Values:
    if call.first.tensor.dtype in ("int8", "int16"):
        corners, down, across = _corners(call, region, _fixed_positions)
        return _blend_fixed([corner.astype(np.int64) for corner in corners], down, across)
    corners, from_top, from_left = _corners(call, region, _real_positions)
    blended = _blend_real([corner.astype(np.float32) for corner in corners], from_top, from_left)
    return blended if call.output.dtype == "float32" else (blended + np.float32(0.5)).astype(np.int64)


def _corners(
    call: PatchCall,
    region: Region,
    positions: Callable[[Integers, int, int, bool, bool], tuple[Integers, Integers, npt.NDArray[NumberT]]],
) -> tuple[list[Values], npt.NDArray[NumberT], npt.NDArray[NumberT]]:
    """The corners (top left, top right, bottom left, bottom right) between which a region is interpolated, and the
    weights of the bottom and of the right ones, (rows, 1, 1) and (1, columns, 1)."""
    size_in, size_out = extent(call.first.tensor), extent(call.output)
    align, half = call.operator.attributes["align_corners"], call.operator.attributes["half_pixel_centers"]
    top, bottom, down = positions(np.arange(region.top, region.bottom), size_in[0], size_out[0], align, half)
    left, right, across = positions(np.arange(region.left, region.right), size_in[1], size_out[1], align, half)
    corners = [call.first.at(rows, columns) for rows in (top, bottom) for columns in (left, right)]
    return corners, down[:, np.newaxis, np.newaxis], across[np.newaxis, :, np.newaxis]


def _fixed_positions(
    out: Integers, size_in: int, size_out: int, align_corners: bool, half_pixel: bool
) -> tuple[Integers, Integers, Integers]:
    """Lower and upper neighbours of output positions, and the weight of the upper in 1/1024; all int64."""
    step = (ONE * size_in + size_out // 2) // size_out
    if align_corners and size_out > 1:
        step = (ONE * (size_in - 1) + (size_out - 1) // 2) // (size_out - 1)
    scaled = out.astype(np.int64) * step
    if half_pixel:
        scaled = scaled + step // 2 - ONE // 2
    lower = np.maximum(_truncated(scaled), 0)
    upper = np.minimum(_truncated(scaled + ONE - 1), size_in - 1)
    # The rounded step can lead beyond the edge; the reference reads the last row there.
    return np.minimum(lower, size_in - 1), upper, scaled - ONE * lower


def _truncated(scaled: Integers) -> Integers:
    """scaled / 1024 as C divides integers, towards zero."""
    return np.where(scaled >= 0, scaled // ONE, -(-scaled // ONE))


def _real_positions(
    out: Integers, size_in: int, size_out: int, align_corners: bool, half_pixel: bool
) -> tuple[Integers, Integers, Reals]:
    """Lower and upper neighbours of output positions, int64, and the weight of the upper, float32."""
    step = np.float32(size_in) / np.float32(size_out)
    if align_corners and size_out > 1:
        step = np.float32(size_in - 1) / np.float32(size_out - 1)
    scaled = out.astype(np.float32) * step
    if half_pixel:
        scaled = (out.astype(np.float32) + np.float32(0.5)) * step - np.float32(0.5)
    floor = np.floor(scaled).astype(np.int64)
    lower = np.maximum(floor, 0)
    upper = np.minimum(np.ceil(scaled).astype(np.int64), size_in - 1)
    return np.minimum(lower, size_in - 1), np.maximum(upper, 0), scaled - lower.astype(np.float32)


def _blend_fixed(corners: list[Integers], down: Integers, across: Integers) -> Integers:
    """Bilinear interpolation of the corners (as of `_corners`), rounded half away from zero."""
    top_left, top_right, bottom_left, bottom_right = corners
    total = (
        top_left * (ONE - down) * (ONE - across)
        + bottom_left * down * (ONE - across)
        + top_right * (ONE - down) * across
        + bottom_right * down * across
    )
    rounded: Integers = np.sign(total) * ((np.abs(total) + ONE * ONE // 2) // (ONE * ONE))
    return rounded


def _blend_real(corners: list[Reals], down: Reals, across: Reals) -> Reals:
    """Bilinear interpolation in float32, in the reference's order of operations."""
    top_left, top_right, bottom_left, bottom_right = corners
    one = np.float32(1.0)
    blended: Reals = (
        top_left * (one - down) * (one - across)
        + bottom_left * down * (one - across)
        + top_right * (one - down) * across
        + bottom_right * down * across
    )
    return blended
