"""Tiny networks with weights that make every layer matter, so that tests run in seconds."""

from collections.abc import Sequence

import numpy as np

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from deeplab.architectures.heads import aspp, classified, decoded
from deeplab.architectures.mobilenet_v2 import SkipTap, inverted_residual
from deeplab.network import weight_shapes, weights, with_weights
from deeplab.sparsity import WeightSparsity
from evaluation.graph import Graph

Block = tuple[int, int, int, int, bool]
"""Channels after the expansion (0 = none) and the projection, stride, dilation, whether there is a sum."""
BLOCKS: tuple[Block, ...] = (
    (0, 8, 1, 1, False),
    (16, 8, 2, 1, False),
    (24, 8, 1, 1, True),
    (16, 12, 2, 1, False),
    (24, 12, 1, 2, True),
)


def tiny_network(
    *,
    input_height: int = 33,
    input_width: int = 48,
    classes: int = 5,
    stem: int = 8,
    blocks: Sequence[Block] = BLOCKS,
    pool: int = 8,
    pointwise: int = 12,
    atrous: Sequence[tuple[int, int]] = ((3, 8),),
    project: int = 16,
    decoder: bool = True,
    skip_block: int = 2,
    skip_tap: SkipTap = "depthwise",
    skip: int = 6,
    refine: Sequence[int] = (12,),
    resize: ResizeConvention = "legacy",
) -> Graph:
    """A DeepLab v3+, without weights, of every kind of layer: residual chain, dilation, image pooling, atrous branch,
    skip."""
    net = GraphBuilder("deeplab", input_height, input_width)
    x = net.convolution("stem", net.input, stem, "RELU6", window=3, stride=2)
    tapped = x
    for index, (expand, channels, stride, dilation, residual) in enumerate(blocks):
        name = f"block_{index}"
        x, taps = inverted_residual(net, name, x, expand, channels, stride, dilation, residual=residual)
        tapped = taps[skip_tap] if index == skip_block else tapped
    x = aspp(net, x, pool, pointwise, atrous, project, resize)
    if decoder:
        x = decoded(net, x, tapped, skip, refine, resize)
    return classified(net, x, classes, resize)


def random_network(graph: Graph, seed: int = 0) -> Graph:
    """The graph with weights, scaled so that activations stay of order 1 through the network."""
    random = np.random.default_rng(seed)
    drawn = {}
    for name, shape in weight_shapes(graph).items():
        if name.endswith("bias"):
            drawn[name] = random.normal(0.1, 0.2, shape).astype(np.float32)
        else:
            inputs = shape[0] * shape[1] * (shape[2] if shape[3] > 1 else 1)
            drawn[name] = (random.normal(0, 1, shape) * np.sqrt(2.0 / inputs)).astype(np.float32)
    return with_weights(graph, drawn)


def cut(network: Graph, sparsity: WeightSparsity) -> Graph:
    """The smallest weights of each kernel set to 0, the others as they were: what surgery must be better than."""
    from deeplab.pruning.magnitude import largest

    whole = weights(network)
    return with_weights(
        network,
        {
            name: whole[name] * largest(whole[name], density, sparsity.pattern)
            for name, density in sparsity.densities(network).items()
        },
    )
