"""Descriptors of RESIZE_BILINEAR on uint8, which interpolates in float32, alone and fused with ARG_MAX."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Fields, Fillers, KernelSite
from evaluation.graph.regions import extent
from evaluation.kernels.descriptors import uint8


def position_fields(site: KernelSite) -> Fields:
    """Sizes, steps and offset in float32: the members of `struct resize_real_layer`."""
    size_in = extent(site.source)
    size_out = extent(site.graph.tensors[site.operator.outputs[0]])
    attributes = site.operator.attributes
    fields: Fields = {"in_rows": size_in[0], "in_columns": size_in[1], "channels": size_in[2]}
    fields["offset"] = 0.5 if attributes["half_pixel_centers"] else 0.0
    for axis, name in enumerate(("rows", "columns")):
        aligned = attributes["align_corners"] and size_out[axis] > 1
        step = np.float32(size_in[axis] - aligned) / np.float32(size_out[axis] - aligned)
        fields[f"step_{name}"] = step
    return fields


FILLERS: Fillers = dict.fromkeys((uint8.RESIZE_REAL, uint8.RESIZE_REAL_ARGMAX), position_fields)
