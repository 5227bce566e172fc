"""Names and rules of DeepLab as `tensorflow/models` trains it (research/deeplab, TF-Slim), and graphs of its variables.

What the variables do not hold (strides, rates, the resize convention) comes from `Unstated`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.architectures import BackboneWidths, GraphBuilder, ResizeConvention, SkipTap
from deeplab.architectures.heads import aspp, classified, decoded
from deeplab.architectures.mobilenet_v2 import STRIDES, inverted_residual
from deeplab.importing.backbone import Backbone, backbone_graph
from deeplab.importing.folding import BatchNorm
from deeplab.importing.slim_names import count, default_epsilon, kernel_name, scope_of
from deeplab.network import convolutions, is_depthwise, weight_shapes
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator

Variables = Mapping[str, np.ndarray]

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
# Trained, but not part of a DeepLab: MobileNetV2's last convolution and its classifier.
_UNUSED_SCOPES = ("MobilenetV2/Conv_1", "MobilenetV2/Logits", "MobilenetV2/Predictions")


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


def graph_of(variables: Variables, geometry: Geometry, path: str) -> Graph:
    """The network, without weights, that the shapes of the kernels and a geometry make.

    Raises:
        UserError: a variable is missing, or one with weights belongs to no layer of a DeepLab v3 or v3+.
    """

    def width(layer: str) -> int:
        return taken(variables, kernel_name(layer), path).shape[-1]

    net = GraphBuilder("deeplab", *geometry.input_size)
    x, skip = net.convolution("stem", net.input, width("stem"), "RELU6", window=3, stride=2), None
    for number, window in enumerate(geometry.windows):
        name = f"block_{number}"
        expand = width(f"{name}/expand") if kernel_name(f"{name}/expand") in variables else 0
        project = width(f"{name}/project")
        residual = window[0] == 1 and net.shape(x)[2] == project
        x, taps = inverted_residual(net, name, x, expand, project, *window, residual=residual)
        if geometry.skip is not None and geometry.skip[0] == number:
            skip = taps[geometry.skip[1]]
    pool = width("aspp/pool/pointwise") if kernel_name("aspp/pool/pointwise") in variables else 0
    atrous = [(rate, width(f"aspp/atrous_{i}/pointwise")) for i, rate in enumerate(geometry.rates)]
    x = aspp(net, x, pool, width("aspp/pointwise"), atrous, width("aspp/project"), geometry.resize)
    if skip is not None:
        refine = [
            width(f"decoder/refine_{i}/pointwise") for i in range(count(variables, "decoder/refine_{}/pointwise"))
        ]
        x = decoded(net, x, skip, width("decoder/skip"), refine, geometry.resize)
    graph = classified(net, x, width("logits"), geometry.resize)
    _check_nothing_is_left(variables, [operator.name for operator in convolutions(graph)], path)
    return graph


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


def folded_weights(graph: Graph, chosen: Iterable[Operator], variables: Variables, path: str) -> dict[str, np.ndarray]:
    """Weights of some convolutions of a graph, BatchNorm folded in.

    Raises:
        UserError: a variable is missing or has another shape.
    """

    def shaped(name: str, shape: tuple[int, ...]) -> np.ndarray:
        array = taken(variables, name, path)
        if array.shape != shape:
            raise UserError(f"{path}: variable {name} has the shape {array.shape}, expected {shape}")
        return array

    weights: dict[str, np.ndarray] = {}
    shapes, last = weight_shapes(graph), convolutions(graph)[-1].name
    for operator in chosen:
        name, size = operator.name, shapes[f"{operator.name}/bias"]
        kernel = shaped(kernel_name(name), shapes[f"{name}/kernel"])
        if name == last:
            bias = shaped(f"{scope_of(name)}/biases", size)
        else:
            gamma, beta, mean, variance = (shaped(f"{scope_of(name)}/BatchNorm/{part}", size) for part in _NORM)
            norm = BatchNorm(gamma, beta, mean, variance, default_epsilon(name))
            kernel, bias = norm.folded_into(kernel, is_depthwise(operator))
        weights[f"{name}/kernel"] = np.asarray(kernel, np.float32)
        weights[f"{name}/bias"] = np.asarray(bias, np.float32)
    return weights


def backbone_of(variables: Variables, path: str) -> Backbone:
    """The backbone of a file without a head, such as a classifier trained on ImageNet."""
    check_depth(variables, path)

    def width(layer: str) -> int:
        return taken(variables, kernel_name(layer), path).shape[-1] if kernel_name(layer) in variables else 0

    blocks = tuple((width(f"block_{i}/expand"), width(f"block_{i}/project")) for i in range(len(STRIDES)))
    widths: BackboneWidths = (width("stem"), blocks)
    return Backbone(widths, folded_weights(*backbone_graph(widths), variables, path))


def check_depth(variables: Variables, path: str) -> None:
    """Strides are those of MobileNetV2's table only if there are as many blocks as in it."""
    found = count(variables, "block_{}/project")
    if found != len(STRIDES):
        name = kernel_name(f"block_{found}/project")
        raise UserError(
            f"{path}: variable {name} is missing or one too many: {found} inverted residuals, expected the "
            f"{len(STRIDES)} of MobileNetV2; give the frozen graph, which tells the strides of any other number"
        )
