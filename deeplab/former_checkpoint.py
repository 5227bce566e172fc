"""Networks in the files of before: format 1, which described a DeepLab on MobileNetV2 by its widths (a "spec").

Float ones are checkpoints of format 1, quantized ones the `network.npz` of studies and stage caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from deeplab.architectures.heads import aspp, classified, decoded
from deeplab.architectures.mobilenet_v2 import SkipTap, inverted_residual
from deeplab.graph_description import Description, Size, Whole, check_values, read_array, refused, short, validated
from deeplab.network import convolutions, output, parameters, weight_shapes, with_weights
from deeplab.npz_file import HEADER, QUANTIZED_HEADER, ArrayFile
from deeplab.quantization.integers import IntegerWeights, integer_graph, with_integers
from deeplab.quantization.types import ActivationQuantization, BitWidths
from evaluation.errors import UserError
from evaluation.graph import Graph

MOST_PARAMETERS = 500_000_000
_PARTS = ("kernels", "kernel_scales", "biases")
_FrameSize = Annotated[Size, Field(ge=16)]
_Bits = Literal[2, 3, 4, 5, 6, 8, 16]


class _Block(Description):
    expand: Whole
    project: Size
    stride: Annotated[int, Field(ge=1, le=2)]
    dilation: Size
    residual: bool


class _Branch(Description):
    rate: Size
    width: Size


class _Aspp(Description):
    pool: Whole
    pointwise: Size
    atrous: list[_Branch]
    project: Size


class _Decoder(Description):
    skip_block: Whole
    skip_tap: SkipTap
    skip: Size
    refine: list[Size]


class _Spec(Description):
    input_height: _FrameSize
    input_width: _FrameSize
    classes: Size
    stem: Size
    blocks: Annotated[list[_Block], Field(min_length=1)]
    aspp: _Aspp
    decoder: _Decoder | None
    resize: ResizeConvention


class _Activation(Description):
    scale: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    zero_point: Annotated[int, Field(ge=-(1 << 15), lt=1 << 15)]
    bits: _Bits


class _Quantized(Description):
    spec: Any
    bits: dict[str, _Bits | None]
    """By field of `BitWidths`."""
    activations: dict[str, _Activation]


def former_network(spec: Any, archive: ArrayFile, source: str) -> Graph:
    """The float network of a checkpoint of format 1.

    Raises:
        UserError: naming `source` and the field of the spec, or the weight that does not fit it.
    """
    graph = network_of_spec(spec, source)
    shapes = weight_shapes(graph)
    return with_weights(graph, _read(archive, {name: (shape, "float32") for name, shape in shapes.items()}, source))


def former_quantized_network(header: Any, archive: ArrayFile, source: str) -> Graph:
    """The integer network of a file of before.

    Raises:
        UserError: naming `source` and what is damaged.
    """
    stated = validated(_Quantized, header, "description", source)
    network = network_of_spec(stated.spec, source)
    try:
        graph = integer_graph(network, BitWidths(**stated.bits))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise refused(source, "description.bits", f"are those of no network: {short(str(error), 160)}") from None
    indices = {output(graph, operator).name: operator.outputs[0] for operator in graph.operators[:-1]}
    for name in sorted(indices.keys() ^ stated.activations.keys()):
        where = f"description.activations.{short(name)}"
        raise refused(source, where, "is missing" if name in indices else "is unknown")
    shapes, expected = weight_shapes(graph), {}
    for operator in convolutions(graph):
        kernel, bias = (graph.tensors[index] for index in operator.inputs[1:3])
        expected[f"kernels:{operator.name}"] = shapes[f"{operator.name}/kernel"], kernel.dtype
        expected[f"kernel_scales:{operator.name}"] = bias.shape, "float32"
        expected[f"biases:{operator.name}"] = bias.shape, bias.dtype
    arrays = _read(archive, expected, source)
    weights = {
        operator.name: IntegerWeights(*(arrays[f"{part}:{operator.name}"] for part in _PARTS))
        for operator in convolutions(graph)
    }
    activations = {indices[name]: ActivationQuantization(**dict(fields)) for name, fields in stated.activations.items()}
    graph = with_integers(graph, weights, activations)
    check_values(graph, source)
    return graph


def _read(
    archive: ArrayFile, expected: Mapping[str, tuple[tuple[int, ...], str]], source: str
) -> dict[str, np.ndarray]:
    """All arrays of the network by name, from their shapes and types; the file has no others."""
    for name in sorted(archive.arrays.keys() - expected.keys() - {HEADER, QUANTIZED_HEADER}):
        has = f"{short(name)} has the shape {archive.arrays[name].shape}"
        raise UserError(f"{source}: damaged checkpoint: {has}, its network has no such weight; write it again")
    return {name: read_array(archive, name, shape, dtype, source) for name, (shape, dtype) in expected.items()}


def network_of_spec(spec: Any, source: str) -> Graph:
    """The float graph, without weights, that a spec of format 1 describes.

    Raises:
        UserError: naming `source` and the field: missing, unknown, of another type, or out of range.
    """
    stated = validated(_Spec, spec, "spec", source)
    decoder, resize, pyramid = stated.decoder, stated.resize, stated.aspp
    net = GraphBuilder("deeplab", stated.input_height, stated.input_width)
    x, skip = net.convolution("stem", net.input, stated.stem, "RELU6", window=3, stride=2), None
    for index, block in enumerate(stated.blocks):
        if block.residual and (block.stride != 1 or block.project != net.shape(x)[2]):
            raise refused(source, f"spec.blocks.{index}.residual", "adds two tensors of different shapes")
        x, taps = inverted_residual(net, f"block_{index}", x, **dict(block))
        if decoder and index == decoder.skip_block:
            skip = taps[decoder.skip_tap]
    atrous = [(branch.rate, branch.width) for branch in pyramid.atrous]
    x = aspp(net, x, pyramid.pool, pyramid.pointwise, atrous, pyramid.project, resize)
    if decoder:
        if skip is None:
            raise refused(source, "spec.decoder.skip_block", f"is {decoder.skip_block}, no block of this network")
        x = decoded(net, x, skip, decoder.skip, decoder.refine, resize)
    graph = classified(net, x, stated.classes, resize)
    if (count := parameters(graph)) > MOST_PARAMETERS:
        raise refused(source, "spec", f"has {count:,} weights, at most {MOST_PARAMETERS:,} are read")
    return graph
