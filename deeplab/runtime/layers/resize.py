"""Descriptors of RESIZE_BILINEAR on signed values, alone and fused with ARG_MAX."""

from __future__ import annotations

from deeplab.runtime.layer import Fields, Fillers, KernelSite
from evaluation.graph.regions import extent
from evaluation.kernels.descriptors import int8, low_bit

ONE = 1 << 10
"""1.0 in the fixed point of positions."""


def position_fields(site: KernelSite) -> Fields:
    """Sizes, steps and offsets in fixed point: the members of `struct resize_layer`."""
    size_in = extent(site.source)
    size_out = extent(site.graph.tensors[site.operator.outputs[0]])
    attributes = site.operator.attributes
    fields: Fields = {"in_rows": size_in[0], "in_columns": size_in[1], "channels": size_in[2]}
    for axis, name in enumerate(("rows", "columns")):
        rows_in, rows_out = size_in[axis], size_out[axis]
        step = (ONE * rows_in + rows_out // 2) // rows_out
        if attributes["align_corners"] and rows_out > 1:
            step = (ONE * (rows_in - 1) + (rows_out - 1) // 2) // (rows_out - 1)
        fields[f"step_{name}"] = step
        fields[f"offset_{name}"] = step // 2 - ONE // 2 if attributes["half_pixel_centers"] else 0
    return fields


FILLERS: Fillers = dict.fromkeys(
    (int8.RESIZE_BILINEAR, int8.RESIZE_ARGMAX, low_bit.RESIZE, low_bit.RESIZE_ARGMAX), position_fields
)
