"""Networks in the files of before: format 1, which described a DeepLab on MobileNetV2 by its widths (a "spec").

Float ones are checkpoints of format 1, quantized ones the `network.npz` of studies and stage caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplab.architectures.builder import GraphBuilder
from deeplab.architectures.mobilenet_v2 import SkipTap, aspp, classified, decoded, inverted_residual
from deeplab.json_header import parse_header, refused, short
from deeplab.network import convolutions, weight_shapes, with_weights
from deeplab.npz_file import ArrayFile
from deeplab.quantization.integers import IntegerWeights, integer_graph, with_integers
from deeplab.quantization.types import ActivationQuantization, BitWidths
from evaluation.errors import UserError
from evaluation.graph import Graph

HEADER = "petitlab"
QUANTIZED_HEADER = "petitlab-quantized"
_PARTS = ("kernels", "kernel_scales", "biases")
MOST_EXTENT = 16_384
"""Bound of input height and width, of widths, rates and dilations."""
MOST_PARAMETERS = 500_000_000
_FIELDS = ("input_height", "input_width", "classes", "stem", "blocks", "aspp", "decoder", "resize")
_BLOCK = ("expand", "project", "stride", "dilation", "residual")
_ASPP = ("pool", "pointwise", "atrous", "project")
_BRANCH = ("rate", "width")
_DECODER = ("skip_block", "skip_tap", "skip", "refine")


def former_network(spec: Any, archive: ArrayFile, source: str) -> Graph:
    """The float network of a checkpoint of format 1.

    Raises:
        UserError: naming `source` and the field of the spec, or the weight that does not fit it.
    """
    graph = network_of_spec(spec, source)
    expected = weight_shapes(graph)
    _check_arrays(archive, expected, source)
    with np.errstate(over="ignore"):  # a float64 beyond float32: users of the weights refuse values that are not finite
        return with_weights(graph, {name: archive.read(name).astype(np.float32) for name in expected})


def former_quantized_network(archive: ArrayFile, source: str) -> Graph:
    """The integer network of a file of before.

    Raises:
        UserError: damaged.
    """
    header = parse_header(archive.text(QUANTIZED_HEADER), source)
    try:
        network = network_of_spec(header["spec"], source)
        integers = integer_graph(network, BitWidths(**header["bits"]))
        stated = {name: ActivationQuantization(**fields) for name, fields in header["activations"].items()}
        activations = {
            index: stated.pop(integers.tensors[index].name)
            for index in (operator.outputs[0] for operator in integers.operators)
            if index not in integers.outputs
        }
        if stated:
            raise ValueError(f"no activation {short(next(iter(stated)))}")
        shapes = weight_shapes(network)
        expected = {}
        for operator in convolutions(network):
            name = operator.name
            expected[f"kernels:{name}"] = shapes[f"{name}/kernel"]
            expected[f"kernel_scales:{name}"] = expected[f"biases:{name}"] = shapes[f"{name}/bias"]
        _check_arrays(archive, expected, source)
        weights = {
            operator.name: IntegerWeights(*(archive.read(f"{part}:{operator.name}") for part in _PARTS))
            for operator in convolutions(network)
        }
        return with_integers(integers, weights, activations)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{source}: damaged quantized network ({error}); write it again") from None


def _check_arrays(archive: ArrayFile, expected: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Compare shapes with those that the network has, before any array is read."""
    found = {name: array.shape for name, array in archive.arrays.items() if name not in (HEADER, QUANTIZED_HEADER)}
    for name in (*expected, *found):
        if found.get(name) != expected.get(name):
            has = f"has the shape {found[name]}" if name in found else "is missing"
            wanted = expected.get(name, "no such weight")
            raise UserError(
                f"{source}: damaged checkpoint: {short(name)} {has}, its network has {wanted}; write it again"
            )


def network_of_spec(spec: Any, source: str) -> Graph:
    """The float graph, without weights, that a spec of format 1 describes.

    Raises:
        UserError: naming `source` and the field: missing, unknown, of another type, or out of range.
    """
    read = _Spec(spec, _FIELDS, "spec", source)
    height, width = read.whole("input_height", 16), read.whole("input_width", 16)
    resize = read.word("resize", ("legacy", "align_corners", "half_pixel"))
    net = GraphBuilder("deeplab", height, width)
    decoder = read.within("decoder", _DECODER) if read.has("decoder") else None
    skip_block = decoder.whole("skip_block", 0) if decoder else -1
    tap = decoder.word("skip_tap", ("expand", "depthwise", "project")) if decoder else "project"
    x, skip = net.convolution("stem", net.input, read.whole("stem"), "RELU6", window=3, stride=2), None
    blocks = read.each("blocks", _BLOCK)
    if not blocks:
        raise refused(source, "spec.blocks", "is 0, expected 1 or more")
    for index, block in enumerate(blocks):
        stride, residual = block.whole("stride", most=2), block.truth("residual")
        project = block.whole("project")
        if residual and (stride != 1 or project != net.shape(x)[2]):
            raise refused(source, f"spec.blocks.{index}.residual", "adds two tensors of different shapes")
        expand, dilation = block.whole("expand", 0), block.whole("dilation")
        x, taps = inverted_residual(net, f"block_{index}", x, expand, project, stride, dilation, residual=residual)
        skip = taps[_tap(tap)] if index == skip_block else skip
    pyramid = read.within("aspp", _ASPP)
    atrous = [(branch.whole("rate"), branch.whole("width")) for branch in pyramid.each("atrous", _BRANCH)]
    x = aspp(net, x, pyramid.whole("pool", 0), pyramid.whole("pointwise"), atrous, pyramid.whole("project"), resize)
    if decoder:
        if skip is None:
            raise refused(source, "spec.decoder.skip_block", f"is {skip_block}, no block of this network")
        x = decoded(net, x, skip, decoder.whole("skip"), decoder.widths("refine"), resize)
    graph = classified(net, x, read.whole("classes"), resize)
    parameters = sum(int(np.prod(shape)) for shape in weight_shapes(graph).values())
    if parameters > MOST_PARAMETERS:
        raise refused(source, "spec", f"has {parameters:,} weights, at most {MOST_PARAMETERS:,} are read")
    return graph


def _tap(word: str) -> SkipTap:
    taps: Mapping[str, SkipTap] = {"expand": "expand", "depthwise": "depthwise", "project": "project"}
    return taps[word]


class _Spec:
    """One object of a spec; every field is checked as it is read."""

    def __init__(self, value: Any, fields: tuple[str, ...], name: str, source: str) -> None:
        self._name, self._source = name, source
        if not isinstance(value, dict):
            raise refused(source, name, f"is {short(value)}, expected an object")
        for key in value:
            if key not in fields:
                raise refused(source, f"{name}.{short(key)}", "is unknown")
        self._value = value

    def has(self, key: str) -> bool:
        return self._field(key) is not None

    def _field(self, key: str) -> Any:
        if key not in self._value:
            raise refused(self._source, f"{self._name}.{key}", "is missing")
        return self._value[key]

    def whole(self, key: str, least: int = 1, most: int = MOST_EXTENT) -> int:
        value = self._field(key)
        if type(value) is not int:
            raise refused(self._source, f"{self._name}.{key}", f"is {short(value)}, expected a whole number")
        return self._bounded(key, value, least, most)

    def _bounded(self, key: str, value: int, least: int, most: int) -> int:
        if not least <= value <= most:
            raise refused(self._source, f"{self._name}.{key}", f"is {value}, expected {least} to {most}")
        return value

    def truth(self, key: str) -> bool:
        value = self._field(key)
        if type(value) is not bool:
            raise refused(self._source, f"{self._name}.{key}", f"is {short(value)}, expected true or false")
        return value

    def word(self, key: str, known: tuple[str, ...]) -> Any:
        value = self._field(key)
        if not isinstance(value, str) or value not in known:
            raise refused(self._source, f"{self._name}.{key}", f"is {short(value)}, expected {', '.join(known)}")
        return value

    def widths(self, key: str) -> list[int]:
        found = self._list(key)
        for index, width in enumerate(found):
            if type(width) is not int:
                raise refused(
                    self._source, f"{self._name}.{key}.{index}", f"is {short(width)}, expected a whole number"
                )
            self._bounded(f"{key}.{index}", width, 1, MOST_EXTENT)
        return found

    def within(self, key: str, fields: tuple[str, ...]) -> _Spec:
        return _Spec(self._field(key), fields, f"{self._name}.{key}", self._source)

    def each(self, key: str, fields: tuple[str, ...]) -> list[_Spec]:
        return [
            _Spec(one, fields, f"{self._name}.{key}.{index}", self._source) for index, one in enumerate(self._list(key))
        ]

    def _list(self, key: str) -> list[Any]:
        value = self._field(key)
        if not isinstance(value, list):
            raise refused(self._source, f"{self._name}.{key}", f"is {short(value)}, expected a list")
        return value
