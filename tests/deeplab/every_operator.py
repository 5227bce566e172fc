"""A small network of every operator that a network can have, normalised by channel as PyTorch's are."""

import numpy as np

from deeplab.architectures import GraphBuilder
from deeplab.importing.input_contract import IMAGENET, of_pixels
from evaluation.graph import Graph
from tests.deeplab.tiny import random_network

AROUND = ((1, 1), (1, 1))
"""Padding of PyTorch's 3x3 windows."""


def window(
    net: GraphBuilder, name: str, source: int, channels: int, activation="NONE", *, stride=1, dilation=1, groups=1
) -> int:
    """A 3x3 convolution with padding on all sides alike."""
    kernel = np.zeros((channels, 3, 3, net.shape(source)[2] // groups), np.float32)
    pads = ((dilation, dilation), (dilation, dilation))
    return net.weighted(
        "CONV_2D", name, source, kernel, np.zeros(channels, np.float32), stride=(stride, stride),
        dilation=(dilation, dilation), padding=pads, activation=activation,
    )  # fmt: skip


def squeeze_excite(net: GraphBuilder, name: str, source: int, squeezed: int) -> int:
    """The product of a map with the hard sigmoid of what two convolutions make of its average."""
    channels = net.shape(source)[2]
    x = net.convolution(f"{name}/squeeze", net.global_pool(f"{name}/pool", source), squeezed, "RELU")
    x = net.convolution(f"{name}/excite", x, channels)
    x = net.binary("ADD", f"{name}/shifted", x, np.array([3.0]), activation="RELU6")
    x = net.binary("MUL", f"{name}/gate", x, np.array([1.0 / 6.0]), activation="NONE")
    return net.binary("MUL", f"{name}/gated", source, x, activation="NONE")


def every_operator(height: int = 33, width: int = 48) -> Graph:
    """The network, without weights."""
    net = GraphBuilder("every", height, width, of_pixels(IMAGENET).parameters())
    x = net.unary("HARD_SWISH", "swish", window(net, "stem", net.input, 8, stride=2))
    x = net.pool("MAX_POOL_2D", "largest", x, (3, 3), (2, 2), AROUND)
    low = x
    wide = net.convolution("expand", x, 12, "RELU6")
    wide = net.depthwise("spatial", wide, "RELU", dilation=2)
    x = net.convolution("project", squeeze_excite(net, "excited", wide, 5), 8)
    x = low = net.add("residual", x, low, "RELU")
    x = window(net, "grouped", x, 8, "RELU", groups=2)
    x = net.unary("LEAKY_RELU", "leaky", net.convolution("one", x, 8), alpha=0.125)
    x = net.binary("PRELU", "learned", net.convolution("two", x, 8), np.linspace(0.05, 0.4, 8))
    x = net.binary("SUB", "difference", x, low, activation="NONE")
    x = net.binary(
        "MUL", "selected", x, net.unary("LOGISTIC", "gate", net.convolution("three", x, 8)), activation="NONE"
    )
    x = net.unary("ELU", "soft", net.unary("TANH", "bounded", x))
    x = net.pool("AVERAGE_POOL_2D", "smoothed", x, (3, 3), (2, 2), "SAME")
    x = net.convolution("deep", net.pad("around", x, ((0, 0), (1, 1), (1, 0), (0, 0))), 8, "RELU")
    rows, columns, _ = net.shape(x)
    x = net.slice("inside", x, (0, 1, 0, 0), (1, rows - 1, columns, 8))
    large = net.shape(low)[:2]
    x = net.resize("enlarged", x, large, "legacy", "RESIZE_NEAREST_NEIGHBOR")
    x = net.concatenation("joined", (net.unary("RELU", "positive", x), low))
    x = window(net, "dense", x, 10, "RELU", dilation=2)
    x = net.convolution("logits", x, 5)
    return net.finished(net.resize("logits/resize", x, (height, width), "half_pixel"))


def with_values(seed: int = 0) -> Graph:
    return random_network(every_operator(), seed)
