"""DeepLab v3 and v3+ on MobileNetV2.

References: Sandler et al. 2018 (MobileNetV2, table 2); Chen et al. 2017 (DeepLab v3); Chen et al. 2018 (DeepLab v3+).
"""

from __future__ import annotations

from typing import Literal

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from deeplab.architectures.heads import Convolutions, DeepLabHead, deeplab
from deeplab.architectures.strides import windows_at
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
    """(stride, dilation) of each block's depthwise convolution (`windows_at`)."""
    return windows_at(STRIDES, output_stride, before=2)


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
    branches: Convolutions = "separable",
    decoder: bool = True,
    skip_tap: SkipTap = "depthwise",
    skip_width: int = 48,
    decoder_width: int = 256,
    refinement: Convolutions = "separable",
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
        aspp_width, atrous_rates, image_pooling, branches, decoder, skip_width, decoder_width, refinement, resize: of
            the head, as in `DeepLabHead`.
        skip_tap: operator of block 2, the last at stride 4, after which the decoder's skip is taken.
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
    assert skip is not None, "MobileNetV2 has more blocks than the skip's"
    head = DeepLabHead(
        aspp_width, atrous_rates, image_pooling, branches, decoder, skip_width, decoder_width, refinement, resize
    )
    return deeplab(net, x, skip, classes, head)


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
