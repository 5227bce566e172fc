"""Names and rules of DeepLab as `tensorflow/models` trains it (research/deeplab, TF-Slim), and specs made by them.

Shared by the checkpoint and the frozen graph: both hold the same variables. The properties that they do not hold
(strides, rates, the skip) come from the graph, or from `Unstated`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.importing.backbone import BLOCKS, Backbone, backbone_layers
from deeplab.importing.folding import BatchNorm
from deeplab.importing.slim_names import count, default_epsilon, kernel_name, scope_of
from deeplab.layers import Layer, layers, weight_shapes
from deeplab.spec import Aspp, AtrousBranch, Block, Decoder, NetworkSpec, ResizeConvention, SkipTap
from evaluation.errors import UserError

Variables = Mapping[str, np.ndarray]

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
# Trained, but not part of a DeepLab: MobileNetV2's last convolution and its classifier.
_UNUSED_SCOPES = ("MobilenetV2/Conv_1", "MobilenetV2/Logits", "MobilenetV2/Predictions")


@dataclass(frozen=True)
class Unstated:
    """Properties that a checkpoint does not state; by default those of the published networks."""

    input_size: tuple[int, int] | None = None
    """Height, width; None: 513 x 513."""
    output_stride: int = 16
    atrous_rates: tuple[int, ...] | None = None
    """None: where there are three branches, 6, 12, 18 at output stride 16 and twice that at 8 (Chen et al. 2017)."""
    resize: ResizeConvention = "align_corners"


@dataclass(frozen=True)
class Geometry:
    """Everything of a network that is not in the shapes of its weights."""

    input_size: tuple[int, int]
    windows: tuple[tuple[int, int], ...]
    """(stride, dilation) of each block's depthwise convolution."""
    rates: tuple[int, ...]
    skip: tuple[int, SkipTap] | None
    resize: ResizeConvention


def check_backbone(variables: Variables, path: str) -> None:
    """Refuse a network that is no MobileNetV2, and name what it seems to be."""
    if kernel_name("stem") in variables and count(variables, "block_{}/project"):
        return
    kernels = [name for name in variables if re.search(r"/(depthwise_)?weights$", name)]
    found = f"it holds {kernels[0].split('/')[0]} ({kernels[0]})" if kernels else "it holds no convolution at all"
    raise UserError(
        f"{path}: not MobileNetV2: {found}, expected {kernel_name('stem')} and {kernel_name('block_0/project')}; "
        "only DeepLab on MobileNetV2 can be imported"
    )


def has_head(variables: Variables) -> bool:
    """False for a backbone alone, such as the classifiers trained on ImageNet."""
    heads = ("aspp/pointwise", "aspp/pool/pointwise", "aspp/project", "logits")
    return any(kernel_name(layer) in variables for layer in heads)


def taken(variables: Variables, name: str, path: str) -> np.ndarray:
    if name not in variables:
        raise UserError(f"{path}: variable {name} is missing; the file is not a whole DeepLab on MobileNetV2")
    return variables[name]


def spec_of(variables: Variables, geometry: Geometry, path: str) -> NetworkSpec:
    """The spec that the shapes of the kernels and a geometry make.

    Raises:
        UserError: a variable is missing, or one with weights belongs to no layer of a DeepLab v3 or v3+.
    """

    def width(layer: str) -> int:
        return taken(variables, kernel_name(layer), path).shape[-1]

    blocks, channels = [], width("stem")
    for number, (stride, dilation) in enumerate(geometry.windows):
        expand = width(f"block_{number}/expand") if kernel_name(f"block_{number}/expand") in variables else 0
        project = width(f"block_{number}/project")
        blocks.append(Block(expand, project, stride, dilation, stride == 1 and channels == project))
        channels = project
    refine = tuple(
        width(f"decoder/refine_{i}/pointwise") for i in range(count(variables, "decoder/refine_{}/pointwise"))
    )
    pooled = kernel_name("aspp/pool/pointwise") in variables
    branches = enumerate(geometry.rates)
    spec = NetworkSpec(
        input_height=geometry.input_size[0],
        input_width=geometry.input_size[1],
        classes=width("logits"),
        stem=width("stem"),
        blocks=tuple(blocks),
        aspp=Aspp(
            pool=width("aspp/pool/pointwise") if pooled else 0,
            pointwise=width("aspp/pointwise"),
            atrous=tuple(AtrousBranch(rate, width(f"aspp/atrous_{i}/pointwise")) for i, rate in branches),
            project=width("aspp/project"),
        ),
        decoder=Decoder(*geometry.skip, width("decoder/skip"), refine) if geometry.skip else None,
        resize=geometry.resize,
    )
    _check_nothing_is_left(variables, [layer.name for layer in layers(spec) if layer.has_weights], path)
    return spec


def _check_nothing_is_left(variables: Variables, names: list[str], path: str) -> None:
    """A convolution of no known layer would silently be left out (a full 3x3 in the ASPP, a second skip)."""
    known = {kernel_name(name) for name in names}
    for name in sorted(variables):
        if re.search(r"/(depthwise_)?weights$", name) and name not in known and not name.startswith(_UNUSED_SCOPES):
            raise UserError(
                f"{path}: variable {name} belongs to no layer of a DeepLab v3 or v3+ as it can be imported; expected "
                "separable 3x3 convolutions (aspp_with_separable_conv, decoder_use_separable_conv), at most one skip "
                "and one output named semantic"
            )


def folded_weights(
    kernels: Mapping[Layer, tuple[int, ...]],
    variables: Variables,
    path: str,
    epsilon: Callable[[str], float] = default_epsilon,
) -> dict[str, np.ndarray]:
    """Weights of the layers, each kernel of the shape given with its layer, BatchNorm folded in.

    Raises:
        UserError: a variable is missing or has another shape.
    """

    def shaped(name: str, shape: tuple[int, ...]) -> np.ndarray:
        array = taken(variables, name, path)
        if array.shape != shape:
            raise UserError(f"{path}: variable {name} has the shape {array.shape}, expected {shape}")
        return array

    weights: dict[str, np.ndarray] = {}
    for layer, shape in kernels.items():
        kernel, size = shaped(kernel_name(layer.name), shape), (layer.channels,)
        if layer.name == "logits":
            bias = shaped(f"{scope_of(layer.name)}/biases", size)
        else:
            norm = [shaped(f"{scope_of(layer.name)}/BatchNorm/{part}", size) for part in _NORM]
            kernel, bias = BatchNorm(*norm, epsilon(layer.name)).folded_into(kernel, layer.kind == "depthwise")
        weights[f"{layer.name}/kernel"] = np.asarray(kernel, np.float32)
        weights[f"{layer.name}/bias"] = np.asarray(bias, np.float32)
    return weights


def kernel_shapes(spec: NetworkSpec) -> dict[Layer, tuple[int, ...]]:
    """Each convolution of a network with the shape of its kernel."""
    shapes = weight_shapes(spec)
    return {layer: shapes[f"{layer.name}/kernel"] for layer in layers(spec) if layer.has_weights}


def backbone_of(variables: Variables, path: str) -> Backbone:
    """The backbone of a file without a head, such as a classifier trained on ImageNet."""
    check_depth(variables, path)

    def width(layer: str) -> int:
        return taken(variables, kernel_name(layer), path).shape[-1] if kernel_name(layer) in variables else 0

    stem = width("stem")
    widths = tuple((width(f"block_{i}/expand"), width(f"block_{i}/project")) for i in range(len(BLOCKS)))
    return Backbone(stem, widths, folded_weights(backbone_layers(stem, widths), variables, path))


def check_depth(variables: Variables, path: str) -> None:
    """Strides are those of MobileNetV2's table only if there are as many blocks as in it."""
    found = count(variables, "block_{}/project")
    if found != len(BLOCKS):
        name = kernel_name(f"block_{found}/project")
        raise UserError(
            f"{path}: variable {name} is missing or one too many: {found} inverted residuals, expected the "
            f"{len(BLOCKS)} of MobileNetV2; give the frozen graph, which tells the strides of any other number"
        )
