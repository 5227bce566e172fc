"""Output shapes of operators that only move values: slices, joins, paddings, blocks, gathers and changes of shape.

Rules as in `shape_rules`.
"""

from __future__ import annotations

import math

import numpy as np

from evaluation.graph.shape_rules import InputShapes, Rule, Shape, require
from evaluation.graph.slicing import strided_index
from evaluation.graph.types import Operator, Tensor


def _renamed(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    return [outputs[0].shape if inputs[0].elements == outputs[0].elements else inputs[0].shape]


def _joined(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis, first = operator.attributes["axis"], inputs[0].shape
    others = {tensor.shape[:axis] + tensor.shape[axis + 1 :] for tensor in inputs}
    require(len(others) == 1, f"inputs differ in an axis other than {axis}")
    return [(*first[:axis], sum(tensor.shape[axis] for tensor in inputs), *first[axis + 1 :])]


def _packed(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis, first = operator.attributes["axis"], inputs[0].shape
    require(len({tensor.shape for tensor in inputs}) == 1, "inputs of several shapes")
    return [(*first[:axis], len(inputs), *first[axis:])]


def _unpacked(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis, source = operator.attributes["axis"], inputs[0].shape
    return [source[:axis] + source[axis + 1 :]] * source[axis]


def _split(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis, source, parts = operator.attributes["axis"], inputs[1].shape, len(outputs)
    require(source[axis] % parts == 0, f"{parts} equal parts of {source[axis]}")
    return [(*source[:axis], source[axis] // parts, *source[axis + 1 :])] * parts


def _split_by_sizes(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis, source, sizes = operator.attributes["axis"], inputs[0].shape, list(operator.attributes["sizes"])
    if sizes.count(-1) == 1:  # one part may take what is left
        sizes[sizes.index(-1)] = source[axis] - sum(sizes) - 1
    require(min(sizes) > 0 and sum(sizes) == source[axis], f"parts of {sizes} from {source[axis]}")
    return [(*source[:axis], size, *source[axis + 1 :]) for size in sizes]


def _padded(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    paddings = operator.attributes["paddings"]
    require(min(min(pair) for pair in paddings) >= 0, f"paddings {paddings}")
    if operator.kind == "MIRROR_PAD":  # an image has no more to mirror than itself
        border = 0 if operator.attributes.get("mode") == "SYMMETRIC" else 1
        sizes = zip(inputs[0].shape, paddings, strict=True)
        require(all(max(pair) <= size - border for size, pair in sizes), f"paddings {paddings} of {inputs[0].shape}")
    return [[size + sum(pair) for size, pair in zip(inputs[0].shape, paddings, strict=True)]]


def _transposed(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    order, source = operator.attributes["permutation"], inputs[0].shape
    require(sorted(order) == list(range(len(source))), f"permutation {order} of a tensor of rank {len(source)}")
    return [[source[axis] for axis in order]]


def _sliced(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    begins, sizes, source = operator.attributes["begin"], operator.attributes["size"], inputs[0].shape
    parts = list(zip(begins, sizes, source, strict=True))
    shape = [whole - begin if size == -1 else size for begin, size, whole in parts]
    fits = all(
        begin >= 0 and size > 0 and begin + size <= whole for size, (begin, _, whole) in zip(shape, parts, strict=True)
    )
    require(fits, f"from {begins} a size of {sizes} out of {source}")
    return [shape]


def _strided(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    """The shape of a numpy slice, found on an array that takes no memory."""
    return [np.broadcast_to(np.int8(0), inputs[0].shape)[strided_index(operator.attributes)].shape]


def _depth_to_space(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    (batch, rows, columns, channels), block = inputs[0].shape, operator.attributes["block_size"]
    require(block > 0 and channels % block**2 == 0, f"blocks of {block} from {channels} channels")
    return [(batch, rows * block, columns * block, channels // block**2)]


def _space_to_depth(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    (batch, rows, columns, channels), block = inputs[0].shape, operator.attributes["block_size"]
    require(block > 0 and rows % block == columns % block == 0, f"blocks of {block} from {rows} x {columns}")
    return [(batch, rows // block, columns // block, channels * block**2)]


def _space_to_batch(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    blocks, paddings, source = operator.attributes["block_shape"], operator.attributes["paddings"], inputs[0].shape
    axes = list(zip(source[1 : 1 + len(blocks)], paddings, blocks, strict=True))
    require(all(b > 0 and min(pad) >= 0 and (size + sum(pad)) % b == 0 for size, pad, b in axes), f"blocks of {blocks}")
    inner = [(size + sum(pad)) // block for size, pad, block in axes]
    return [(source[0] * math.prod(blocks), *inner, *source[1 + len(blocks) :])]


def _batch_to_space(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    blocks, crops, source = operator.attributes["block_shape"], operator.attributes["crops"], inputs[0].shape
    require(min(blocks) > 0 and source[0] % math.prod(blocks) == 0, f"blocks of {blocks} from {source[0]} images")
    require(min(min(pair) for pair in crops) >= 0, f"crops {crops}")
    axes = zip(source[1 : 1 + len(blocks)], crops, blocks, strict=True)
    return [
        (source[0] // math.prod(blocks), *(size * b - sum(crop) for size, crop, b in axes), *source[1 + len(blocks) :])
    ]


def _gathered(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis, batch = operator.attributes.get("axis", 0), operator.attributes.get("batch_dims", 0)
    source, places = inputs[0].shape, inputs[1].shape
    require(0 <= batch <= axis < len(source) and source[:batch] == places[:batch], f"axis {axis} of {source}")
    return [(*source[:axis], *places[batch:], *source[axis + 1 :])]


def _gathered_points(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    source, (*points, depth) = inputs[0].shape, inputs[1].shape
    require(depth <= len(source), f"points of {depth} coordinates in a tensor of rank {len(source)}")
    return [(*points, *source[depth:])]


def _looked_up(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    return [(*inputs[0].shape, *inputs[1].shape[1:])]


def _repeated(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    if inputs[1].data is None:  # computed, but of the stated shape
        return [outputs[0].shape]
    return [[size * times for size, times in zip(inputs[0].shape, inputs[1].data.reshape(-1), strict=True)]]


def _spread(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    shape = outputs[0].shape if inputs[1].data is None else tuple(inputs[1].data.reshape(-1).tolist())
    require(np.broadcast_shapes(inputs[0].shape, shape) == shape, f"{inputs[0].shape} to {shape}")
    return [shape]


def _filled(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    require(inputs[1].elements == 1, "more than one value")
    return [outputs[0].shape if inputs[0].data is None else inputs[0].data.reshape(-1).tolist()]


def _one_hot(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    axis, source, depth = operator.attributes["axis"], inputs[0].shape, inputs[1].data
    return [(*source[:axis], outputs[0].shape[axis] if depth is None else depth.reshape(-1)[0], *source[axis:])]


def _shape_of(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    return [(len(inputs[0].shape),)]


def _rank_of(operator: Operator, inputs: InputShapes, outputs: list[Tensor]) -> list[Shape]:
    return [()]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _renamed),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _padded),
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "BROADCAST_TO": _spread,
    "CONCATENATION": _joined,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EMBEDDING_LOOKUP": _looked_up,
    "FILL": _filled,
    "GATHER": _gathered,
    "GATHER_ND": _gathered_points,
    "ONE_HOT": _one_hot,
    "PACK": _packed,
    "RANK": _rank_of,
    "SHAPE": _shape_of,
    "SLICE": _sliced,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPLIT": _split,
    "SPLIT_V": _split_by_sizes,
    "STRIDED_SLICE": _strided,
    "TILE": _repeated,
    "TRANSPOSE": _transposed,
    "UNPACK": _unpacked,
}
"""Shape rules by kind of operator."""
