"""Compressed graphs compute the same by C program and interpreter, and plan the same before and after training."""

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.compression import Compression, compressed_shapes
from deeplab.inference import Runner
from deeplab.network import check_network, convolutions, structure, without_weights
from deeplab.pruning.channels import narrowed, prune_channels, uniform_keep
from deeplab.pruning.ranking import weight_rankings
from deeplab.quantization import BitWidths, quantize
from deeplab.sparsity import WeightSparsity
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes
from evaluation.interpreter import execute
from evaluation.kernels.selection import unpacked_bytes
from evaluation.planner import plan, plan_cache_key
from tests.deeplab.tiny import cut, tiny_network

MIXED = BitWidths(4, 8, aspp_weights=2, decoder_weights=6, aspp_activations=4, edge_weights=8, depthwise_weights=5)


@pytest.mark.parametrize(
    "bits",
    [*(BitWidths(w, a) for w, a in ((8, 8), (4, 8), (6, 6), (8, 4), (2, 8), (3, 6), (16, 16))), MIXED, None],
    ids=str,
)
@pytest.mark.parametrize("tile_count", [1, 4])
def test_the_program_is_the_interpreted_plan_bit_for_bit(network, images, bits, tile_count):
    """The program is scored, the interpreter is the reference; None is the float network."""
    graph = network if bits is None else quantize(network, calibrate(network, images), bits)
    planned = plan(graph, tile_count)
    executed = np.stack([execute(graph, planned, image).output[0] for image in images])
    assert len(np.unique(executed)) > 1
    np.testing.assert_array_equal(Runner(graph, planned).labels(images), executed)


@pytest.mark.parametrize(
    "compression",
    [
        Compression(),
        Compression("channels", 0.25),
        Compression("channels", 0.5, 8, 8),
        Compression("channels", 0.25, 4, 8),
        Compression("channels", 0.0, 8, 16),
    ],
)
def test_memory_planned_before_training_is_the_memory_after(network, images, compression):
    compressed = network
    if compression.sparsity:
        compressed = prune_channels(network, uniform_keep(weight_rankings(network), compression.sparsity))
    if not compression.is_float:
        compressed = quantize(compressed, calibrate(compressed, images), compression.bits)
    untrained = compressed_shapes(narrowed(without_weights(network), compression.sparsity), compression)
    assert structure(untrained) == structure(compressed)
    assert plan_cache_key(untrained) == plan_cache_key(compressed)
    for tile_count in (1, 4):
        before, after = plan(untrained, tile_count), plan(compressed, tile_count)
        assert before.peak_memory_bytes == after.peak_memory_bytes
        assert before.arena_bytes == after.arena_bytes


@pytest.mark.parametrize("bits", [BitWidths(8, 8), BitWidths(2, 4), BitWidths(16, 16), MIXED], ids=str)
def test_an_integer_network_keeps_every_index_and_name_and_has_the_documented_form(network, images, bits):
    integers = quantize(network, calibrate(network, images), bits)
    for check in (check_order, check_shapes, check_network):
        check(integers)
    assert [(t.name, t.shape) for t in integers.tensors] == [(t.name, t.shape) for t in network.tensors]
    for before, after in zip(network.operators, integers.operators, strict=True):
        kind = "QUANTIZE" if before.kind == "DEQUANTIZE" else before.kind
        assert (after.kind, after.name, after.inputs, after.outputs) == (
            kind, before.name, before.inputs, before.outputs
        )  # fmt: skip
        assert dict(after.attributes) == dict(before.attributes)
    wide = bits.activations == 16
    for operator in convolutions(integers):
        kernel, bias = (integers.tensors[index] for index in operator.inputs[1:])
        assert kernel.dtype == ("int16" if kernel.bits == 16 else "int8")
        assert kernel.bits == bits.by_kernel(network)[operator.name]
        assert (bias.dtype, bias.bits) == (("int64", 64) if wide else ("int32", 32))


def test_magnitude_pruning_is_planned_closely_and_lowers_the_weights_only(network, images):
    compression = Compression("magnitude", 0.8, 8, 8)
    sparse = cut(network, WeightSparsity(0.8))
    graph = quantize(sparse, calibrate(sparse, images), BitWidths(8, 8))
    before, after = plan(compressed_shapes(network, compression)), plan(graph)
    dense = plan(compressed_shapes(network, Compression("channels", 0.0, 8, 8)))
    assert after.weights_bytes == pytest.approx(before.weights_bytes, rel=0.1)
    assert after.weights_bytes < dense.weights_bytes
    # The arena is that of the dense network, but for the scratch that some channels' weights are unpacked into.
    scratch = max(unpacked_bytes(graph, index) for index in range(len(graph.operators)))
    assert 0 <= after.arena_bytes - dense.arena_bytes <= scratch + 16


def test_two_of_four_is_planned_to_the_weight(network):
    compression = Compression("2:4", 0.5)
    sparse = cut(network, WeightSparsity(0.5, "2:4"))
    planned = compressed_shapes(network, compression)
    assert plan(planned).weights_bytes == plan(sparse).weights_bytes
    for before, after in zip(planned.tensors, sparse.tensors, strict=True):
        if after.is_constant and after.data is not None and after.name.endswith("/kernel"):
            assert round(before.density * after.elements) == np.count_nonzero(after.data)


def test_bits_by_stage_reach_every_tensor():
    compression = Compression(
        weight_bits=4, activation_bits=8, aspp_weight_bits=2, aspp_activation_bits=4, edge_weight_bits=8,
        depthwise_weight_bits=6,
    )  # fmt: skip
    graph = compressed_shapes(tiny_network(), compression)
    bits = {tensor.name: tensor.bits for tensor in graph.tensors}
    assert bits["stem/kernel"] == bits["logits/kernel"] == 8
    assert bits["block_1/depthwise/kernel"] == bits["aspp/atrous_0/depthwise/kernel"] == 6
    assert bits["block_1/expand/kernel"] == bits["decoder/refine_0/pointwise/kernel"] == 4
    assert bits["aspp/pointwise/kernel"] == bits["aspp/project/kernel"] == 2
    assert bits["aspp/pointwise"] == bits["aspp/concat"] == 4
    # The ASPP's result is concatenated with the decoder's skip: one grid, with the bits of the finer of the two.
    assert bits["aspp/project"] == bits["decoder/skip"] == bits["decoder/concat"] == 8
    assert bits["block_1/expand"] == bits["logits"] == 8
    with pytest.raises(ValueError, match="16-bit activations cannot be mixed with others"):
        Compression(weight_bits=8, activation_bits=8, aspp_activation_bits=16)
    with pytest.raises(ValueError, match="decoder_weight_bits is 32, weight_bits 4: all are 32"):
        Compression(weight_bits=4, activation_bits=8, decoder_weight_bits=32)
