"""Architectures: the published shapes; other sizes, output strides and classes are those of a network built so."""

import numpy as np
import pytest

from deeplab.architectures import GraphBuilder, mobilenet_v2_deeplab, round_width
from deeplab.architectures.mobilenet_v2 import STRIDES, backbone_widths, windows
from deeplab.network import (
    check_network,
    classes,
    convolutions,
    fingerprint,
    input_size,
    is_float,
    logits,
    output,
    parameters,
    structure,
    tensor_indices,
    weight_shapes,
    weights,
    window,
    with_weights,
    without_weights,
)
from deeplab.sizes import with_classes, with_input_size, with_output_stride
from evaluation.errors import UserError
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes
from evaluation.interpreter import run_whole
from tests.deeplab.tiny import random_network, tiny_network


def check(graph):
    check_order(graph)
    check_shapes(graph)
    check_network(graph)


def described(graph):
    """Operators with their attributes, and all shapes, by name: what two builds of one network have in common."""
    operators = [(one.kind, one.name, dict(one.attributes), output(graph, one).shape) for one in graph.operators]
    return operators, weight_shapes(graph)


def test_full_width_v3plus_has_the_parameters_of_the_published_network():
    # deeplabv3_mnv2_ade20k_int8.tflite: 2,256,272 parameters, BatchNorm folded (its SOURCE.txt).
    assert parameters(mobilenet_v2_deeplab(input_height=512, input_width=512, classes=32)) == 2_256_272


def test_full_and_half_width_v3_have_the_parameters_of_the_published_networks():
    common = {"input_height": 513, "input_width": 513, "classes": 21, "decoder": False}
    assert parameters(mobilenet_v2_deeplab(**common)) == 2_097_013
    assert parameters(mobilenet_v2_deeplab(**common, width_multiplier=0.5, width_divisor=1)) == 688_357


@pytest.mark.parametrize(("stride", "features"), [(8, (33, 33)), (16, (17, 17))])
def test_output_stride_sets_the_size_of_the_features_and_dilates_the_rest(stride, features):
    graph = mobilenet_v2_deeplab(input_height=257, input_width=257, classes=21, output_stride=stride)
    by_name = {operator.name: operator for operator in graph.operators}
    assert output(graph, by_name["block_16/project"]).shape[1:3] == features
    # The first block of a stage that no longer strides keeps the old spacing; those after it are dilated.
    dilations = [by_name[f"block_{index}/depthwise"].attributes["dilation"] for index in range(17)]
    expected = [1] * 7 + [2] * 7 + [4] * 3 if stride == 8 else [1] * 14 + [2] * 3
    assert dilations == [(dilation, dilation) for dilation in expected]


@pytest.mark.parametrize(("output_stride", "strided"), [(8, [1, 3]), (16, [1, 3, 6]), (32, [1, 3, 6, 13])])
def test_windows_stride_up_to_the_output_stride_and_reach_as_far_past_it(output_stride, strided):
    found = windows(output_stride)
    assert [index for index, (stride, _) in enumerate(found) if stride == 2] == strided
    # A step of a block's window is a step of the classifier's, on a finer map.
    spacing, native = 2, 2
    for (stride, dilation), own in zip(found, STRIDES, strict=True):
        assert spacing * dilation == native
        spacing, native = spacing * stride, native * own
    assert spacing == output_stride


@pytest.mark.parametrize("given", [8, 16, 32])
@pytest.mark.parametrize("wanted", [8, 16, 32])
@pytest.mark.parametrize("options", [{}, {"decoder": False}, {"image_pooling": False}], ids=str)
def test_the_same_weights_at_another_output_stride(given, wanted, options):
    """Of a v3+, a v3, and a v3+ without parallel branches where there are no rates."""

    def built(stride):
        rates = () if "image_pooling" in options else tuple(rate * 16 // stride for rate in (6, 12, 18))
        return mobilenet_v2_deeplab(
            input_height=65, input_width=97, classes=5, output_stride=stride, atrous_rates=rates,
            width_multiplier=0.35, **options,
        )  # fmt: skip

    assert structure(with_output_stride(built(given), wanted)) == structure(built(wanted))
    assert weight_shapes(built(given)) == weight_shapes(built(wanted))


@pytest.mark.parametrize(("height", "width"), [(96, 128), (360, 480), (33, 250)])
def test_any_input_size_comes_back_as_logits_of_that_size(height, width):
    graph = mobilenet_v2_deeplab(input_height=height, input_width=width, classes=3, atrous_rates=(6, 12, 18))
    check(graph)
    assert graph.tensors[logits(graph)].shape == (1, height, width, 3)
    assert (input_size(graph), classes(graph)) == ((height, width), 3)
    assert is_float(graph)


SHAPES = {
    "v3+": {"atrous_rates": (2, 4)},
    "skip after the expansion": {"skip_tap": "expand"},
    "v3": {"decoder": False},
    "one branch": {"decoder": False, "image_pooling": False},
    "output stride 8": {"output_stride": 8, "resize": "align_corners"},
    "output stride 32": {"output_stride": 32, "atrous_rates": (1,), "resize": "half_pixel"},
}


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("before", "after"), [((96, 128), (65, 80)), ((64, 64), (129, 40)), ((65, 129), (192, 256))])
def test_a_resized_network_has_the_shapes_of_one_built_at_that_size(options, before, after):
    def built(height, width):
        return mobilenet_v2_deeplab(
            input_height=height, input_width=width, classes=4, width_multiplier=0.35, aspp_width=16, skip_width=8,
            decoder_width=12, **options,
        )  # fmt: skip

    resized = with_input_size(built(*before), *after)
    check(resized)
    assert described(resized) == described(built(*after))
    sizes = {tensor.name: tensor.data.tolist() for tensor in resized.tensors if tensor.name.endswith("/size")}
    expected = {tensor.name: tensor.data.tolist() for tensor in built(*after).tensors if tensor.name.endswith("/size")}
    assert sizes == expected


def test_a_resized_network_computes_what_one_built_at_that_size_does(network, images):
    frame = np.pad(images[0], ((0, 14), (0, 1), (0, 0)), mode="edge")
    resized, built = with_input_size(network, 47, 49), random_network(tiny_network(input_height=47, input_width=49))
    assert fingerprint(resized) == fingerprint(built)
    np.testing.assert_array_equal(run_whole(resized, frame)[logits(resized)], run_whole(built, frame)[logits(built)])


def test_maps_that_happened_to_have_one_size_are_told_apart():
    """On a frame of 4 x 4, skip and features are 1 x 1, as the pool is; at other sizes they are not."""
    common = {"skip_block": 2, "pool": 8}
    resized = with_input_size(tiny_network(input_height=4, input_width=4, **common), 33, 48)
    check(resized)
    assert described(resized) == described(tiny_network(**common))


def test_a_resize_to_a_size_of_its_own_keeps_a_network_at_its_frames_size():
    net = GraphBuilder("odd", 20, 30)
    x = net.convolution("stem", net.input, 8, window=3, stride=2)
    x = net.convolution("middle", net.resize("between", x, (13, 17), "legacy"), 3)
    graph = net.finished(net.resize("up", x, (20, 30), "legacy"))
    with pytest.raises(UserError, match=r"resize 'between' goes to \(13, 17\), which nothing else has"):
        with_input_size(graph, 40, 60)


def test_the_size_that_a_network_has_already_is_the_same_network(network):
    assert with_input_size(network, *input_size(network)) is network


def test_other_classes_change_the_last_convolution_alone_whose_values_are_gone(network):
    other = with_classes(network, 9)
    assert described(other) == described(tiny_network(classes=9))
    last = convolutions(other)[-1]
    empty = {tensor.name for tensor in other.tensors if tensor.is_constant and tensor.data is None}
    assert empty == {"logits/kernel", "logits/bias"} == {f"{last.name}/kernel", f"{last.name}/bias"}
    shapes = weight_shapes(other)
    drawn = {name: np.ones(shapes[name], np.float32) for name in empty}
    check(whole := with_weights(other, drawn))
    for name, array in weights(network).items():
        if name not in empty:
            np.testing.assert_array_equal(weights(whole)[name], array)


def test_a_network_without_weights_has_the_structure_of_the_one_with_them(network):
    assert structure(without_weights(network)) == structure(network) == structure(tiny_network())
    assert fingerprint(without_weights(network)) != fingerprint(network)


def test_weights_come_back_as_they_were_put_in_and_others_are_refused(network):
    present = weights(network)
    assert {name: array.shape for name, array in present.items()} == weight_shapes(network)
    assert fingerprint(with_weights(without_weights(network), present)) == fingerprint(network)
    with pytest.raises(ValueError, match=r"weight stem/bias has shape \(9,\), the network has \(8,\)"):
        with_weights(network, {"stem/bias": np.zeros(9, np.float32)})
    with pytest.raises(ValueError, match="weight stem/scale belongs to no convolution"):
        with_weights(network, {"stem/scale": np.zeros(8, np.float32)})


def test_any_changed_weight_changes_the_fingerprint(network):
    name = "aspp/project/bias"
    changed = with_weights(network, {name: weights(network)[name] + np.float32(1e-6)})
    assert fingerprint(changed) != fingerprint(network)
    assert structure(changed) == structure(network)


def test_widths_are_rounded_as_in_mobilenet():
    assert [round_width(32 * a) for a in (1.0, 0.75, 0.5, 0.35)] == [32, 24, 16, 16]
    assert round_width(24 * 0.35) == 8
    assert round_width(16 * 0.35) == 8


def test_backbone_widths_are_the_published_ones_and_given_ones_replace_them():
    stem, blocks = backbone_widths()
    assert stem == 32
    assert [project for _, project in blocks] == [16, 24, 24, 32, 32, 32, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    assert [expand for expand, _ in blocks][:4] == [0, 96, 144, 144]
    common = {"input_height": 64, "input_width": 64, "classes": 3}
    half = mobilenet_v2_deeplab(**common, width_multiplier=0.5)
    assert structure(mobilenet_v2_deeplab(**common, backbone=backbone_widths(0.5))) == structure(half)
    narrow = (5, tuple((0 if index == 0 else 7, project) for index, (_, project) in enumerate(backbone_widths(0.5)[1])))
    shapes = weight_shapes(mobilenet_v2_deeplab(**common, backbone=narrow))
    assert shapes["stem/kernel"] == (3, 3, 3, 5)
    assert shapes["block_1/expand/kernel"] == (1, 1, 8, 7)
    assert shapes["block_16/depthwise/kernel"] == (3, 3, 7, 1)


def test_a_builder_gives_a_network_in_the_documented_form():
    net = GraphBuilder("small", 20, 30)
    x = net.convolution("stem", net.input, 8, "RELU6", window=3, stride=2)
    wide = net.depthwise("wide", x, "RELU", dilation=2)
    x = net.add("sum", x, wide)
    x = net.convolution("logits", x, 3)
    graph = net.finished(net.resize("up", x, (20, 30), "half_pixel"))
    check(graph)
    assert [operator.name for operator in graph.operators] == ["input", "stem", "wide", "sum", "logits", "up", "labels"]
    assert [graph.tensors[index].name for index in (*graph.inputs, *graph.outputs)] == ["frame", "labels"]
    by_name = {operator.name: operator for operator in graph.operators}
    assert window(graph, by_name["wide"]) == (3, 3)
    assert by_name["wide"].attributes["dilation"] == (2, 2)
    assert by_name["up"].attributes == {"align_corners": False, "half_pixel_centers": True}
    assert graph.tensors[tensor_indices(graph)["sum"]].shape == (1, 10, 15, 8)
    assert weight_shapes(graph)["wide/kernel"] == (3, 3, 8, 1)


def test_logits_of_another_size_than_the_frame_are_refused():
    net = GraphBuilder("small", 20, 30)
    x = net.convolution("logits", net.input, 3, stride=2)
    with pytest.raises(ValueError, match=r"the logits have the size \(10, 15\), the frame \(20, 30\)"):
        net.finished(x)
