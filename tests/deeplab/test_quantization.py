"""Quantization by the contracts: quantization parameters, shared ones, biases, and what needs no new trace."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab.calibration import calibrate
from deeplab.checkpoint import Checkpoint
from deeplab.inference import labels, observe, probabilities, sample_inputs
from deeplab.layers import layers
from deeplab.model import build, load_weights
from deeplab.quantization import (
    BitWidths,
    Clipping,
    Range,
    activation_parameters,
    quantize,
    quantize_kernel,
    shared_parameters,
)
from deeplab.quantization.file import network_bytes, parse_network
from deeplab.tensorflow import keras
from deeplab.threads import VARIABLE


@pytest.fixture(scope="module")
def ranges(checkpoint, images):
    return calibrate(checkpoint, images)


def _layer(spec, name):
    return next(layer for layer in layers(spec) if layer.name == name)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8, 16])
@pytest.mark.parametrize("name", ["block_1/expand", "block_1/depthwise"])
def test_kernels_are_symmetric_per_channel_and_within_their_bits(checkpoint, bits, name):
    layer, kernel = _layer(checkpoint.spec, name), checkpoint.weights[f"{name}/kernel"]
    codes, scales = quantize_kernel(kernel, bits, layer)
    limit = 2 ** (bits - 1) - 1
    assert np.abs(codes).max() <= limit
    assert scales.shape == (layer.channels,)
    if bits >= 8:  # no clipping: each channel's largest weight is its largest code, errors at most half a step
        step = scales if layer.kind == "conv" else scales[:, None]
        axes = (0, 1, 2) if layer.kind == "conv" else (0, 1, 3)
        assert (np.abs(codes).max(axis=axes) == limit).all()
        assert (np.abs(codes * step - kernel) <= step * 0.5001).all()


@given(st.integers(2, 6), st.integers(0, 1000))
def test_clipping_never_does_worse_than_the_full_range(bits, seed):
    from tests.deeplab.tiny import tiny_spec

    layer = _layer(tiny_spec(), "block_1/expand")
    kernel = np.random.default_rng(seed).standard_t(3, (1, 1, 8, layer.channels)).astype(np.float32)
    codes, scales = quantize_kernel(kernel, bits, layer)
    limit = 2 ** (bits - 1) - 1
    full = (np.abs(kernel).max(axis=(0, 1, 2)) / limit).astype(np.float32)
    plain = np.clip(np.rint(kernel / full), -limit, limit) * full
    error = ((codes * scales - kernel) ** 2).sum(axis=(0, 1, 2))
    assert (error <= ((plain - kernel) ** 2).sum(axis=(0, 1, 2)) * (1 + 1e-5)).all()


def test_pruned_weights_stay_exactly_zero(checkpoint):
    kernel = checkpoint.weights["aspp/project/kernel"].copy()
    kernel[..., :, ::2] = 0
    kernel[..., 3] = 0  # a whole channel gone
    codes, scales = quantize_kernel(kernel, 4, _layer(checkpoint.spec, "aspp/project"))
    assert (codes[kernel == 0] == 0).all()
    assert scales[3] > 0


def test_layers_that_only_move_values_share_the_parameters_of_what_they_move(spec, ranges):
    shared = activation_parameters(spec, ranges, BitWidths(8, 8))
    assert (
        shared["aspp/concat"] == shared["aspp/pointwise"] == shared["aspp/pool/resize"] == shared["aspp/pool/pointwise"]
    )
    assert shared["decoder/concat"] == shared["aspp/project"] == shared["decoder/skip"] == shared["decoder/resize"]
    assert shared["logits"] == shared["logits/resize"]
    assert shared["aspp/pool"] == shared["block_4/add"]
    members = [name for group in shared_parameters(spec) for name in group]
    assert sorted(members) == sorted(layer.name for layer in layers(spec))


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
def test_zero_is_exact_and_zero_points_are_within_their_bits(spec, ranges, bits):
    for name, parameters in activation_parameters(spec, ranges, BitWidths(8, bits)).items():
        assert parameters.low <= parameters.zero_point <= parameters.high, name
        assert parameters.bits == (8 if name == "input" and bits < 16 else bits)
        if bits == 16:
            assert parameters.zero_point == 0
        assert parameters.scale == float(np.float32(parameters.scale))


def test_a_range_covers_what_was_seen_when_nothing_is_an_outlier(spec):
    uniform = np.linspace(-1, 3, 4096, dtype=np.float32)
    seen = {layer.name: Range(np.array([-1.0]), np.array([3.0]), uniform, np.zeros(1)) for layer in layers(spec)}
    stem = activation_parameters(spec, seen, BitWidths(8, 8))["stem"]
    assert (stem.low - stem.zero_point) * stem.scale == pytest.approx(-1.0, abs=stem.scale)
    assert (stem.high - stem.zero_point) * stem.scale == pytest.approx(3.0, abs=stem.scale)


def test_biases_lie_on_the_product_of_input_and_kernel_scale(checkpoint, ranges):
    network = quantize(checkpoint, ranges, BitWidths(8, 8))
    layer = _layer(checkpoint.spec, "block_3/project")
    scale = network.activations[layer.inputs[0]].scale * network.kernel_scales[layer.name].astype(np.float64)
    silent = {name: replace(seen, channel_mean=np.zeros_like(seen.channel_mean)) for name, seen in ranges.items()}
    uncorrected = quantize(checkpoint, silent, BitWidths(8, 8))
    real = checkpoint.weights[f"{layer.name}/bias"]
    assert (np.abs(uncorrected.biases[layer.name] * scale - real) <= scale * 0.5001).all()
    np.testing.assert_array_equal(network.quantized_values()[f"{layer.name}/bias"], network.biases[layer.name])
    assert network.biases[layer.name].dtype == np.int32
    assert quantize(checkpoint, ranges, BitWidths(8, 16)).biases[layer.name].dtype == np.int64


def test_bias_correction_removes_the_mean_error_of_rounding(checkpoint, images, ranges):
    """At 3 bits the mean of each logit must be nearer the float one with the correction than without."""
    corrected = quantize(checkpoint, ranges, BitWidths(3, 16))
    silent = {name: replace(seen, channel_mean=np.zeros_like(seen.channel_mean)) for name, seen in ranges.items()}
    uncorrected = quantize(checkpoint, silent, BitWidths(3, 16))
    means = [probabilities(network, images).mean(axis=(0, 1, 2)) for network in (checkpoint, corrected, uncorrected)]
    assert np.abs(means[1] - means[0]).sum() < np.abs(means[2] - means[0]).sum()


@pytest.mark.parametrize("together", [1, 3])
def test_what_is_seen_inside_is_what_the_plain_model_passes_on(checkpoint, images, together, monkeypatch):
    """However many images run together; in their order."""
    monkeypatch.setenv(VARIABLE, str(together))
    spec = checkpoint.spec
    read, seen = sample_inputs(checkpoint, images, 10**6), observe(checkpoint, images)
    plain = build(spec)
    load_weights(plain, spec, checkpoint.weights)
    names = [layer.name for layer in layers(spec) if layer.kind == "conv"]
    inner = keras.Model(plain.input, [plain.get_layer(name).input for name in names])
    expected = dict(zip(names, inner((images.astype(np.float32) - 127.5) / 127.5), strict=True))
    assert set(read) == set(names)
    for layer in layers(spec):
        if layer.name not in expected:
            continue
        values = expected[layer.name].numpy()
        np.testing.assert_allclose(read[layer.name], values.reshape(-1, values.shape[3]), rtol=1e-3, atol=1e-4)
        if layer.inputs[0] not in seen:
            continue
        for image, (low, high, sample, mean) in zip(values, seen[layer.inputs[0]], strict=True):
            flat = image.reshape(-1, image.shape[2])
            for found, wanted in ((low, flat.min(0)), (high, flat.max(0)), (mean, flat.mean(0))):
                np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
            assert flat.min() - 1e-4 <= sample.min() <= sample.max() <= flat.max() + 1e-4


def test_equal_logits_go_to_the_first_class(checkpoint, images):
    weights = {name: np.zeros_like(array) for name, array in checkpoint.weights.items()}
    silent = Checkpoint(checkpoint.spec, weights)
    assert (labels(silent, images) == 0).all()


def test_more_bits_come_nearer_to_float(checkpoint, images, ranges):
    exact = labels(checkpoint, images)
    agreement = [
        (labels(quantize(checkpoint, ranges, BitWidths(w, a)), images) == exact).mean()
        for w, a in ((2, 4), (4, 6), (8, 8), (16, 16))
    ]
    assert agreement == sorted(agreement)
    assert agreement[-1] > 0.99  # half a code of the input's zero point is all that is left


def test_a_percentile_leaves_its_tails_out(spec):
    random = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    seen = {
        layer.name: Range(random.min(keepdims=True), random.max(keepdims=True), random, np.zeros(1))
        for layer in layers(spec)
    }
    for percentile in (99.0, 99.9):
        project = activation_parameters(spec, seen, BitWidths(8, 8), Clipping("percentile", percentile))[
            "block_3/project"
        ]
        inside = np.percentile(random, [100 - percentile, percentile])
        assert (project.low - project.zero_point) * project.scale == pytest.approx(inside[0], abs=project.scale)
        assert (project.high - project.zero_point) * project.scale == pytest.approx(inside[1], abs=project.scale)
    whole = activation_parameters(spec, seen, BitWidths(8, 8), Clipping("range"))["block_3/project"]
    assert whole.scale == pytest.approx((random.max() - random.min()) / 255, rel=1e-5)


def test_a_quantized_network_survives_the_disk(checkpoint, ranges):
    network = quantize(checkpoint, ranges, BitWidths(4, 8, aspp_weights=16, edge_weights=8, depthwise_weights=6))
    back = parse_network(network_bytes(network))
    assert (back.spec, back.bits, back.activations) == (network.spec, network.bits, network.activations)
    for part in ("kernels", "kernel_scales", "biases"):
        for name, array in getattr(network, part).items():
            np.testing.assert_array_equal(getattr(back, part)[name], array)
            assert getattr(back, part)[name].dtype == array.dtype
    assert back.kernels["aspp/project"].dtype == np.int16
