"""RESIZE_BILINEAR of int8, alone and fused with ARG_MAX."""

from __future__ import annotations

from deeplab.runtime.layer import KernelDescriptor, KernelSite, Makers, Value
from evaluation.graph.regions import extent

ONE = 1 << 10
"""1.0 in the fixed point of positions."""


def resize_bilinear(site: KernelSite) -> KernelDescriptor | None:
    if any((t.dtype, t.bits) != ("int8", 8) for t in (site.source, site.output)):
        return None
    return KernelDescriptor("int8/resize", "resize_bilinear", "resize_layer", position_fields(site))


def resize_argmax(site: KernelSite) -> KernelDescriptor | None:
    if (site.source.dtype, site.source.bits) != ("int8", 8):
        return None
    return KernelDescriptor("int8/resize", "resize_argmax", "resize_layer", position_fields(site))


def position_fields(site: KernelSite) -> dict[str, Value]:
    """Sizes, and how an output position becomes one of the input: fields of `struct resize_layer`."""
    size_in = extent(site.source)
    size_out = extent(site.graph.tensors[site.operator.outputs[0]])
    attributes = site.operator.attributes
    fields: dict[str, Value] = {"in_rows": size_in[0], "in_columns": size_in[1], "channels": size_in[2]}
    for axis, name in enumerate(("rows", "columns")):
        rows_in, rows_out = size_in[axis], size_out[axis]
        step = (ONE * rows_in + rows_out // 2) // rows_out
        if attributes["align_corners"] and rows_out > 1:
            step = (ONE * (rows_in - 1) + (rows_out - 1) // 2) // (rows_out - 1)
        fields[f"step_{name}"] = step
        fields[f"offset_{name}"] = step // 2 - ONE // 2 if attributes["half_pixel_centers"] else 0
    return fields


LAYERS: Makers = {("RESIZE_BILINEAR",): resize_bilinear, ("RESIZE_BILINEAR", "ARG_MAX"): resize_argmax}
