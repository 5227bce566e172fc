"""The lowered graph computes what the simulated quantization computes, and plans the same before and after training."""

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.compression import Compression
from deeplab.lowering import lower, lower_untrained
from deeplab.pruning.channels import narrowed, prune_channels, uniform_keep
from deeplab.pruning.ranking import weight_rankings
from deeplab.quantization import BitWidths, quantize
from deeplab.simulation import simulator
from deeplab.sparsity import WeightSparsity
from evaluation.interpreter import execute
from evaluation.kernels.selection import unpacked_bytes
from evaluation.planner import plan, plan_cache_key
from tests.deeplab.tiny import cut, random_checkpoint, tiny_spec

MIXED = BitWidths(4, 8, aspp_weights=2, decoder_weights=6, aspp_activations=4, edge_weights=8, depthwise_weights=5)


@pytest.mark.parametrize(
    "bits", [*(BitWidths(w, a) for w, a in ((8, 8), (4, 8), (6, 6), (8, 4), (2, 8), (3, 6))), MIXED], ids=str
)
def test_the_accuracy_path_is_the_executed_plan_to_the_bit(bits):
    """Where every resize is by 2 or 4: nothing of the integer arithmetic is left to approximation."""
    checkpoint = random_checkpoint(tiny_spec(input_height=32, input_width=48))
    frames = np.random.default_rng(2).integers(0, 256, (4, 32, 48, 3)).astype(np.uint8)
    network = quantize(checkpoint, calibrate(checkpoint, frames), bits)
    graph = lower(network)
    planned = plan(graph, 4)
    executed = np.stack([execute(graph, planned, frame).output[0] for frame in frames])
    assert len(np.unique(executed)) > 1
    np.testing.assert_array_equal(executed, simulator(checkpoint.spec).labels(network, frames))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, 8), (8, 4), (16, 16)])
@pytest.mark.parametrize("tile_count", [1, 4])
def test_the_executed_plan_agrees_with_the_accuracy_path(checkpoint, images, weight_bits, activation_bits, tile_count):
    network = quantize(checkpoint, calibrate(checkpoint, images), BitWidths(weight_bits, activation_bits))
    simulated = simulator(checkpoint.spec).labels(network, images)
    graph = lower(network)
    planned = plan(graph, tile_count)
    executed = np.stack([execute(graph, planned, image).output[0] for image in images])
    # What differs comes from TFLite's resize by odd factors, which interpolates at positions rounded to 1/1024.
    assert (executed == simulated).mean() > 0.975
    assert len(np.unique(executed)) > 1


def test_a_float_plan_agrees_pixel_for_pixel_but_for_rounding(checkpoint, images):
    graph = lower(checkpoint)
    executed = execute(graph, plan(graph, 4), images[0]).output[0]
    assert (executed == simulator(checkpoint.spec).labels(checkpoint, images[:1])[0]).mean() > 0.999


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
def test_memory_planned_before_training_is_the_memory_after(checkpoint, images, compression):
    network = checkpoint
    if compression.sparsity:
        network = prune_channels(checkpoint, uniform_keep(weight_rankings(checkpoint), compression.sparsity))
    if not compression.is_float:
        network = quantize(network, calibrate(network, images), compression.bits)
    for tile_count in (1, 4):
        untrained = lower_untrained(narrowed(checkpoint.spec, compression.sparsity), compression)
        before, after = plan(untrained, tile_count), plan(lower(network), tile_count)
        assert before.peak_memory_bytes == after.peak_memory_bytes
        assert before.arena_bytes == after.arena_bytes
        assert plan_cache_key(untrained) == plan_cache_key(lower(network))


def test_magnitude_pruning_is_planned_closely_and_lowers_the_weights_only(checkpoint, images):
    compression = Compression("magnitude", 0.8, 8, 8)
    sparse = cut(checkpoint, WeightSparsity(0.8))
    network = quantize(sparse, calibrate(sparse, images), BitWidths(8, 8))
    graph = lower(network)
    before, after = plan(lower_untrained(checkpoint.spec, compression)), plan(graph)
    dense = plan(lower_untrained(checkpoint.spec, Compression("channels", 0.0, 8, 8)))
    assert after.weights_bytes == pytest.approx(before.weights_bytes, rel=0.1)
    assert after.weights_bytes < dense.weights_bytes
    # The arena is that of the dense network, but for the scratch that some channels' weights are unpacked into.
    scratch = max(unpacked_bytes(graph, index) for index in range(len(graph.operators)))
    assert 0 <= after.arena_bytes - dense.arena_bytes <= scratch + 16


def test_two_of_four_is_planned_to_the_weight(checkpoint, images):
    compression = Compression("2:4", 0.5)
    sparse = lower(cut(checkpoint, WeightSparsity(0.5, "2:4")))
    planned = lower_untrained(checkpoint.spec, compression)
    assert plan(planned).weights_bytes == plan(sparse).weights_bytes
    for before, after in zip(planned.tensors, sparse.tensors, strict=True):
        if after.is_constant and after.data is not None and after.name.endswith("/kernel"):
            assert round(before.density * after.elements) == np.count_nonzero(after.data)


def test_bits_by_stage_reach_every_tensor():
    spec = tiny_spec()
    compression = Compression(
        weight_bits=4, activation_bits=8, aspp_weight_bits=2, aspp_activation_bits=4, edge_weight_bits=8,
        depthwise_weight_bits=6,
    )  # fmt: skip
    graph = lower_untrained(spec, compression)
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
