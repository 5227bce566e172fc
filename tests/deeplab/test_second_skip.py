"""A network that format 1 could not describe, from its builder to its C program: two skips, three refinements."""

import pytest

from deeplab.architectures import GraphBuilder
from deeplab.architectures.heads import aspp
from deeplab.architectures.mobilenet_v2 import inverted_residual
from deeplab.calibration import calibrate
from deeplab.checkpoint import checkpoint_bytes, parse_network
from deeplab.compression import Compression, compressed_shapes
from deeplab.network import (
    fingerprint,
    input_size,
    parameters,
    structure,
    tensor_indices,
    without_weights,
)
from deeplab.pruning.channels import narrowed, uniform_keep
from deeplab.pruning.groups import channel_groups, take_channels
from deeplab.pruning.ranking import weight_rankings
from deeplab.quantization import BitWidths, quantize
from deeplab.runtime.compilers import compiler
from deeplab.sizes import with_input_size
from evaluation.graph import Graph
from evaluation.planner import plan
from tests.deeplab.programs import check, equals_its_program
from tests.deeplab.tiny import BLOCKS, random_network

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")

DEEP, SHALLOW = 4, 2
"""Blocks of the skips, at strides 8 and 4."""
ALL_BLOCKS = (*BLOCKS, (24, 16, 2, 1, False), (32, 16, 1, 1, True))


def two_skips(height: int, width: int) -> Graph:
    """DeepLab v3+ at output stride 16, refined once at stride 8 and twice at stride 4; no values yet."""
    net = GraphBuilder("two-skips", height, width)
    x = net.convolution("stem", net.input, 8, "RELU6", window=3, stride=2)
    taps = []
    for index, (expand, project, stride, _, residual) in enumerate(ALL_BLOCKS):
        name = f"block_{index}"
        x, own = inverted_residual(net, name, x, expand, project, stride, 1, residual=residual)
        taps.append(own)
    x = aspp(net, x, 8, 12, [(2, 8)], 16, "half_pixel")
    for name, skip, widths in (
        ("deep", taps[DEEP]["project"], (14,)),
        ("shallow", taps[SHALLOW]["depthwise"], (12, 10)),
    ):
        side = net.convolution(f"decoder/{name}/skip", skip, 6, "RELU")
        x = net.resize(f"decoder/{name}/resize", x, net.shape(side)[:2], "half_pixel")
        x = net.concatenation(f"decoder/{name}/concat", (x, side))
        for index, channels in enumerate(widths):
            x = net.depthwise(f"decoder/{name}/refine_{index}/depthwise", x, "RELU")
            x = net.convolution(f"decoder/{name}/refine_{index}/pointwise", x, channels, "RELU")
    x = net.convolution("logits", x, 5)
    return net.finished(net.resize("logits/resize", x, (height, width), "half_pixel"))


@pytest.fixture(scope="module")
def own(network) -> Graph:
    """The network at the size of the images, with weights."""
    return random_network(two_skips(*input_size(network)), seed=0)


def test_its_maps_meet_at_strides_8_and_4_and_follow_another_size(own):
    check(own)
    sizes = {name: own.tensors[index].shape[1:3] for name, index in tensor_indices(own).items()}
    assert [sizes[f"decoder/{name}/concat"] for name in ("deep", "shallow")] == [(5, 6), (9, 12)]
    assert structure(with_input_size(own, 64, 97)) == structure(two_skips(64, 97))


def test_its_channels_are_pruned_in_groups_of_both_skips(own):
    groups = {group.name: group for group in channel_groups(own)}
    assert ("decoder/shallow/skip", 0) in groups["block_2/expand"].readers
    assert ("decoder/deep/skip", 0) in groups["block_3/project"].readers
    assert groups["decoder/shallow/skip"].readers == (("decoder/shallow/refine_0/pointwise", 14),)
    assert groups["decoder/deep/skip"].depthwise == ("decoder/deep/refine_0/depthwise",)


@pytest.mark.parametrize("tile_count", [1, 4])
def test_in_float_its_program_is_the_interpreted_plan(own, images, tile_count):
    assert equals_its_program(own, tile_count, images)


@pytest.mark.parametrize("sparsity", [0.0, 0.4])
def test_pruned_and_quantized_its_program_is_the_interpreted_plan_bit_for_bit(own, images, sparsity):
    compression = Compression("channels", sparsity, 4, 8)
    pruned = take_channels(own, uniform_keep(weight_rankings(own), sparsity))
    assert sparsity == 0.0 or parameters(pruned) < 0.6 * parameters(own)
    integers = quantize(pruned, calibrate(pruned, images), BitWidths(4, 8))
    check(integers)
    assert equals_its_program(integers, 4, images)
    untrained = compressed_shapes(narrowed(without_weights(own), sparsity), compression)
    assert structure(untrained) == structure(integers)
    assert plan(untrained, 4).peak_memory_bytes == plan(integers, 4).peak_memory_bytes
    assert fingerprint(parse_network(checkpoint_bytes(integers))) == fingerprint(integers)
