"""DeepLab v3 and v3+ on ResNet.

Reference: He et al. 2016 (ResNet, table 1), with the stride of a bottleneck in its 3x3 convolution ("v1.5"), as
torchvision's have it.
"""

from __future__ import annotations

from typing import Literal

from deeplab.architectures.builder import GraphBuilder
from deeplab.architectures.heads import DeepLabHead, deeplab
from deeplab.architectures.strides import windows_at
from evaluation.graph import Graph

ResNetDepth = Literal[18, 34, 50, 101]
_REPEATS: dict[ResNetDepth, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""He et al. 2016, table 1: blocks of conv2_x to conv5_x."""
_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4
"""Channels of a bottleneck's output over those of its 3x3 convolution."""


def resnet_deeplab(
    *,
    input_height: int,
    input_width: int,
    classes: int,
    depth: ResNetDepth = 50,
    width_multiplier: float = 1.0,
    output_stride: Literal[8, 16, 32] = 16,
    head: DeepLabHead = DeepLabHead(),  # noqa: B008 (frozen)
) -> Graph:
    """DeepLab v3+ (or v3) on a ResNet without its classifier; the decoder's skip is the end of conv2_x, at stride 4.

    Args:
        input_height, input_width: of the frame.
        classes: channels of the logits.
        depth: weighted layers of the classifier; from 50 on, blocks are bottlenecks.
        width_multiplier: of all channels of the backbone.
        output_stride: of the backbone; past it, strides become dilations.
        head: the DeepLab's.
    """
    net = GraphBuilder("deeplab", input_height, input_width)
    widths = [max(1, round(width * width_multiplier)) for width in _WIDTHS]
    x = net.convolution("stem", net.input, widths[0], "RELU", window=7, stride=2)
    x = skip = net.pool("MAX_POOL_2D", "stem/pool", x, (3, 3), (2, 2), "SAME")
    repeats = _REPEATS[depth]
    # Two windows a block, of which the first strides: a bottleneck has one, which is the first.
    strides = [2 if layer and not index else 1 for layer, count in enumerate(repeats) for index in range(count)]
    bottlenecks = depth >= 50
    windows = iter(
        windows_at([one for own in strides for one in ((own,) if bottlenecks else (own, 1))], output_stride, 4)
    )
    for layer, (width, count) in enumerate(zip(widths, repeats, strict=True)):
        for index in range(count):
            name = f"layer_{layer}/block_{index}"
            if bottlenecks:
                x = bottleneck(net, name, x, width, *next(windows), shortcut=not index)
            else:
                x = basic_block(net, name, x, width, next(windows), next(windows), shortcut=bool(layer) and not index)
        skip = x if layer == 0 else skip
    return deeplab(net, x, skip, classes, head)


def bottleneck(
    net: GraphBuilder, name: str, source: int, width: int, stride: int, dilation: int, *, shortcut: bool
) -> int:
    """1x1 (ReLU), 3x3 (ReLU), 1x1 to four times the channels, sum with the input or a 1x1 of it, ReLU."""
    x = net.convolution(f"{name}/reduce", source, width, "RELU")
    x = net.convolution(f"{name}/spatial", x, width, "RELU", window=3, stride=stride, dilation=dilation)
    x = net.convolution(f"{name}/expand", x, _EXPANSION * width)
    if shortcut:
        source = net.convolution(f"{name}/shortcut", source, _EXPANSION * width, stride=stride)
    return net.add(f"{name}/add", x, source, "RELU")


def basic_block(
    net: GraphBuilder,
    name: str,
    source: int,
    width: int,
    first: tuple[int, int],
    second: tuple[int, int],
    *,
    shortcut: bool,
) -> int:
    """3x3 (ReLU), 3x3, sum with the input or a 1x1 of it, ReLU; `first` and `second` are (stride, dilation)."""
    (stride, dilation), (_, later) = first, second
    x = net.convolution(f"{name}/first", source, width, "RELU", window=3, stride=stride, dilation=dilation)
    x = net.convolution(f"{name}/second", x, width, window=3, dilation=later)
    if shortcut:
        source = net.convolution(f"{name}/shortcut", source, width, stride=stride)
    return net.add(f"{name}/add", x, source, "RELU")
