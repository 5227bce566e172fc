"""`Backbone`: a MobileNetV2 without a head, as the start of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.architectures import BackboneWidths, mobilenet_v2_deeplab
from deeplab.network import convolutions
from evaluation.graph import Graph, Operator


@dataclass(frozen=True, eq=False)
class Backbone:
    """Widths and folded weights of stem and inverted residuals, as trained at the strides of the classifier."""

    widths: BackboneWidths
    weights: Mapping[str, np.ndarray]
    """float32, named as by `deeplab.network.weights`: `stem/...` and `block_<n>/...` alone."""


def backbone_graph(widths: BackboneWidths) -> tuple[Graph, list[Operator]]:
    """A network with a backbone of these widths, and the convolutions of the backbone."""
    graph = mobilenet_v2_deeplab(input_height=32, input_width=32, classes=1, output_stride=32, backbone=widths)
    return graph, [operator for operator in convolutions(graph) if operator.name.startswith(("stem", "block_"))]
