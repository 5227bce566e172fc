"""RESIZE_BILINEAR of uint8, which interpolates in float32, alone and fused with ARG_MAX."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import KernelDescriptor, KernelSite, Makers, Value
from evaluation.graph.regions import extent


def resize_bilinear(site: KernelSite) -> KernelDescriptor | None:
    if any((t.dtype, t.bits) != ("uint8", 8) for t in (site.source, site.output)):
        return None
    return KernelDescriptor("uint8/resize", "resize_real", "resize_real_layer", _fields(site))


def resize_argmax(site: KernelSite) -> KernelDescriptor | None:
    if (site.source.dtype, site.source.bits) != ("uint8", 8):
        return None
    return KernelDescriptor("uint8/resize", "resize_real_argmax", "resize_real_layer", _fields(site))


LAYERS: Makers = {("RESIZE_BILINEAR",): resize_bilinear, ("RESIZE_BILINEAR", "ARG_MAX"): resize_argmax}


def _fields(site: KernelSite) -> dict[str, Value]:
    size_in = extent(site.source)
    size_out = extent(site.graph.tensors[site.operator.outputs[0]])
    attributes = site.operator.attributes
    fields: dict[str, Value] = {"in_rows": size_in[0], "in_columns": size_in[1], "channels": size_in[2]}
    fields["offset"] = 0.5 if attributes["half_pixel_centers"] else 0.0
    for axis, name in enumerate(("rows", "columns")):
        aligned = attributes["align_corners"] and size_out[axis] > 1
        step = np.float32(size_in[axis] - aligned) / np.float32(size_out[axis] - aligned)
        fields[f"step_{name}"] = step
    return fields
