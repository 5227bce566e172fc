"""Simplification of a file graph: the same function of the image by fewer operators, of the kinds that a network has.

A file graph is a file's network in TFLite's operators, with batch 1 and channels last. Exporters write what a network
computes in many ways: a batch normalisation as a product and a sum, an activation function as four operators, a vector
of one value a channel in tensors of rank 1, 2 or 4. Each step here replaces one such way by one operator or by none.
All of them keep the function that is computed, up to the rounding of float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.graph.padding import without_padding_operators

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_AFFINE = ("ADD", "SUB", "MUL", "DIV")
_CLAMPING = (*_CONVOLUTIONS, "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D")
"""Operators that have an activation function of their own."""
_CLAMPS = ("RELU", "RELU6")
_VECTORS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE")
"""Operators that change nothing of a map of one pixel but its shape."""
_HALF, _SIXTH = 3.0, 6.0
"""Offset and divisor of the hard sigmoid, clamp(x + 3, 0, 6) / 6 (Howard et al. 2019, section 5.2)."""


def simplified(graph: Graph) -> Graph:
    """The simplified graph; operators that nothing needs are left out.

    Args:
        graph: in float, constants real.
    """
    edited = EditedGraph(without_padding_operators(graph))
    for step in (_pass_over, _as_maps, _as_pools, _split_apart, _with_constant_second, _as_hard_swish, _as_relu6):
        step(edited)
    changed = True
    while changed:
        changed = any([_fold_affine(edited), _fuse_clamps(edited)])
    return edited.graph()


class EditedGraph:
    """A graph whose operators are replaced one by one."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.tensors = list(graph.tensors)
        self.operators: list[Operator] = list(graph.operators)
        self.outputs = graph.outputs

    def graph(self) -> Graph:
        """The graph of the operators that the outputs need."""
        written = {tensor: operator for operator in self.operators for tensor in operator.outputs}
        needed: set[int] = set()
        waiting = list(self.outputs)
        while waiting:
            operator = written.get(waiting.pop())
            if operator is not None and id(operator) not in needed:
                needed.add(id(operator))
                waiting += operator.inputs
        operators = tuple(operator for operator in self.operators if id(operator) in needed)
        return replace(self._graph, tensors=tuple(self.tensors), operators=operators, outputs=self.outputs)

    def each(self) -> Iterator[Operator]:
        """The operators in order, each as it is when its turn comes; those that are gone by then are left out."""
        for results in [operator.outputs for operator in self.operators]:
            operator = self.writer(results[0])
            if operator is not None:
                yield operator

    def readers(self, tensor: int) -> list[Operator]:
        return [operator for operator in self.operators if tensor in operator.inputs]

    def only_reader(self, tensor: int) -> Operator | None:
        """The one operator that reads a tensor, once, if it is no output of the graph."""
        found = self.readers(tensor)
        alone = len(found) == 1 and found[0].inputs.count(tensor) == 1 and tensor not in self.outputs
        return found[0] if alone else None

    def writer(self, tensor: int) -> Operator | None:
        return next((operator for operator in self.operators if tensor in operator.outputs), None)

    def constant(self, tensor: int) -> np.ndarray | None:
        """The values of a constant, None of anything else."""
        return None if tensor == ABSENT else self.tensors[tensor].data

    def replace(self, old: Operator, *new: Operator) -> None:
        at = next(index for index, operator in enumerate(self.operators) if operator is old)
        self.operators[at : at + 1] = new

    def remove(self, operator: Operator) -> None:
        self.operators = [other for other in self.operators if other is not operator]

    def redirect(self, old: int, new: int) -> None:
        """Let whatever reads a tensor, or is given by it, take another."""
        self.operators = [
            replace(operator, inputs=tuple(new if index == old else index for index in operator.inputs))
            if old in operator.inputs
            else operator
            for operator in self.operators
        ]
        self.outputs = tuple(new if index == old else index for index in self.outputs)

    def add_constant(self, name: str, data: np.ndarray) -> int:
        dtype = str(data.dtype)
        bits = 8 * data.dtype.itemsize
        self.tensors.append(Tensor(name, data.shape, dtype, bits, is_constant=True, data=data))
        return len(self.tensors) - 1

    def reshape(self, tensor: int, shape: tuple[int, ...]) -> None:
        """State another shape of a tensor with as many elements."""
        own = self.tensors[tensor]
        data = None if own.data is None else own.data.reshape(shape)
        self.tensors[tensor] = replace(own, shape=shape, data=data)


# -- operators that compute nothing ------------------------------------------------------------------------------------


def _pass_over(edited: EditedGraph) -> None:
    """QUANTIZE, DEQUANTIZE, and RESHAPE, CAST and resizes to the shape and type that are there."""
    for operator in edited.each():
        source, result = operator.inputs[0], operator.outputs[0]
        same = edited.tensors[source].shape == edited.tensors[result].shape
        unmoved = operator.kind in ("RESHAPE", "CAST", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR") and same
        if operator.kind in ("QUANTIZE", "DEQUANTIZE") or (unmoved and not edited.tensors[source].is_constant):
            edited.remove(operator)
            edited.redirect(result, source)


def _as_maps(edited: EditedGraph) -> None:
    """Vectors of one value a channel, of whatever rank, as maps of one pixel; a FULLY_CONNECTED of one as a 1x1
    convolution."""
    for operator in edited.each():
        result = operator.outputs[0]
        tensor = edited.tensors[result]
        if operator.kind == "MEAN" and tensor.elements == edited.tensors[operator.inputs[0]].shape[-1]:
            edited.reshape(result, (1, 1, 1, tensor.elements))
        elif operator.kind in _VECTORS and _is_vector(edited, operator.inputs[0]) and _is_vector(edited, result):
            edited.remove(operator)
            edited.redirect(result, operator.inputs[0])
        elif operator.kind == "FULLY_CONNECTED" and _is_vector(edited, operator.inputs[0]):
            kernel = edited.constant(operator.inputs[1])
            if kernel is None:
                continue
            weights = edited.add_constant(f"{operator.name}/kernel", kernel.reshape(len(kernel), 1, 1, -1))
            bias = operator.inputs[2] if len(operator.inputs) > 2 else ABSENT
            attributes = {
                "stride": (1, 1), "dilation": (1, 1), "padding": "VALID",
                "activation": operator.attributes.get("activation", "NONE"),
            }  # fmt: skip
            edited.reshape(result, (1, 1, 1, tensor.elements))
            inputs = operator.inputs[0], weights, bias
            edited.replace(operator, Operator("CONV_2D", operator.name, inputs, (result,), attributes))
        elif len(tensor.shape) == 2 and operator.inputs and _is_vector(edited, operator.inputs[0]):
            edited.reshape(result, (1, 1, 1, tensor.elements))


def _is_vector(edited: EditedGraph, tensor: int) -> bool:
    """Whether a tensor has one value a channel: all axes but one are 1."""
    shape = edited.tensors[tensor].shape
    return len(shape) <= 4 and math.prod(shape) == max(shape, default=1)


def _as_pools(edited: EditedGraph) -> None:
    """MEAN over the whole image as AVERAGE_POOL_2D."""
    for operator in edited.each():
        source, result = (edited.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
        if operator.kind == "MEAN" and len(source) == 4 and tuple(operator.attributes["axes"]) == (1, 2):
            if result != (1, 1, 1, source[3]):
                continue
            attributes = {"filter": source[1:3], "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
            pool = replace(operator, kind="AVERAGE_POOL_2D", inputs=operator.inputs[:1], attributes=attributes)
            edited.replace(operator, pool)


def _split_apart(edited: EditedGraph) -> None:
    """SPLIT and SPLIT_V along the channels as a STRIDED_SLICE for each part; SLICE as one."""
    for operator in edited.each():
        if operator.kind not in ("SPLIT", "SPLIT_V", "SLICE"):
            continue
        source = operator.inputs[1] if operator.kind == "SPLIT" else operator.inputs[0]
        shape = edited.tensors[source].shape
        if operator.kind == "SLICE":
            begins = [tuple(operator.attributes["begin"])]
        elif operator.attributes["axis"] != len(shape) - 1:
            continue
        else:
            sizes = [edited.tensors[part].shape[-1] for part in operator.outputs]
            begins = [(0,) * (len(shape) - 1) + (sum(sizes[:at]),) for at in range(len(sizes))]
        slices = []
        for number, (part, begin) in enumerate(zip(operator.outputs, begins, strict=True)):
            name = operator.name if len(begins) == 1 else f"{operator.name}/{number}"
            end = tuple(first + size for first, size in zip(begin, edited.tensors[part].shape, strict=True))
            slices.append(strided_slice(edited, name, source, part, begin, end))
        edited.replace(operator, *slices)


def strided_slice(
    edited: EditedGraph, name: str, source: int, part: int, begin: tuple[int, ...], end: tuple[int, ...]
) -> Operator:
    """A STRIDED_SLICE of steps of 1."""
    values = {"begin": begin, "end": end, "strides": (1,) * len(begin)}
    constants = tuple(edited.add_constant(f"{name}/{key}", np.array(value, np.int32)) for key, value in values.items())
    masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)
    return Operator("STRIDED_SLICE", name, (source, *constants), (part,), {**values, **masks, "offset": False})


# -- constants ---------------------------------------------------------------------------------------------------------


def _with_constant_second(edited: EditedGraph) -> None:
    """A constant operand of a sum, product or comparison comes second; x / c is x * (1 / c), x - c is x + (-c)."""
    for operator in edited.each():
        if len(operator.inputs) != 2 or operator.kind not in (*_AFFINE, "MAXIMUM", "MINIMUM"):
            continue
        first, second = (edited.constant(index) for index in operator.inputs)
        if first is not None and second is None and operator.kind in ("ADD", "MUL", "MAXIMUM", "MINIMUM"):
            edited.replace(operator, replace(operator, inputs=operator.inputs[::-1]))
        elif first is None and second is not None and operator.kind in ("DIV", "SUB"):
            kind, values = ("MUL", 1.0 / second) if operator.kind == "DIV" else ("ADD", -second)
            constant = edited.add_constant(f"{operator.name}/constant", np.asarray(values, np.float32))
            edited.replace(operator, replace(operator, kind=kind, inputs=(operator.inputs[0], constant)))


def _operand(edited: EditedGraph, operator: Operator, kind: str, value: float | None = None) -> np.ndarray | None:
    """The constant second operand of an operator of a kind, if it is `value` throughout."""
    if operator.kind != kind or len(operator.inputs) != 2 or edited.constant(operator.inputs[0]) is not None:
        return None
    found = edited.constant(operator.inputs[1])
    if found is None or (value is not None and not np.allclose(found, value, rtol=1e-6, atol=0)):
        return None
    return found


def _fold_affine(edited: EditedGraph) -> bool:
    """Products with and sums of constants behind a convolution without activation function, in its weights."""
    for operator in edited.operators:
        if operator.kind not in ("MUL", "ADD") or (values := _operand(edited, operator, operator.kind)) is None:
            continue
        given = operator.inputs[0]
        before, channels = edited.writer(given), edited.tensors[operator.outputs[0]].shape[-1]
        if before is None or before.kind not in _CONVOLUTIONS or values.size not in (1, channels):
            continue
        own = edited.constant(before.inputs[1])
        if own is None or before.attributes["activation"] != "NONE" or edited.only_reader(given) is not operator:
            continue
        values = np.broadcast_to(values.reshape(-1), (channels,)).astype(np.float64)
        has_bias = len(before.inputs) > 2 and before.inputs[2] != ABSENT
        bias = edited.constant(before.inputs[2]) if has_bias else np.zeros(channels)
        if bias is None:
            continue
        kernel = before.inputs[1]
        if operator.kind == "ADD":
            shift = np.asarray(bias + values, np.float32)
        else:
            shift = np.asarray(bias * values, np.float32)
            factor = values if before.kind == "DEPTHWISE_CONV_2D" else values[:, None, None, None]
            kernel = edited.add_constant(f"{before.name}/kernel", (own * factor).astype(np.float32))
        inputs = (before.inputs[0], kernel, edited.add_constant(f"{before.name}/bias", shift))
        _absorb(edited, before, operator, inputs=inputs)
        return True
    return False


def _absorb(edited: EditedGraph, before: Operator, operator: Operator, **changed: Any) -> None:
    """Let an operator compute what its only reader made of it."""
    attributes = {**before.attributes, "activation": operator.attributes.get("activation", "NONE")}
    attributes = changed.pop("attributes", attributes)
    edited.replace(before, replace(before, outputs=operator.outputs, attributes=attributes, **changed))
    edited.remove(operator)


# -- activation functions ----------------------------------------------------------------------------------------------


def _fuse_clamps(edited: EditedGraph) -> bool:
    """RELU and RELU6, however they are written, as the activation function of the operator before."""
    for operator in edited.operators:
        clamp = _clamp_of(edited, operator)
        if clamp is None:
            continue
        before = edited.writer(operator.inputs[0])
        alone = before is not None and edited.only_reader(operator.inputs[0]) is operator
        if before is None or not alone or before.kind not in _CLAMPING:
            if operator.kind in _CLAMPS:
                continue
            edited.replace(operator, Operator(clamp, operator.name, operator.inputs[:1], operator.outputs))
            return True
        present = before.attributes.get("activation", "NONE")
        if present not in ("NONE", *_CLAMPS):
            continue
        together = "RELU6" if "RELU6" in (present, clamp) else clamp
        _absorb(edited, before, operator, attributes={**before.attributes, "activation": together})
        return True
    return False


def _clamp_of(edited: EditedGraph, operator: Operator) -> str | None:
    """The clamp that an operator computes: RELU, or RELU6 where it is already at least 0 and MINIMUM 6."""
    if operator.kind in _CLAMPS:
        return operator.kind
    if _operand(edited, operator, "MAXIMUM", 0.0) is not None:
        return "RELU"
    if _operand(edited, operator, "MINIMUM", 6.0) is None:
        return None
    before = edited.writer(operator.inputs[0])
    positive = before is not None and (before.kind in _CLAMPS or before.attributes.get("activation") in _CLAMPS)
    return "RELU6" if positive else None


def _as_relu6(edited: EditedGraph) -> None:
    """clamp(x, 0, most), of a RELU before or behind a MINIMUM, as RELU6(x * 6 / most) * most / 6."""
    for operator in edited.each():
        limit = _operand(edited, operator, "MINIMUM")
        if limit is None or limit.size != 1 or float(limit.item()) <= 0.0:
            continue
        before, behind = edited.writer(operator.inputs[0]), edited.only_reader(operator.outputs[0])
        if before is not None and _is_relu(edited, before) and edited.only_reader(operator.inputs[0]) is operator:
            source, outputs, gone = before.inputs[0], operator.outputs, before
        elif behind is not None and _is_relu(edited, behind):
            source, outputs, gone = operator.inputs[0], behind.outputs, behind
        else:
            continue
        edited.remove(gone)
        _replace_by_relu6(edited, operator, source, outputs, float(limit.item()))


def _is_relu(edited: EditedGraph, operator: Operator) -> bool:
    return operator.kind == "RELU" or _operand(edited, operator, "MAXIMUM", 0.0) is not None


def _replace_by_relu6(
    edited: EditedGraph, operator: Operator, source: int, outputs: tuple[int, ...], most: float
) -> None:
    name = operator.name
    if math.isclose(most, _SIXTH, rel_tol=1e-6):
        edited.replace(operator, Operator("RELU6", name, (source,), outputs))
        return
    made = []
    for part in ("widened", "clamped"):
        edited.tensors.append(replace(edited.tensors[outputs[0]], name=f"{name}/{part}", quantization=None))
        made.append(len(edited.tensors) - 1)
    widened, clamped = made
    factors = (
        edited.add_constant(f"{name}/{part}_by", np.array([value], np.float32))
        for part, value in (("widened", _SIXTH / most), ("narrowed", most / _SIXTH))
    )
    wide, narrow = factors
    plain = {"activation": "NONE"}
    edited.replace(
        operator,
        Operator("MUL", f"{name}/widened", (source, wide), (widened,), plain),
        Operator("RELU6", f"{name}/clamped", (widened,), (clamped,)),
        Operator("MUL", name, (clamped, narrow), outputs, plain),
    )


def _as_hard_swish(edited: EditedGraph) -> None:
    """x * clamp(x + 3, 0, 6) / 6, in any order of product and division, as HARD_SWISH."""
    for operator in edited.each():
        if operator.kind != "MUL":
            continue
        for source, gate in _orders(operator):
            found = _hard_sigmoid(edited, gate)
            if found is not None and found[0] == source and math.isclose(found[1], 1.0, rel_tol=1e-5):
                _become(edited, operator, source, operator.outputs)
                break
            if found is not None and found[0] == source and math.isclose(found[1], _SIXTH, rel_tol=1e-5):
                divided = edited.only_reader(operator.outputs[0])
                values = None if divided is None else _operand(edited, divided, "MUL", 1.0 / _SIXTH)
                if divided is not None and values is not None:
                    _become(edited, operator, source, divided.outputs)
                    edited.remove(divided)
                    break


def _become(edited: EditedGraph, operator: Operator, source: int, outputs: tuple[int, ...]) -> None:
    """Replace an operator by the HARD_SWISH of a tensor."""
    edited.replace(operator, Operator("HARD_SWISH", operator.name, (source,), outputs))


def _orders(operator: Operator) -> Iterator[tuple[int, int]]:
    first, second = operator.inputs
    yield first, second
    yield second, first


def _hard_sigmoid(edited: EditedGraph, tensor: int) -> tuple[int, float] | None:
    """(x, most) where a tensor is clamp(x + 3, 0, 6) * most / 6."""
    most, operator = _SIXTH, edited.writer(tensor)
    if operator is not None and (factor := _operand(edited, operator, "MUL")) is not None and factor.size == 1:
        if operator.attributes.get("activation", "NONE") != "NONE":
            return None
        most, operator = _SIXTH * float(factor.item()), edited.writer(operator.inputs[0])
    clamps: list[str] = []
    while operator is not None:
        values = _operand(edited, operator, "ADD", _HALF)
        if values is not None:
            clamps.append(operator.attributes.get("activation", "NONE"))
            is_clamped = "RELU6" in clamps or {"RELU", "at most 6"} <= set(clamps)
            return (operator.inputs[0], most) if is_clamped else None
        if operator.kind in _CLAMPS:
            clamps.append(operator.kind)
        elif _operand(edited, operator, "MAXIMUM", 0.0) is not None:
            clamps.append("RELU")
        elif _operand(edited, operator, "MINIMUM", _SIXTH) is not None:
            clamps.append("at most 6")
        else:
            return None
        operator = edited.writer(operator.inputs[0])
    return None
