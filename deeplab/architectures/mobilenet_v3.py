"""MobileNetV3, large and small, under an LR-ASPP or a DeepLab's head.

Reference: Howard et al. 2019 (MobileNetV3, tables 1 and 2, section 6.4), with the channels of torchvision's
`mobilenet_v3_large` and `mobilenet_v3_small`, whose squeeze-excites are a quarter as wide as what they multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeplab.architectures.builder import Activation, GraphBuilder, ResizeConvention
from deeplab.architectures.heads import DeepLabHead, deeplab, lraspp
from deeplab.architectures.mobilenet_v2 import round_width
from deeplab.architectures.strides import windows_at
from evaluation.graph import Graph

MobileNetV3Size = Literal["large", "small"]
_Block = tuple[int, int, int, bool, bool, int]
"""Window k, expanded channels, output channels, squeeze-excite, hard-swish instead of ReLU, stride."""
_LARGE: tuple[_Block, ...] = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
"""Howard et al. 2019, table 1."""
_SMALL: tuple[_Block, ...] = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
"""Howard et al. 2019, table 2."""
_BLOCKS: dict[MobileNetV3Size, tuple[_Block, ...]] = {"large": _LARGE, "small": _SMALL}
_STEM = 16
_TAIL = 3
"""Blocks of the last stride, whose channels a reduced tail halves."""
_LAST = 6
"""Channels of the last 1x1 over those it reads."""


@dataclass(frozen=True)
class _Backbone:
    features: int
    taps: dict[int, int]
    """By stride, the output of the last block at it; strides 4 and more."""
    first: dict[int, int]
    """By stride, the output of the block that strides to it."""


def mobilenet_v3_deeplab(
    *,
    input_height: int,
    input_width: int,
    classes: int,
    size: MobileNetV3Size = "large",
    width_multiplier: float = 1.0,
    output_stride: Literal[8, 16, 32] = 16,
    reduced_tail: bool = False,
    head: DeepLabHead = DeepLabHead(),  # noqa: B008 (frozen)
) -> Graph:
    """DeepLab v3+ (or v3) on MobileNetV3 without its classifier; the decoder's skip is the last block at stride 4.

    Args:
        input_height, input_width: of the frame.
        classes: channels of the logits.
        size: large or small.
        width_multiplier: of the backbone.
        output_stride: of the backbone; past it, strides become dilations (`windows_at`; torchvision's dilated
            MobileNetV3 dilates the block that would have strided, too).
        reduced_tail: whether the channels behind the last stride are halved (section 6.4).
        head: the DeepLab's.
    """
    net = GraphBuilder("deeplab", input_height, input_width)
    backbone = _backbone(net, size, width_multiplier, output_stride, reduced_tail=reduced_tail)
    return deeplab(net, backbone.features, backbone.taps[4], classes, head)


def mobilenet_v3_lraspp(
    *,
    input_height: int,
    input_width: int,
    classes: int,
    size: MobileNetV3Size = "large",
    width_multiplier: float = 1.0,
    output_stride: Literal[8, 16, 32] = 16,
    reduced_tail: bool = False,
    lraspp_width: int = 128,
    resize: ResizeConvention = "half_pixel",
) -> Graph:
    """LR-ASPP on MobileNetV3; its skip is the block that strides to 8, as in torchvision's `lraspp_mobilenet_v3_large`.

    Args as `mobilenet_v3_deeplab`, and:
        lraspp_width: channels of the head's two 1x1 convolutions.
        resize: convention of both resizes.
    """
    net = GraphBuilder("lraspp", input_height, input_width)
    backbone = _backbone(net, size, width_multiplier, output_stride, reduced_tail=reduced_tail)
    return lraspp(net, backbone.features, backbone.first[8], classes, lraspp_width, resize)


def _backbone(
    net: GraphBuilder, size: MobileNetV3Size, multiplier: float, output_stride: int, *, reduced_tail: bool
) -> _Backbone:
    blocks = _BLOCKS[size]
    x = _activated(net, "stem", net.convolution("stem", net.input, round_width(_STEM * multiplier), window=3, stride=2))
    taps: dict[int, int] = {}
    first: dict[int, int] = {}
    at = 2
    tail = len(blocks) - _TAIL
    for index, (block, window) in enumerate(
        zip(blocks, windows_at((one[-1] for one in blocks), output_stride, before=2), strict=True)
    ):
        taps_width, expand, project, excited, swish, native = block
        halved_in, halved = reduced_tail and index > tail, reduced_tail and index >= tail
        wide = round_width((expand // 2 if halved_in else expand) * multiplier)
        narrow = round_width((project // 2 if halved else project) * multiplier)
        x = bottleneck(
            net, f"block_{index}", x, taps_width, wide, narrow, *window,
            excited=excited, swish=swish, residual=native == 1,
        )  # fmt: skip
        at *= window[0]
        taps[at] = x
        first.setdefault(at, x)
    channels = net.shape(x)[2]
    x = _activated(net, "last", net.convolution("last", x, _LAST * channels))
    return _Backbone(x, taps, first)


def bottleneck(
    net: GraphBuilder,
    name: str,
    source: int,
    window: int,
    expand: int,
    project: int,
    stride: int,
    dilation: int,
    *,
    excited: bool,
    swish: bool,
    residual: bool,
) -> int:
    """1x1 expansion (none where it would not expand), depthwise, squeeze-excite, 1x1 projection (linear), sum with the
    block's input where that has as many channels (Howard et al. 2019, figure 4).

    Args:
        net: the builder.
        name: of the block.
        source: what it reads.
        window: rows and columns of the depthwise convolution.
        expand, project: channels.
        stride, dilation: of the depthwise convolution.
        excited: whether there is a squeeze-excite.
        swish: whether the activation function is hard-swish instead of ReLU.
        residual: whether there may be a sum.
    """
    activation: Activation = "NONE" if swish else "RELU"
    x = source
    if expand != net.shape(source)[2]:
        x = net.convolution(f"{name}/expand", x, expand, activation)
        x = _activated(net, f"{name}/expand", x) if swish else x
    x = net.depthwise(f"{name}/depthwise", x, activation, window=window, stride=stride, dilation=dilation)
    x = _activated(net, f"{name}/depthwise", x) if swish else x
    if excited:
        x = squeeze_excite(net, f"{name}/excite", x, round_width(expand // 4))
    x = net.convolution(f"{name}/project", x, project)
    return net.add(f"{name}/add", x, source) if residual and net.shape(source)[2] == project else x


def squeeze_excite(net: GraphBuilder, name: str, source: int, squeezed: int) -> int:
    """The source times a gate for each channel: its average, 1x1 (ReLU), 1x1, hard sigmoid.

    The hard sigmoid is RELU6(x + 3) / 6 (Howard et al. 2019, section 5.2), with the 3 in the bias.
    """
    channels = net.shape(source)[2]
    x = net.convolution(f"{name}/squeeze", net.global_pool(f"{name}/pool", source), squeezed, "RELU")
    x = net.convolution(f"{name}/gate", x, channels, "RELU6")
    x = net.binary("MUL", f"{name}/sixth", x, np.array([1 / 6], np.float32), activation="NONE")
    return net.binary("MUL", name, source, x, activation="NONE")


def _activated(net: GraphBuilder, name: str, source: int) -> int:
    return net.unary("HARD_SWISH", f"{name}/hard_swish", source)
