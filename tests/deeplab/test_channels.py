"""Channels are followed through sums, concatenations and depthwise convolutions, and left alone past what is not."""

from dataclasses import replace

import numpy as np
import pytest

from deeplab.architectures import GraphBuilder
from deeplab.channels import channel_numbers
from deeplab.network import (
    check_network,
    convolutions,
    is_depthwise,
    logits,
    output,
    source,
    tensor_indices,
    weight_shapes,
    weights,
    with_weights,
)
from deeplab.pruning.channels import kept_channels, narrowed, uniform_keep
from deeplab.pruning.groups import channel_groups, kept_channels_of, take_channels
from deeplab.pruning.ranking import weight_rankings
from deeplab.quantization.equalisation import equalize
from evaluation.graph import Graph
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes
from evaluation.interpreter import run_whole
from tests.deeplab.tiny import random_network
from tests.deeplab.tiny_quantized import camera_frame, interpreted_ranges

ROWS, COLUMNS = 16, 24


def builder() -> tuple[GraphBuilder, int]:
    """A builder, and a stem of 8 channels."""
    net = GraphBuilder("joined", ROWS, COLUMNS)
    return net, net.convolution("stem", net.input, 8, "RELU6", window=3, stride=2)


def finished(net: GraphBuilder, features: int) -> Graph:
    x = net.convolution("logits", features, 5)
    return random_network(net.finished(net.resize("logits/resize", x, (ROWS, COLUMNS), "half_pixel")))


def plain() -> Graph:
    net, x = builder()
    wide = net.convolution("wide", x, 12, "RELU")
    x = net.convolution("narrow", net.depthwise("spatial", wide, "RELU"), 6)
    return finished(net, x)


def summed() -> Graph:
    """Three convolutions whose outputs are added, with a depthwise one and a resize on the way."""
    net, x = builder()
    first, second = net.convolution("first", x, 12), net.depthwise("spatial", net.convolution("second", x, 12), "RELU")
    small = net.convolution("third", net.global_pool("pool", x), 12)
    third = net.resize("third/resize", small, net.shape(first)[:2], "legacy")
    return finished(net, net.add("sum", net.add("part", first, second), third))


def concatenated() -> Graph:
    """Two convolutions side by side, one of them twice, through a depthwise convolution."""
    net, x = builder()
    left, right = net.convolution("left", x, 6, "RELU"), net.convolution("right", x, 10, "RELU")
    x = net.depthwise("spatial", net.concatenation("joined", (left, right, left)), "RELU")
    return finished(net, x)


def equal_runs() -> Graph:
    """The sum of two concatenations whose parts are of equal widths: their channels are tied one to one."""
    net, x = builder()
    parts = [net.convolution(name, x, 6, "RELU") for name in ("a", "b", "c", "d")]
    first, second = net.concatenation("ab", parts[:2]), net.concatenation("cd", parts[2:])
    return finished(net, net.add("sum", first, second))


def crossed_runs() -> Graph:
    """The sum of a concatenation and the same one the other way round: all its channels are tied to each other."""
    net, x = builder()
    left, right = net.convolution("left", x, 6, "RELU"), net.convolution("right", x, 6, "RELU")
    ahead, back = net.concatenation("ahead", (left, right)), net.concatenation("back", (right, left))
    return finished(net, net.add("sum", ahead, back))


def unequal_runs(*, whole_first: bool) -> Graph:
    """The sum of a concatenation and one convolution of its width, and a group next to them that is free."""
    net, x = builder()
    made = {}
    for name, channels in (("whole", 16), ("left", 6), ("right", 10))[:: 1 if whole_first else -1]:
        made[name] = net.convolution(name, x, channels, "RELU")
    joined = net.concatenation("joined", (made["left"], made["right"]))
    pair = (made["whole"], joined) if whole_first else (joined, made["whole"])
    return finished(net, net.convolution("free", net.depthwise("spatial", net.add("sum", *pair)), 12, "RELU"))


def repeated_runs(*, whole_first: bool) -> Graph:
    """The sum of a convolution and of a narrower one's channels twice: one channel is tied to two of the other."""
    net, x = builder()
    if whole_first:
        whole = net.convolution("whole", x, 12, "RELU")
    half = net.convolution("half", x, 6, "RELU")
    if not whole_first:
        whole = net.convolution("whole", x, 12, "RELU")
    twice = net.concatenation("twice", (half, half))
    return finished(net, net.add("sum", *((whole, twice) if whole_first else (twice, whole))))


def shifted_runs() -> Graph:
    """The sum of two concatenations of one pair, in two orders and of unequal widths: channels of one are tied."""
    net, x = builder()
    wide, narrow = net.convolution("wide", x, 8, "RELU"), net.convolution("narrow", x, 4, "RELU")
    first, second = net.concatenation("first", (wide, narrow)), net.concatenation("second", (narrow, wide))
    return finished(net, net.add("sum", first, second))


def excited() -> Graph:
    """A squeeze-excite block: a map times what two convolutions make of its average, and a dense window behind it."""
    net, x = builder()
    x = net.depthwise("spatial", net.convolution("expand", x, 12, "RELU"), "RELU")
    squeezed = net.convolution("squeeze", net.global_pool("pool", x), 5, "RELU")
    gate = net.unary("LOGISTIC", "gate", net.convolution("excite", squeezed, 12))
    x = net.binary("MUL", "gated", x, gate, activation="NONE")
    return finished(net, net.convolution("dense", x, 6, "RELU", window=3, dilation=2))


def hard_swished() -> Graph:
    """Activation functions that are operators, a product with constants, and padding of both kinds."""
    net, x = builder()
    x = net.unary("HARD_SWISH", "swish", net.convolution("wide", x, 12))
    x = net.binary("MUL", "weighted", x, np.linspace(0.5, 2.0, 12), activation="NONE")
    x = net.pool(
        "MAX_POOL_2D", "largest", net.pad("around", x, ((0, 0), (1, 2), (0, 1), (0, 0))), (3, 2), (2, 2), "SAME"
    )
    x = net.unary("LEAKY_RELU", "leaky", x, alpha=0.1)
    return finished(net, net.convolution("narrow", x, 6, "RELU"))


NETWORKS = {
    "plain": (plain, {"stem": 1, "wide": 1, "narrow": 1}),
    "summed": (summed, {"stem": 1, "first": 3}),
    "concatenated": (concatenated, {"stem": 1, "left": 1, "right": 1}),
    "equal runs": (equal_runs, {"stem": 1, "a": 2, "b": 2}),
    "crossed runs": (crossed_runs, {"stem": 1, "left": 2}),
    "unequal runs": (lambda: unequal_runs(whole_first=True), {"stem": 1, "free": 1}),
    "unequal runs, parts first": (lambda: unequal_runs(whole_first=False), {"stem": 1, "free": 1}),
    "repeated runs": (lambda: repeated_runs(whole_first=True), {"stem": 1}),
    "repeated runs, parts first": (lambda: repeated_runs(whole_first=False), {"stem": 1}),
    "shifted runs": (shifted_runs, {"stem": 1}),
    "squeeze-excite": (excited, {"stem": 1, "expand": 2, "squeeze": 1, "dense": 1}),
    "hard swish": (hard_swished, {"stem": 1, "wide": 1, "narrow": 1}),
}
"""Networks, and how many convolutions write each of their groups."""


@pytest.mark.parametrize(("made", "writers"), NETWORKS.values(), ids=NETWORKS)
def test_what_is_tied_is_one_group_and_what_shares_channels_in_part_is_none(made, writers):
    assert {group.name: len(group.writers) for group in channel_groups(made())} == writers


@pytest.mark.parametrize(("made", "writers"), NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_a_pruned_network_computes_what_the_whole_one_does_with_those_channels_silent(made, writers, seed):
    """Whatever channels go: shapes fit together, and the logits are those of zeros in their place."""
    graph, random = made(), np.random.default_rng(seed)
    keep = {
        group.name: np.sort(random.permutation(group.channels)[: kept_channels(group.channels, 0.4)])
        for group in channel_groups(graph)
    }
    assert set(keep) == set(writers)
    pruned = take_channels(graph, keep)
    for check in (check_order, check_shapes, check_network):
        check(pruned)
    stays, silenced = kept_channels_of(graph, keep), {}
    for operator in convolutions(graph):
        gone = np.setdiff1d(np.arange(output(graph, operator).shape[3]), stays[operator.outputs[0]])
        for part in ("kernel", "bias"):
            name = f"{operator.name}/{part}"
            array = weights(graph)[name].copy()
            array[(..., gone, slice(None)) if part == "kernel" and is_depthwise(operator) else (..., gone)] = 0
            silenced[name] = array
    frame = camera_frame(seed, ROWS, COLUMNS)
    expected = run_whole(with_weights(graph, silenced), frame)[logits(graph)]
    found = run_whole(pruned, frame)[logits(pruned)]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    narrower = sum(shape[-1] for shape in weight_shapes(pruned).values())
    assert narrower < sum(shape[-1] for shape in weight_shapes(graph).values())


@pytest.mark.parametrize(("made", "writers"), NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
def test_the_width_that_is_planned_is_the_width_that_any_ranking_leaves(made, writers, sparsity):
    graph = made()
    pruned = take_channels(graph, uniform_keep(weight_rankings(graph), sparsity))
    assert weight_shapes(narrowed(graph, sparsity)) == weight_shapes(pruned)
    assert set(weight_rankings(graph)) == set(writers)


@pytest.mark.parametrize(("made", "writers"), NETWORKS.values(), ids=NETWORKS)
def test_neither_the_images_nor_the_classes_channels_are_pruned(made, writers):
    graph = made()
    pruned = take_channels(graph, {name: np.arange(1) for name in writers})
    assert source(pruned, convolutions(pruned)[0]).shape[3] == 3
    assert output(pruned, convolutions(pruned)[-1]).shape[3] == 5
    numbers, names = channel_numbers(graph, removed=True), tensor_indices(graph)
    written = {number for name in writers for number in numbers[names[name]].tolist()}
    assert written.isdisjoint(numbers[names["input"]].tolist())
    assert written.isdisjoint(numbers[names["logits"]].tolist())


def test_a_network_that_reads_the_image_twice_keeps_its_channels():
    """Directly, next to the stem, by a concatenation."""
    net, x = builder()
    small = net.depthwise("frame/small", net.input, stride=2)
    graph = finished(net, net.convolution("mixed", net.concatenation("both", (small, x)), 6, "RELU"))
    assert [group.name for group in channel_groups(graph)] == ["stem", "mixed"]
    pruned = narrowed(graph, 0.5)
    assert weight_shapes(pruned)["mixed/kernel"] == (1, 1, 3 + 4, 3)


def replaced(graph: Graph, name: str, kind: str, **attributes) -> Graph:
    """The graph with another kind of operator."""
    operators = [replace(one, kind=kind, attributes=attributes) if one.name == name else one for one in graph.operators]
    return replace(graph, operators=tuple(operators))


def shifted_by_a_constant() -> Graph:
    """A network with the sum of an activation and a constant of its channels."""
    net, x = builder()
    x = net.binary("ADD", "shifted", net.convolution("wide", x, 12), np.linspace(-1, 1, 12), activation="RELU")
    return finished(net, net.convolution("narrow", net.depthwise("spatial", x, "RELU"), 6))


def grouped() -> Graph:
    """A convolution in three groups, of which no step here removes channels."""
    net, x = builder()
    wide = net.convolution("wide", x, 12, "RELU")
    kernel, bias = np.zeros((12, 3, 3, 4), np.float32), np.zeros(12, np.float32)
    x = net.weighted(
        "CONV_2D", "spatial", wide, kernel, bias, stride=(1, 1), dilation=(1, 1), padding="SAME", activation="RELU"
    )
    return finished(net, net.convolution("narrow", x, 6))


def sliced() -> Graph:
    """A part of a convolution's channels, and all of them on fewer rows."""
    net, x = builder()
    wide = net.convolution("wide", x, 12, "RELU")
    rows, columns, _ = net.shape(wide)
    x = net.slice("part", wide, (0, 0, 0, 4), (1, rows, columns, 12))
    x = net.slice("rows", net.convolution("narrow", x, 6), (0, 2, 1, 0), (1, rows, columns, 6))
    return finished(net, x)


@pytest.mark.parametrize("made", [grouped, sliced])
def test_channels_past_which_nothing_is_known_stay(made):
    graph = made()
    for check in (check_order, check_shapes, check_network):
        check(graph)
    assert [group.name for group in channel_groups(graph)] == ["stem", "narrow"]
    pruned = take_channels(graph, uniform_keep(weight_rankings(graph), 0.5))
    check_shapes(pruned)
    assert weight_shapes(pruned)["wide/kernel"] == (1, 1, 4, 12)


def along_rows() -> Graph:
    """A network in which two maps are concatenated along the rows, and a resize makes one of the two again."""
    net, x = builder()
    upper, lower = net.convolution("upper", x, 6, "RELU"), net.convolution("lower", x, 6, "RELU")
    graph = finished(net, net.resize("again", net.concatenation("stacked", (upper, lower)), net.shape(x)[:2], "legacy"))
    names = tensor_indices(graph)
    height, width = graph.tensors[names["stem"]].shape[1:3]
    tensors = list(graph.tensors)
    tensors[names["stacked"]] = replace(tensors[names["stacked"]], shape=(1, 2 * height, width, 6))
    tensors[names["again"]] = replace(tensors[names["again"]], shape=(1, height, width, 6))
    kernel = names["logits/kernel"]
    tensors[kernel] = replace(tensors[kernel], shape=(5, 1, 1, 6), data=tensors[kernel].data[..., :6].copy())
    return replaced(replace(graph, tensors=tuple(tensors)), "stacked", "CONCATENATION", axis=1, activation="NONE")


def test_a_concatenation_along_the_rows_ties_no_channels_that_it_could_remove():
    graph = along_rows()
    for check in (check_order, check_shapes, check_network):
        check(graph)
    assert [group.name for group in channel_groups(graph)] == ["stem"]
    check_shapes(narrowed(graph, 0.5))


def product() -> Graph:
    """The product of two concatenations."""
    return replaced(equal_runs(), "sum", "MUL", activation="NONE")


@pytest.mark.parametrize(
    "made", [hard_swished, excited, grouped, sliced, shifted_by_a_constant, crossed_runs, shifted_runs, summed, product]
)
def test_an_equalized_network_computes_the_same(made):
    graph = made()
    equal = equalize(graph, interpreted_ranges(graph))
    assert any((weights(equal)[name] != array).any() for name, array in weights(graph).items())
    for seed in range(2):  # the frames of the ranges: what the clamps see is known of these alone
        frame = camera_frame(seed, ROWS, COLUMNS)
        expected = run_whole(graph, frame)[logits(graph)]
        found = run_whole(equal, frame)[logits(equal)]
        np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())
