"""DeepLab v3 and v3+ on MobileNetV2.

References: Sandler et al. 2018 (MobileNetV2, table 2); Chen et al. 2017 (DeepLab v3); Chen et al. 2018 (DeepLab v3+).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from evaluation.graph import Graph

SkipTap = Literal["expand", "depthwise", "project"]
"""The operator of a block that a skip is taken after (`project`: after the sum, where there is one)."""

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Sandler et al. 2018, table 2: expansion factor t, output channels c, repeats n, stride s."""
STRIDES = tuple(stride if repeat == 0 else 1 for _, _, repeats, stride in _STAGES for repeat in range(repeats))
"""Stride of each of the seventeen inverted residuals, as in the classifier."""
SKIP_BLOCK = 2
"""The last block at stride 4 (Chen et al. 2018, section 4.1)."""

BackboneWidths = tuple[int, tuple[tuple[int, int], ...]]
"""Channels of the stem, and of each block after its expansion (0 = none) and its projection."""


def round_width(channels: float, divisor: int = 8) -> int:
    """Channels to a multiple of `divisor`, never more than 10 % below what was asked (the MobileNet rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def backbone_widths(multiplier: float = 1.0, divisor: int = 8) -> BackboneWidths:
    """Widths of MobileNetV2, rounded to multiples of `divisor`."""
    stem = channels = round_width(32 * multiplier, divisor)
    blocks = []
    for expansion, width, repeats, _ in _STAGES:
        for _ in range(repeats):
            project = round_width(width * multiplier, divisor)
            blocks.append((channels * expansion if expansion > 1 else 0, project))
            channels = project
    return stem, tuple(blocks)


def windows(output_stride: int) -> tuple[tuple[int, int], ...]:
    """(stride, dilation) of each block's depthwise convolution: past `output_stride`, strides become dilations (Chen et
    al. 2017, section 3.1). The block that would have strided still sees the old spacing."""
    found, stride, dilation = [], 2, 1
    for own in STRIDES:
        if stride * own > output_stride:
            found.append((1, dilation))
            dilation *= own
        else:
            found.append((own, dilation))
            stride *= own
    return tuple(found)


def mobilenet_v2_deeplab(
    *,
    input_height: int,
    input_width: int,
    classes: int,
    width_multiplier: float = 1.0,
    width_divisor: int = 8,
    output_stride: Literal[8, 16, 32] = 16,
    aspp_width: int = 256,
    atrous_rates: tuple[int, ...] = (),
    image_pooling: bool = True,
    decoder: bool = True,
    skip_tap: SkipTap = "depthwise",
    skip_width: int = 48,
    decoder_width: int = 256,
    resize: ResizeConvention = "legacy",
    backbone: BackboneWidths | None = None,
) -> Graph:
    """DeepLab v3+ (or v3, `decoder=False`) on MobileNetV2 without its classifier.

    Args:
        input_height, input_width: of the frame.
        classes: channels of the logits.
        width_multiplier: of the backbone.
        width_divisor: widths of the backbone are rounded to multiples of it (8 in MobileNetV2; the published DeepLab
            0.5 networks have 1).
        output_stride: of the backbone's last block; past it, strides become dilations (32: none do).
        aspp_width: channels of each ASPP branch, and of the projection behind them.
        atrous_rates: of the ASPP's separable 3x3 branches.
        image_pooling: whether the ASPP has a branch of the image's average.
        decoder: whether there is one; its skip is taken in block 2, the last at stride 4.
        skip_tap: operator of that block.
        skip_width: channels of the skip's projection.
        decoder_width: channels of the decoder's two separable convolutions.
        resize: convention of all resizes.
        backbone: widths of a backbone that was trained at the strides of the classifier, instead of the multiplier's.
    """
    net = GraphBuilder("deeplab", input_height, input_width)
    stem, widths = backbone or backbone_widths(width_multiplier, width_divisor)
    x = net.convolution("stem", net.input, stem, "RELU6", window=3, stride=2)
    skip = None
    for index, ((expand, project), window, native) in enumerate(
        zip(widths, windows(output_stride), STRIDES, strict=True)
    ):
        # A block that strode when its weights were trained had no sum, whatever its stride is here.
        residual = (window[0] if backbone is None else native) == 1 and net.shape(x)[2] == project
        x, taps = inverted_residual(net, f"block_{index}", x, expand, project, *window, residual=residual)
        skip = taps[skip_tap] if index == SKIP_BLOCK else skip
    pool = aspp_width if image_pooling else 0
    x = aspp(net, x, pool, aspp_width, [(rate, aspp_width) for rate in atrous_rates], aspp_width, resize)
    if decoder:
        assert skip is not None, "MobileNetV2 has more blocks than the skip's"
        x = decoded(net, x, skip, skip_width, (decoder_width, decoder_width), resize)
    return classified(net, x, classes, resize)


def inverted_residual(
    net: GraphBuilder,
    name: str,
    source: int,
    expand: int,
    project: int,
    stride: int,
    dilation: int,
    *,
    residual: bool,
) -> tuple[int, dict[SkipTap, int]]:
    """1x1 expansion (ReLU6; 0 = none), 3x3 depthwise (ReLU6), 1x1 projection (linear), sum with the block's input.

    Returns:
        The block's output, and the tensor after each operator.
    """
    taps: dict[SkipTap, int] = {}
    x = net.convolution(f"{name}/expand", source, expand, "RELU6") if expand else source
    taps["expand"] = x
    x = taps["depthwise"] = net.depthwise(f"{name}/depthwise", x, "RELU6", stride=stride, dilation=dilation)
    x = net.convolution(f"{name}/project", x, project)
    if residual:
        x = net.add(f"{name}/add", x, source)
    taps["project"] = x
    return x, taps


def aspp(
    net: GraphBuilder,
    features: int,
    pool: int,
    pointwise: int,
    atrous: Sequence[tuple[int, int]],
    project: int,
    resize: ResizeConvention,
) -> int:
    """Atrous spatial pyramid pooling; concatenated in this order: image pooling, 1x1, atrous branches.

    Args:
        net: the builder.
        features: the backbone's output.
        pool: channels of the image-pooling branch (average, 1x1, ReLU, resize); 0 = no such branch.
        pointwise: channels of the 1x1 branch.
        atrous: (rate, channels) of each branch of a depthwise 3x3 (ReLU) and a 1x1 (ReLU).
        project: channels of the 1x1 behind the concatenation.
        resize: convention of the pooling branch's resize.
    """
    height, width, _ = net.shape(features)
    branches = []
    if pool:
        x = net.global_pool("aspp/pool", features)
        x = net.convolution("aspp/pool/pointwise", x, pool, "RELU")
        branches.append(net.resize("aspp/pool/resize", x, (height, width), resize))
    branches.append(net.convolution("aspp/pointwise", features, pointwise, "RELU"))
    for index, (rate, channels) in enumerate(atrous):
        x = net.depthwise(f"aspp/atrous_{index}/depthwise", features, "RELU", dilation=rate)
        branches.append(net.convolution(f"aspp/atrous_{index}/pointwise", x, channels, "RELU"))
    x = net.concatenation("aspp/concat", branches) if len(branches) > 1 else branches[0]
    return net.convolution("aspp/project", x, project, "RELU")


def decoded(
    net: GraphBuilder, features: int, skip: int, skip_width: int, refine: Sequence[int], resize: ResizeConvention
) -> int:
    """The v3+ decoder: features resized to the skip's size, concatenated with the projected skip, refined by separable
    3x3 convolutions (depthwise ReLU, 1x1 ReLU) of `refine` channels."""
    skip = net.convolution("decoder/skip", skip, skip_width, "RELU")
    height, width, _ = net.shape(skip)
    x = net.resize("decoder/resize", features, (height, width), resize)
    x = net.concatenation("decoder/concat", (x, skip))
    for index, channels in enumerate(refine):
        x = net.depthwise(f"decoder/refine_{index}/depthwise", x, "RELU")
        x = net.convolution(f"decoder/refine_{index}/pointwise", x, channels, "RELU")
    return x


def classified(net: GraphBuilder, features: int, classes: int, resize: ResizeConvention) -> Graph:
    """The graph with its end: a 1x1 to the classes, resized to the frame."""
    x = net.convolution("logits", features, classes)
    height, width, _ = net.shape(net.input)
    return net.finished(net.resize("logits/resize", x, (height, width), resize))
