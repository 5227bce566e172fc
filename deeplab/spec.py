"""`NetworkSpec`: a DeepLab v3 or v3+ on MobileNetV2, with the width of every layer.

Because every width is in the spec, a channel-pruned network is simply another spec, and nothing downstream (model,
planner graph, C program) needs to know that it was pruned.

References: Sandler et al. 2018 (MobileNetV2, table 2); Chen et al. 2017 (DeepLab v3); Chen et al. 2018 (DeepLab v3+).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

ResizeConvention = Literal["legacy", "align_corners", "half_pixel"]
"""The three bilinear conventions that occur: `legacy` (neither flag, src = dst * in / out), `align_corners`
(src = dst * (in - 1) / (out - 1)), `half_pixel` (src = (dst + 0.5) * in / out - 0.5)."""

SkipTap = Literal["expand", "depthwise", "project"]

# Sandler et al. 2018, table 2: expansion factor t, output channels c, repeats n, stride s.
_MOBILENET_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class Block:
    """One inverted residual: 1x1 expand (ReLU6), 3x3 depthwise (ReLU6), 1x1 project (linear), sum with its input."""

    expand: int
    """Channels after the 1x1 expansion and of the depthwise; 0 = no expansion, the depthwise runs on the input."""
    project: int
    """Channels out."""
    stride: int
    dilation: int
    residual: bool


@dataclass(frozen=True)
class AtrousBranch:
    """A separable 3x3 convolution of the ASPP: depthwise at `rate` (ReLU), then 1x1 (ReLU)."""

    rate: int
    width: int


@dataclass(frozen=True)
class Aspp:
    """Atrous spatial pyramid pooling. Concat order: image pooling, 1x1, atrous branches."""

    pool: int
    """Channels of the image-pooling branch (global average, 1x1, ReLU, resize); 0 = no such branch."""
    pointwise: int
    """Channels of the 1x1 branch."""
    atrous: tuple[AtrousBranch, ...]
    project: int
    """Channels of the 1x1 convolution after the concat."""


@dataclass(frozen=True)
class Decoder:
    """The v3+ decoder: ASPP output resized to the skip's size, concatenated with the projected skip, refined."""

    skip_block: int
    """Index of the block the skip is taken from."""
    skip_tap: SkipTap
    """Which convolution of that block it is taken after (`project`: after the sum, where there is one)."""
    skip: int
    """Channels of the skip's 1x1 projection (ReLU)."""
    refine: tuple[int, ...]
    """Output channels of each separable 3x3 convolution (depthwise ReLU, 1x1 ReLU)."""


@dataclass(frozen=True)
class NetworkSpec:
    """Shape of one network; hashable, so that traced functions can be kept per spec."""

    input_height: int
    input_width: int
    classes: int
    stem: int
    """Channels of the first convolution, 3x3 stride 2, ReLU6."""
    blocks: tuple[Block, ...]
    aspp: Aspp
    decoder: Decoder | None
    resize: ResizeConvention

    def with_input_size(self, height: int, width: int) -> NetworkSpec:
        """The same network for images of another size: it is fully convolutional, so all weights stay."""
        return replace(self, input_height=height, input_width=width)

    def with_output_stride(self, output_stride: int) -> NetworkSpec:
        """The same weights at another output stride: strides past it become dilations (Chen et al. 2017, section 3.1).

        The atrous rates of the ASPP grow as the grid gets finer, so that they reach as far. What a block strides
        natively is its stride, or the step in dilation from it to the next one.
        """
        dilations = [block.dilation for block in self.blocks]
        after = [*dilations[1:], dilations[-1]]
        native = [block.stride * later // own for block, own, later in zip(self.blocks, dilations, after, strict=True)]
        blocks, stride, dilation = [], 2, 1
        for block, step in zip(self.blocks, native, strict=True):
            strides = stride * step <= output_stride
            blocks.append(replace(block, stride=step if strides else 1, dilation=dilation))
            if strides:
                stride *= step
            else:
                dilation *= step
        before = 2 * math.prod(block.stride for block in self.blocks)
        atrous = tuple(replace(branch, rate=branch.rate * before // stride) for branch in self.aspp.atrous)
        return replace(self, blocks=tuple(blocks), aspp=replace(self.aspp, atrous=atrous))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def round_width(channels: float, divisor: int = 8) -> int:
    """Channels to a multiple of `divisor`, never more than 10 % below what was asked (the MobileNet rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


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
) -> NetworkSpec:
    """DeepLab v3+ (or v3, `decoder=False`) on MobileNetV2 without its classifier.

    Past `output_stride`, strides become dilations (32: none do, as in the classifier). The skip is taken in block 2,
    the last one at stride 4. Backbone widths are rounded to multiples of `width_divisor` (8 in MobileNetV2; the
    published DeepLab 0.5 networks have 1).
    """
    blocks: list[Block] = []
    stem = round_width(32 * width_multiplier, width_divisor)
    channels, stride, dilation = stem, 2, 1
    for expansion, width, repeats, stage_stride in _MOBILENET_V2_STAGES:
        out = round_width(width * width_multiplier, width_divisor)
        for repeat in range(repeats):
            block_stride = stage_stride if repeat == 0 else 1
            before = dilation  # the block that would have strided still sees the old spacing
            if stride * block_stride > output_stride:
                dilation, block_stride = dilation * block_stride, 1
            stride *= block_stride
            blocks.append(
                Block(
                    expand=channels * expansion if expansion > 1 else 0,
                    project=out,
                    stride=block_stride,
                    dilation=before,
                    residual=block_stride == 1 and channels == out,
                )
            )
            channels = out
    return NetworkSpec(
        input_height=input_height,
        input_width=input_width,
        classes=classes,
        stem=stem,
        blocks=tuple(blocks),
        aspp=Aspp(
            pool=aspp_width if image_pooling else 0,
            pointwise=aspp_width,
            atrous=tuple(AtrousBranch(rate, aspp_width) for rate in atrous_rates),
            project=aspp_width,
        ),
        decoder=Decoder(2, skip_tap, skip_width, (decoder_width, decoder_width)) if decoder else None,
        resize=resize,
    )
