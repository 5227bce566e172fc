"""A graph as a JSON description and arrays, and back, checked before anything is built on it.

No schema library: a served network needs NumPy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeplab.graph_attributes import parse_attributes
from deeplab.json_header import refused, short
from deeplab.network import check_network
from deeplab.npz_file import ArrayFile
from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Quantization, Tensor
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes

MOST_EXTENT = 16_384
"""Bound of the height, width and channels of an activation."""
_BITS = {
    "float32": (32,),
    "int8": (2, 3, 4, 5, 6, 8),
    "uint8": (8,),
    "int16": (16,),
    "int32": (32,),
    "int64": (64,),
}
"""By type, the bits that its values may have."""
_UNFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError)


def described(graph: Graph) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description of a graph, JSON values, and the arrays that it refers to by name."""
    arrays: dict[str, np.ndarray] = {}
    tensors = []
    for index, tensor in enumerate(graph.tensors):
        entry: dict[str, Any] = {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "dtype": tensor.dtype,
            "bits": tensor.bits,
        }
        if tensor.is_constant:
            entry["constant"] = True
            arrays[f"data{index}"] = tensor.required_data
        if (parameters := tensor.quantization) is not None:
            entry["axis"] = parameters.axis
            arrays[f"scale{index}"], arrays[f"zero{index}"] = parameters.scale, parameters.zero_point
        tensors.append(entry)
    operators = [
        {
            "kind": operator.kind,
            "name": operator.name,
            "inputs": list(operator.inputs),
            "outputs": list(operator.outputs),
            "attributes": dict(operator.attributes),
        }
        for operator in graph.operators
    ]
    description = {
        "name": graph.name,
        "tensors": tensors,
        "operators": operators,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
    }
    return description, arrays


def parse_graph(description: Any, archive: ArrayFile, source: str) -> Graph:
    """Inverse of `described`.

    Raises:
        UserError: naming `source` and the field: missing, of another type, out of range, arrays that do not fit, or no
            network of the form of `deeplab.network`.
    """
    top = _fields(description, "network", source, {"name": str, "tensors": list, "operators": list})
    tensors = tuple(
        _tensor(entry, index, archive, f"network.tensors.{index}", source) for index, entry in enumerate(top["tensors"])
    )
    count = len(tensors)
    operators = []
    for index, entry in enumerate(top["operators"]):
        where = f"network.operators.{index}"
        found = _fields(entry, where, source, {"kind": str, "name": str, "attributes": dict})
        inputs, outputs = (_indices(entry, key, where, count, source) for key in ("inputs", "outputs"))
        attributes = parse_attributes(found["attributes"], found["kind"], f"{where}.attributes", source)
        operators.append(Operator(found["kind"], found["name"], inputs, outputs, attributes))
    ends = (_indices(description, key, "network", count, source) for key in ("inputs", "outputs"))
    graph = Graph(top["name"], tensors, tuple(operators), *ends)
    try:
        check_order(graph)
        check_shapes(graph)
        check_network(graph)
    except _UNFIT as error:
        raise refused(source, "network", f"does not fit together: {short(str(error), 160)}") from None
    return graph


def _tensor(entry: Any, index: int, archive: ArrayFile, where: str, source: str) -> Tensor:
    found = _fields(entry, where, source, {"name": str, "shape": list, "dtype": str, "bits": int})
    shape = tuple(found["shape"])
    if len(shape) > 4 or not all(type(extent) is int and 1 <= extent <= MOST_EXTENT for extent in shape):
        raise refused(source, f"{where}.shape", f"is {short(shape)}, expected up to four sizes of 1 to {MOST_EXTENT}")
    if found["dtype"] not in _BITS:
        raise refused(source, f"{where}.dtype", f"is {short(found['dtype'])}, expected {', '.join(_BITS)}")
    bits, known = found["bits"], _BITS[found["dtype"]]
    if bits not in known:
        raise refused(source, f"{where}.bits", f"is {short(bits)}, expected {', '.join(map(str, known))}")
    constant = entry.get("constant", False) is True
    data = _array(archive, f"data{index}", shape, found["dtype"], source) if constant else None
    if (
        data is not None
        and data.dtype == np.int8
        and not (-(1 << bits - 1) <= data.min() <= data.max() < 1 << bits - 1)
    ):
        raise refused(source, f"data{index}", f"holds values of more than {bits} bits")
    quantization = None
    if "axis" in entry:
        axis = entry["axis"]
        if axis is not None and (type(axis) is not int or not 0 <= axis < len(shape)):
            raise refused(source, f"{where}.axis", f"is {short(axis)}, expected an axis of {list(shape)}, or null")
        size = (1,) if axis is None else (shape[axis],)
        zero_type = "float64" if _declared(archive, f"zero{index}", source).kind == "f" else "int64"
        scale = _array(archive, f"scale{index}", size, "float32", source)
        if not (np.isfinite(scale).all() and (scale > 0.0).all()):
            raise refused(source, f"scale{index}", "holds a scale that is not finite and above 0")
        quantization = Quantization(scale, _array(archive, f"zero{index}", size, zero_type, source), axis)
    return Tensor(found["name"], shape, found["dtype"], bits, quantization, constant, data)


def _declared(archive: ArrayFile, name: str, source: str) -> np.dtype[Any]:
    if name not in archive.arrays:
        raise UserError(f"{source}: damaged checkpoint: {name} is missing; write it again")
    return archive.arrays[name].dtype


def _array(archive: ArrayFile, name: str, shape: Sequence[int], dtype: str, source: str) -> np.ndarray:
    """An array of the archive, of the shape and the kind of numbers that the description says."""
    stored = _declared(archive, name, source)
    found = archive.arrays[name].shape
    if found != tuple(shape) or stored.kind != np.dtype(dtype).kind:
        raise UserError(
            f"{source}: damaged checkpoint: {name} has the shape {found} of {stored}, its network has {tuple(shape)} "
            f"of {dtype}; write it again"
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32: users of the weights refuse values that are not finite
        return archive.read(name).astype(dtype)


def _fields(value: Any, where: str, source: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refused(source, where, f"is {short(value)}, expected an object")
    for key, kind in kinds.items():
        if key not in value:
            raise refused(source, f"{where}.{key}", "is missing")
        if type(value[key]) is not kind:
            raise refused(source, f"{where}.{key}", f"is {short(value[key])}, expected {kind.__name__}")
    return value


def _indices(value: Mapping[str, Any], key: str, where: str, count: int, source: str) -> tuple[int, ...]:
    found = value.get(key)
    if not isinstance(found, list) or not all(type(index) is int and ABSENT <= index < count for index in found):
        raise refused(source, f"{where}.{key}", f"is {short(found)}, expected a list of tensors, 0 to {count - 1}")
    return tuple(found)
