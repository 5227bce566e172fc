"""What constants take: counted by hand, and the three formats against each other."""

import math

import numpy as np
import pytest

from evaluation.graph import Graph, Operator, Quantization, Tensor, read_tflite
from evaluation.kernels.weights import Format, kernel_rows, layer_storage, needs_unpacking, weights_bytes


def layer(bits=8, *, data=None, density=1.0, shape=(16, 3, 3, 10), kind="CONV_2D", dtype="int8"):
    """One convolution with a bias, per-channel quantized."""
    channels = shape[0] if kind == "CONV_2D" else shape[-1]
    scale = np.full(channels, 0.5, np.float32)
    quantized = Quantization(np.float32([1.0]), np.int64([0]))
    kernel = Quantization(scale, np.zeros(channels, np.int64), 0)
    tensors = (
        Tensor("x", (1, 8, 8, shape[3]), "int8", 8, quantized),
        Tensor("w", shape, dtype, bits, kernel, True, data, density),
        Tensor("b", (channels,), "int32", 32, None, True),
        Tensor("y", (1, 8, 8, channels), "int8", 8, quantized),
    )
    attributes = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    return Graph("g", tensors, (Operator(kind, "conv", (0, 1, 2), (3,), attributes),), (0,), (3,))


@pytest.mark.parametrize(("bits", "row_bytes"), [(2, 23), (3, 34), (4, 45), (5, 57), (6, 68), (8, 92)])
def test_rows_are_packed_densely_and_begin_on_whole_bytes(bits, row_bytes):
    """A row is one output channel: 3 * 3 * 10 = 90 values; at 8 bits in groups of 4."""
    storage = layer_storage(layer(bits), 0)
    assert (storage.format, storage.kernel_bytes) == (Format.DENSE, 16 * row_bytes)
    assert storage.bias_bytes == 16 * 4
    assert storage.requantization_bytes == 16 * (4 + 1) + 2 * 2
    assert needs_unpacking(layer(bits), 0) == (bits < 8)


def test_a_depthwise_row_is_one_channels_window():
    graph = layer(4, shape=(1, 3, 3, 12), kind="DEPTHWISE_CONV_2D")
    assert kernel_rows(graph.tensors[1], "DEPTHWISE_CONV_2D") == (12, 9)
    assert layer_storage(graph, 0).kernel_bytes == 12 * math.ceil(9 * 4 / 8)


@pytest.mark.parametrize(
    ("sparsity", "bits_per_weight"),
    # The smallest of bitmap and 4-bit relative index at 8 bits (FACTS: 5.0, 3.4 and 1.5 bits a weight).
    [(0.5, 5.0), (0.7, 3.4), (0.9, 1.5)],
)
def test_sparse_layers_take_the_smallest_format(sparsity, bits_per_weight):
    shape = (64, 3, 3, 100)
    random = np.random.default_rng(0)
    values = random.integers(1, 127, shape).astype(np.int8)
    values[random.random(shape) < sparsity] = 0
    real = layer_storage(layer(data=values, shape=shape), 0)
    expected = layer_storage(layer(density=1 - sparsity, shape=shape), 0)
    assert 8 * real.kernel_bytes / values.size == pytest.approx(bits_per_weight, abs=0.06)
    assert real.kernel_bytes == pytest.approx(expected.kernel_bytes, rel=0.02)
    assert real.format is expected.format is not Format.DENSE
    assert needs_unpacking(layer(data=values, shape=shape), 0)


def test_relative_index_pays_fillers_for_long_runs():
    """One value in 64: three fillers of 16 zeros and a gap of 15 before each."""
    values = np.zeros((1, 1, 1, 6400), np.int8)
    values[..., 63::64] = 1
    storage = layer_storage(layer(data=values, shape=values.shape), 0)
    assert (storage.format, storage.kernel_bytes) == (Format.RELATIVE_INDEX, 100 * 4 * 12 // 8)


def test_dense_real_network_counts_its_parameters(shared):
    graph = read_tflite(shared("weights/deeplabv3plus_mnv2_camvid_float.tflite"))
    # SOURCE.txt: 2,250,875 parameters, float32. Dead filters make some layers sparse, so the sum may be smaller.
    assert 0.95 * 4 * 2_250_875 < weights_bytes(graph) <= 4 * 2_250_875


def test_a_shared_kernel_is_stored_once():
    graph = layer()
    tensors = (*graph.tensors, graph.tensors[3])
    again = Operator("CONV_2D", "again", (0, 1, 2), (4,), graph.operators[0].attributes)
    twice = Graph("g", tensors, (*graph.operators, again), (0,), (3, 4))
    requantization = layer_storage(graph, 0).requantization_bytes
    assert weights_bytes(twice) == weights_bytes(graph) + requantization


@pytest.mark.parametrize(("zeros", "format_"), [(0.2, Format.DENSE), (0.6, Format.BITMAP)])
def test_weights_that_need_no_unpacking_stay_dense_unless_a_quarter_is_saved(zeros, format_):
    values = np.arange(1, 16 * 90 + 1).reshape(16, 3, 3, 10) % 100 + 1
    values.reshape(-1)[: int(values.size * zeros)] = 0
    rng = np.random.default_rng(0)
    rng.shuffle(values.reshape(-1))
    assert layer_storage(layer(data=values.astype(np.int8)), 0).format is format_


def test_a_layer_without_bias_stores_its_zero_points_share():
    graph = layer()
    bare = Operator("CONV_2D", "conv", (0, 1), (3,), graph.operators[0].attributes)
    without = Graph("g", graph.tensors, (bare,), (0,), (3,))
    assert layer_storage(without, 0).bias_bytes == layer_storage(graph, 0).bias_bytes == 16 * 4
