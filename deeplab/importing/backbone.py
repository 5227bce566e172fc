"""`Backbone`: a MobileNetV2 without a head, as the start of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deeplab.layers import Layer, layers, weight_shapes
from deeplab.spec import NetworkSpec, mobilenet_v2_deeplab

_CLASSIFIER = mobilenet_v2_deeplab(input_height=32, input_width=32, classes=1, output_stride=32)
BLOCKS = _CLASSIFIER.blocks
"""The seventeen inverted residuals of MobileNetV2 at its own strides (Sandler et al. 2018, table 2)."""

Widths = tuple[tuple[int, int], ...]
"""(expand, project) channels of each block; expand 0 = no expansion."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """Widths and folded weights of stem and inverted residuals, as trained at the strides of the classifier."""

    stem: int
    widths: Widths
    weights: Mapping[str, np.ndarray]
    """float32, named as `deeplab.layers.weight_shapes`: `stem/...` and `block_<n>/...` alone."""

    def put_into(self, spec: NetworkSpec) -> NetworkSpec:
        """`spec` with the widths of this backbone; strides, dilations and head stay."""
        return _widened(spec, self.stem, self.widths)


def _widened(spec: NetworkSpec, stem: int, widths: Widths) -> NetworkSpec:
    blocks, channels = [], stem
    for (expand, project), block, original in zip(widths, spec.blocks, BLOCKS, strict=True):
        # A block that strided when it was trained had no sum, whatever its stride is here.
        residual = original.stride == 1 and channels == project
        blocks.append(replace(block, expand=expand, project=project, residual=residual))
        channels = project
    return replace(spec, stem=stem, blocks=tuple(blocks))


def backbone_layers(stem: int, widths: Widths) -> dict[Layer, tuple[int, ...]]:
    """Each convolution of a backbone of these widths, with the shape of its kernel."""
    spec = _widened(_CLASSIFIER, stem, widths)
    shapes = weight_shapes(spec)
    own = [layer for layer in layers(spec) if layer.has_weights and layer.name.startswith(("stem", "block"))]
    return {layer: shapes[f"{layer.name}/kernel"] for layer in own}
