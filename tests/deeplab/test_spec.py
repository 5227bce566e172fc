"""Specs: the published shapes, any input size, JSON and back."""

import json

import pytest

from deeplab.layers import OUTPUT, layers, weight_shapes
from deeplab.spec import mobilenet_v2_deeplab, round_width
from deeplab.spec_schema import parse_spec


def _parameters(spec):
    total = 0
    for shape in weight_shapes(spec).values():
        count = 1
        for size in shape:
            count *= size
        total += count
    return total


def test_full_width_v3plus_has_the_parameters_of_the_published_network():
    # deeplabv3_mnv2_ade20k_int8.tflite: 2,256,272 parameters, BatchNorm folded (its SOURCE.txt).
    assert _parameters(mobilenet_v2_deeplab(input_height=512, input_width=512, classes=32)) == 2_256_272


def test_full_and_half_width_v3_have_the_parameters_of_the_published_networks():
    common = {"input_height": 513, "input_width": 513, "classes": 21, "decoder": False}
    assert _parameters(mobilenet_v2_deeplab(**common)) == 2_097_013
    assert _parameters(mobilenet_v2_deeplab(**common, width_multiplier=0.5, width_divisor=1)) == 688_357


@pytest.mark.parametrize(("stride", "features"), [(8, (33, 33)), (16, (17, 17))])
def test_output_stride_sets_the_size_of_the_features_and_dilates_the_rest(stride, features):
    spec = mobilenet_v2_deeplab(input_height=257, input_width=257, classes=21, output_stride=stride)
    last = next(layer for layer in layers(spec) if layer.name == "block_16/project")
    assert (last.height, last.width) == features
    # The first block of a stage that no longer strides keeps the old spacing; those after it are dilated.
    dilations = [block.dilation for block in spec.blocks]
    assert dilations == ([1] * 7 + [2] * 7 + [4] * 3 if stride == 8 else [1] * 14 + [2] * 3)


@pytest.mark.parametrize("given", [8, 16, 32])
@pytest.mark.parametrize("wanted", [8, 16, 32])
def test_the_same_weights_at_another_output_stride(given, wanted):
    def spec(stride):
        rates = tuple(rate * 16 // stride for rate in (6, 12, 18))
        return mobilenet_v2_deeplab(
            input_height=65, input_width=97, classes=5, output_stride=stride, atrous_rates=rates, width_multiplier=0.35
        )

    assert spec(given).with_output_stride(wanted) == spec(wanted)
    assert weight_shapes(spec(given)) == weight_shapes(spec(wanted))


@pytest.mark.parametrize(("height", "width"), [(96, 128), (360, 480), (33, 250)])
def test_any_input_size_comes_back_as_logits_of_that_size(height, width):
    spec = mobilenet_v2_deeplab(input_height=height, input_width=width, classes=3, atrous_rates=(6, 12, 18))
    assert layers(spec)[-1].name == OUTPUT
    assert (layers(spec)[-1].height, layers(spec)[-1].width, layers(spec)[-1].channels) == (height, width, 3)


def test_a_spec_survives_json():
    for decoder in (True, False):
        spec = mobilenet_v2_deeplab(input_height=96, input_width=128, classes=11, decoder=decoder, atrous_rates=(6,))
        assert parse_spec(json.loads(json.dumps(spec.to_dict())), "test") == spec
        assert hash(parse_spec(spec.to_dict(), "test")) == hash(spec)


def test_widths_are_rounded_as_in_mobilenet():
    assert [round_width(32 * a) for a in (1.0, 0.75, 0.5, 0.35)] == [32, 24, 16, 16]
    assert round_width(24 * 0.35) == 8
    assert round_width(16 * 0.35) == 8
