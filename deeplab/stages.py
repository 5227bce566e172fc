"""The stages of a segmentation network, found in its graph: backbone, ASPP, decoder."""

from __future__ import annotations

import math
from typing import Literal

from deeplab.network import CONVOLUTIONS, classifiers, constant_operands, convolutions
from evaluation.graph import Graph
from evaluation.graph.memo import once_a_graph

Stage = Literal["backbone", "aspp", "decoder"]
STAGES: tuple[Stage, ...] = ("backbone", "aspp", "decoder")


@once_a_graph
def stages(graph: Graph) -> tuple[Stage, ...]:
    """The stage of each operator.

    The ASPP (Chen et al. 2017) is where parallel branches of the features, the smallest map that more than one operator
    reads, are joined by a concatenation of the same size: these branches, the concatenation and the convolution behind
    it. In an LR-ASPP (Howard et al. 2019) they are joined by a product, which no squeeze-excite is: that multiplies the
    features themselves. What leads to the features is the backbone, the rest the decoder, which always has the logits.
    A network without such branches has no ASPP: all before the convolution of its classes is the backbone.
    """
    ancestors = _ancestors(graph)
    names = {operator.name for operator in classifiers(graph)}
    ends = {index for index, operator in enumerate(graph.operators) if operator.name in names}
    branches = _branches(graph, ancestors, set().union(*(ancestors[index] for index in ends)))
    if branches is None:
        return tuple(
            "decoder" if index in ends or not ends.isdisjoint(before) else "backbone"
            for index, before in enumerate(ancestors)
        )
    features, joined = branches
    written = {operator.outputs[0]: index for index, operator in enumerate(graph.operators)}
    backbone = ancestors[written[features]] | {written[features]}
    aspp = {index for index in ancestors[joined] | {joined} if index not in backbone}
    projection = next(
        index
        for index, operator in enumerate(graph.operators)
        if operator.kind in CONVOLUTIONS and joined in ancestors[index]
    )
    if projection not in ends:
        aspp |= {index for index in ancestors[projection] | {projection} if index not in backbone}
    return tuple(
        "backbone" if index in backbone else "aspp" if index in aspp else "decoder"
        for index in range(len(graph.operators))
    )


def has_stage(graph: Graph, stage: Stage) -> bool:
    """Whether a network has more of a stage than the convolutions of its classes."""
    found = [index for index, one in enumerate(stages(graph)) if one == stage]
    own = [index for index in found if graph.operators[index].kind in CONVOLUTIONS]
    return len(own) > (len(classifiers(graph)) if stage == "decoder" else 0)


def edges(graph: Graph) -> frozenset[str]:
    """Names of the first convolution and of those of the classes, which image and labels meet directly."""
    return frozenset((convolutions(graph)[0].name, *(operator.name for operator in classifiers(graph))))


def _ancestors(graph: Graph) -> list[set[int]]:
    """By operator, the operators that its inputs are computed by."""
    written: dict[int, int] = {}
    found: list[set[int]] = []
    for index, operator in enumerate(graph.operators):
        before = {written[tensor] for tensor in operator.inputs if tensor in written}
        found.append(before.union(*(found[one] for one in before)))
        written.update(dict.fromkeys(operator.outputs, index))
    return found


def _branches(graph: Graph, ancestors: list[set[int]], before: set[int]) -> tuple[int, int] | None:
    """The features that an ASPP's branches read, a tensor, and the operator that joins them, one of `before`."""

    def size(tensor: int) -> tuple[int, ...]:
        return graph.tensors[tensor].shape[1:3]

    maps = [size(tensor) for operator in graph.operators for tensor in operator.outputs]
    smallest = min((shape for shape in maps if len(shape) == 2 and shape != (1, 1)), key=math.prod, default=())
    for joined, operator in enumerate(graph.operators):
        if joined not in before or size(operator.outputs[0]) != smallest:
            continue
        is_product = operator.kind == "MUL" and not constant_operands(graph, operator)
        if operator.kind != "CONCATENATION" and not is_product:
            continue
        common = set.intersection(
            *(
                {graph.operators[index].outputs[0] for index in _with_itself(graph, tensor, ancestors)}
                for tensor in operator.inputs
            )
        )
        order = [operator.outputs[0] for operator in graph.operators]
        at_size = [tensor for tensor in order if tensor in common and size(tensor) == smallest]
        if at_size and not (is_product and at_size[-1] in operator.inputs):
            return at_size[-1], joined
    return None


def _with_itself(graph: Graph, tensor: int, ancestors: list[set[int]]) -> set[int]:
    written = next((index for index, operator in enumerate(graph.operators) if tensor in operator.outputs), None)
    return set() if written is None else ancestors[written] | {written}
