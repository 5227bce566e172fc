"""A graph as a JSON description and arrays, and back, checked before anything is built on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deeplab.network import MOST_EXTENT, check_network
from deeplab.npz_file import ArrayFile
from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Quantization, Tensor
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes

_BITS = {
    "float32": (32,), "int8": (2, 3, 4, 5, 6, 8), "uint8": (8,), "int16": (16,), "int32": (32,), "int64": (64,),
}  # fmt: skip
"""By type, the bits that its values may have."""
_SHOWN = 40
"""Characters of a value in a message."""
_UNFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError)


class Description(BaseModel):
    """One JSON object of a description: all of its fields are known, and of their very types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)
Whole = Annotated[int, Field(ge=0, le=MOST_EXTENT)]
Size = Annotated[int, Field(ge=1, le=MOST_EXTENT)]
_Pair = Annotated[list[Size], Field(min_length=2, max_length=2)]
_Pads = Annotated[list[Whole], Field(min_length=2, max_length=2)]
_Index = Annotated[int, Field(ge=0)]
_UNSTATED: Any = None


class _Tensor(Description):
    name: str
    shape: Annotated[list[Size], Field(max_length=4)]
    dtype: Literal["float32", "int8", "uint8", "int16", "int32", "int64"]
    bits: Size
    constant: bool = False
    axis: Annotated[int, Field(ge=0, le=3)] | None = None
    """Axis of the scales; where it is not stated there are none, null is one scale for the tensor."""


class _Operator(Description):
    kind: str
    name: str
    inputs: list[Annotated[int, Field(ge=ABSENT)]]
    outputs: list[_Index]
    attributes: dict[str, Any]


class _Network(Description):
    name: str
    tensors: list[_Tensor]
    operators: list[_Operator]
    inputs: list[_Index]
    outputs: list[_Index]


class _Attributes(BaseModel):
    """Attributes that shapes, plans and kernels rest on. Those of other names are the operator's own."""

    model_config = ConfigDict(strict=True)

    stride: _Pair = _UNSTATED
    dilation: _Pair = _UNSTATED
    filter: _Pair = _UNSTATED
    padding: Literal["SAME", "VALID", "EXPLICIT"] = _UNSTATED
    pads: Annotated[list[_Pads], Field(min_length=2, max_length=2)] = _UNSTATED
    activation: Literal["NONE", "RELU", "RELU6", "RELU_N1_TO_1"] = _UNSTATED
    align_corners: bool = _UNSTATED
    half_pixel_centers: bool = _UNSTATED
    axis: Whole = _UNSTATED
    depth_multiplier: Whole = _UNSTATED


_WINDOW = ("stride", "padding", "activation")
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "CONV_2D": (*_WINDOW, "dilation"),
    "DEPTHWISE_CONV_2D": (*_WINDOW, "dilation", "depth_multiplier"),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), (*_WINDOW, "filter")),
    **dict.fromkeys(("ADD", "SUB", "MUL"), ("activation",)),
    "CONCATENATION": ("axis", "activation"),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), ("align_corners", "half_pixel_centers")),
    "ARG_MAX": ("axis",),
}
"""By kind, the attributes without which an operator says too little."""


def described(graph: Graph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description of a graph, JSON values, and the arrays that it refers to by name."""
    arrays: dict[str, np.ndarray] = {}
    tensors = []
    for index, tensor in enumerate(graph.tensors):
        entry = {name: getattr(tensor, name) for name in ("name", "shape", "dtype", "bits")}
        if tensor.is_constant:
            entry["constant"] = True
            arrays[f"data{index}"] = tensor.required_data
        if (parameters := tensor.quantization) is not None:
            entry["axis"] = parameters.axis
            arrays[f"scale{index}"], arrays[f"zero{index}"] = parameters.scale, parameters.zero_point
        tensors.append(entry)
    operators = [vars(operator) | {"attributes": dict(operator.attributes)} for operator in graph.operators]
    ends = {"inputs": graph.inputs, "outputs": graph.outputs}
    return {"name": graph.name, "tensors": tensors, "operators": operators, **ends}, arrays


def parse_graph(description: Any, archive: ArrayFile, source: str) -> Graph:
    """Inverse of `described`.

    Raises:
        UserError: naming `source` and the field: missing, unknown, of another type, out of range, arrays that do not
            fit, or no network of the form of `deeplab.network`.
    """
    stated = validated(_Network, description, "network", source)

    def known(indices: Sequence[int], where: str) -> tuple[int, ...]:
        for index in indices:
            if index >= len(stated.tensors):
                raise refused(source, where, f"has {short(index)}, expected tensors of 0 to {len(stated.tensors) - 1}")
        return tuple(indices)

    operators = []
    for index, operator in enumerate(stated.operators):
        where = f"network.operators.{index}"
        stated_padding = ("pads",) if operator.attributes.get("padding") == "EXPLICIT" else ()
        for name in (*_REQUIRED.get(operator.kind, ()), *stated_padding):
            if name not in operator.attributes:
                raise refused(source, f"{where}.attributes.{name}", "is missing")
        validated(_Attributes, operator.attributes, f"{where}.attributes", source)
        inputs, outputs = known(operator.inputs, f"{where}.inputs"), known(operator.outputs, f"{where}.outputs")
        attributes = {name: _plain(value) for name, value in operator.attributes.items()}
        operators.append(Operator(operator.kind, operator.name, inputs, outputs, attributes))
    ends = known(stated.inputs, "network.inputs"), known(stated.outputs, "network.outputs")
    tensors = tuple(_tensor(tensor, index, archive, source) for index, tensor in enumerate(stated.tensors))
    graph = Graph(stated.name, tensors, tuple(operators), *ends)
    check_values(graph, source)
    try:
        check_order(graph)
        check_shapes(graph)
        check_network(graph)
    except _UNFIT as error:
        raise refused(source, "network", f"does not fit together: {short(str(error), 160)}") from None
    return graph


def _tensor(stated: _Tensor, index: int, archive: ArrayFile, source: str) -> Tensor:
    where, shape = f"network.tensors.{index}", stated.shape
    if stated.bits not in (known := _BITS[stated.dtype]):
        raise refused(source, f"{where}.bits", f"is {stated.bits}, expected {', '.join(map(str, known))}")
    if stated.axis is not None and stated.axis >= len(shape):
        raise refused(source, f"{where}.axis", f"is {stated.axis}, expected an axis of {shape}, or null")
    data = read_array(archive, f"data{index}", shape, stated.dtype, source) if stated.constant else None
    quantization = None
    if "axis" in stated.model_fields_set:
        size = (1,) if stated.axis is None else (shape[stated.axis],)
        scale = read_array(archive, f"scale{index}", size, "float32", source)
        zero = f"zero{index}"
        is_real = zero in archive.arrays and archive.arrays[zero].dtype.kind == "f"
        zero_point = read_array(archive, zero, size, "float64" if is_real else "int64", source)
        quantization = Quantization(scale, zero_point, stated.axis)
    return Tensor(stated.name, tuple(shape), stated.dtype, stated.bits, quantization, stated.constant, data)


def _plain(value: Any) -> Any:
    """Attributes are tuples, which JSON writes as lists."""
    return tuple(_plain(one) for one in value) if isinstance(value, list) else value


# -- shared with the format of before ----------------------------------------------------------------------------------


def read_array(archive: ArrayFile, name: str, shape: Sequence[int], dtype: str, source: str) -> np.ndarray:
    """An array of the archive, unpacked once it has the shape and the kind of numbers that the network has.

    Raises:
        UserError: naming the array: missing, or of another shape or kind.
    """
    if (found := archive.arrays.get(name)) is None:
        raise UserError(f"{source}: damaged checkpoint: {short(name)} is missing; write it again")
    if found.shape != tuple(shape) or found.dtype.kind != np.dtype(dtype).kind:
        raise UserError(
            f"{source}: damaged checkpoint: {short(name)} has the shape {found.shape} of {found.dtype}, its network "
            f"has {tuple(shape)} of {dtype}; write it again"
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32: users of the weights refuse values that are not finite
        return archive.read(name).astype(dtype)


def check_values(graph: Graph, source: str) -> None:
    """Check that integers fit their bits, and that scales are finite and above 0.

    Raises:
        UserError: naming the tensor.
    """
    for tensor in graph.tensors:
        if (data := tensor.data) is not None and tensor.dtype == "int8":
            limit = 1 << tensor.bits - 1
            if data.min() < -limit or data.max() >= limit:
                raise refused(source, short(tensor.name), f"holds values of more than {tensor.bits} bits")
        if (own := tensor.quantization) is not None and not (np.isfinite(own.scale) & (own.scale > 0.0)).all():
            raise refused(source, short(tensor.name), "holds a scale that is not finite and above 0")


def validated(kind: type[M], value: Any, name: str, source: str) -> M:
    """A JSON value as an object of a description.

    Raises:
        UserError: naming `source` and the first field that is missing, unknown, of another type, or out of range.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    where = ".".join([name, *(short(part) for part in first["loc"])])
    if first["type"] in ("missing", "extra_forbidden"):
        raise refused(source, where, "is missing" if first["type"] == "missing" else "is unknown")
    why = "expected an object" if first["type"] == "model_type" else first["msg"]
    why = why.replace("Input should be", "expected").replace("Value error, ", "").replace("List should", "it should")
    raise refused(source, where, f"is {short(repr(first['input']))}, {why}")


def refused(source: str, name: str, why: str) -> UserError:
    """The error for one field of a description."""
    return UserError(f"{source}: damaged network: {name} {why}; write the file again")


def short(value: Any, most: int = _SHOWN) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
