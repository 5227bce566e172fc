"""Heads of segmentation networks, between a backbone's features and the labels: DeepLab v3 and v3+, and LR-ASPP.

References: Chen et al. 2017 (DeepLab v3); Chen et al. 2018 (DeepLab v3+); Howard et al. 2019 (MobileNetV3, section 6.4:
LR-ASPP).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from evaluation.graph import Graph

Convolutions = Literal["separable", "dense"]
"""A 3x3 convolution as a depthwise one and a 1x1, each with ReLU (Chen et al. 2018), or as one (Chen et al. 2017)."""


@dataclass(frozen=True)
class DeepLabHead:
    """What a DeepLab's head is like."""

    aspp_width: int = 256
    """Channels of each ASPP branch, and of the projection behind them."""
    atrous_rates: tuple[int, ...] = ()
    """Of the ASPP's 3x3 branches."""
    image_pooling: bool = True
    """Whether the ASPP has a branch of the image's average."""
    branches: Convolutions = "separable"
    """Form of the ASPP's 3x3 branches."""
    decoder: bool = True
    """Whether there is one (v3+)."""
    skip_width: int = 48
    """Channels of the projection of the decoder's skip."""
    decoder_width: int = 256
    """Channels of the decoder's two 3x3 convolutions."""
    refinement: Convolutions = "separable"
    """Form of the decoder's 3x3 convolutions."""
    resize: ResizeConvention = "legacy"
    """Convention of all resizes."""


def deeplab(net: GraphBuilder, features: int, skip: int, classes: int, head: DeepLabHead) -> Graph:
    """The graph with a DeepLab's head over a backbone's features, and over `skip` where there is a decoder."""
    width, resize = head.aspp_width, head.resize
    pool = width if head.image_pooling else 0
    atrous = [(rate, width) for rate in head.atrous_rates]
    x = aspp(net, features, pool, width, atrous, width, resize, head.branches)
    if head.decoder:
        x = decoded(net, x, skip, head.skip_width, (head.decoder_width,) * 2, resize, head.refinement)
    return classified(net, x, classes, resize)


def aspp(
    net: GraphBuilder,
    features: int,
    pool: int,
    pointwise: int,
    atrous: Sequence[tuple[int, int]],
    project: int,
    resize: ResizeConvention,
    branches: Convolutions = "separable",
) -> int:
    """Atrous spatial pyramid pooling; concatenated in this order: image pooling, 1x1, atrous branches.

    Args:
        net: the builder.
        features: the backbone's output.
        pool: channels of the image-pooling branch (average, 1x1, ReLU, resize); 0 = no such branch.
        pointwise: channels of the 1x1 branch.
        atrous: (rate, channels) of each 3x3 branch.
        project: channels of the 1x1 behind the concatenation.
        resize: convention of the pooling branch's resize.
        branches: form of the 3x3 branches.
    """
    height, width, _ = net.shape(features)
    joined = []
    if pool:
        x = net.global_pool("aspp/pool", features)
        x = net.convolution("aspp/pool/pointwise", x, pool, "RELU")
        joined.append(net.resize("aspp/pool/resize", x, (height, width), resize))
    joined.append(net.convolution("aspp/pointwise", features, pointwise, "RELU"))
    for index, (rate, channels) in enumerate(atrous):
        joined.append(_spatial(net, f"aspp/atrous_{index}", features, channels, branches, rate))
    x = net.concatenation("aspp/concat", joined) if len(joined) > 1 else joined[0]
    return net.convolution("aspp/project", x, project, "RELU")


def decoded(
    net: GraphBuilder,
    features: int,
    skip: int,
    skip_width: int,
    refine: Sequence[int],
    resize: ResizeConvention,
    refinement: Convolutions = "separable",
) -> int:
    """The v3+ decoder: features resized to the skip's size, concatenated with the projected skip, refined by 3x3
    convolutions of `refine` channels."""
    skip = net.convolution("decoder/skip", skip, skip_width, "RELU")
    height, width, _ = net.shape(skip)
    x = net.resize("decoder/resize", features, (height, width), resize)
    x = net.concatenation("decoder/concat", (x, skip))
    for index, channels in enumerate(refine):
        x = _spatial(net, f"decoder/refine_{index}", x, channels, refinement)
    return x


def _spatial(net: GraphBuilder, name: str, source: int, channels: int, form: Convolutions, dilation: int = 1) -> int:
    """A 3x3 convolution with ReLU."""
    if form == "dense":
        return net.convolution(name, source, channels, "RELU", window=3, dilation=dilation)
    x = net.depthwise(f"{name}/depthwise", source, "RELU", dilation=dilation)
    return net.convolution(f"{name}/pointwise", x, channels, "RELU")


def classified(net: GraphBuilder, features: int, classes: int, resize: ResizeConvention) -> Graph:
    """The graph with its end: a 1x1 to the classes, resized to the frame."""
    x = net.convolution("logits", features, classes)
    height, width, _ = net.shape(net.input)
    return net.finished(net.resize("logits/resize", x, (height, width), resize))


def lraspp(
    net: GraphBuilder, features: int, skip: int, classes: int, width: int = 128, resize: ResizeConvention = "half_pixel"
) -> Graph:
    """The graph with an LR-ASPP head: a 1x1 (ReLU) of the features, multiplied by a 1x1 (sigmoid) of their average,
    resized to the skip's size; the logits are the sum of a 1x1 of each, resized to the frame.

    Howard et al. 2019, figure 10, with the average over the whole map instead of windows of 49 x 49, as in
    torchvision's `lraspp_mobilenet_v3_large`.

    Args:
        net: the builder.
        features: the backbone's output.
        skip: a larger map of the backbone.
        classes: channels of the logits.
        width: channels of the two 1x1 convolutions.
        resize: convention of both resizes.
    """
    x = net.convolution("aspp/pointwise", features, width, "RELU")
    gate = net.convolution("aspp/pool/pointwise", net.global_pool("aspp/pool", features), width)
    x = net.binary("MUL", "aspp/gated", x, net.unary("LOGISTIC", "aspp/pool/sigmoid", gate), activation="NONE")
    x = net.resize("decoder/resize", x, net.shape(skip)[:2], resize)
    high, low = net.convolution("decoder/high", x, classes), net.convolution("decoder/low", skip, classes)
    height, width, _ = net.shape(net.input)
    return net.finished(net.resize("logits/resize", net.add("logits", high, low), (height, width), resize))
