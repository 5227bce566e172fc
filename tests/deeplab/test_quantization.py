"""Quantization by the contracts: quantization parameters, shared ones, biases, and what needs no new trace."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab.calibration import calibrate
from deeplab.checkpoint import checkpoint_bytes, parse_network
from deeplab.inference import labels, observe, probabilities, sample_inputs
from deeplab.model import build, load_weights
from deeplab.network import (
    INPUT,
    convolutions,
    fingerprint,
    is_depthwise,
    output,
    source,
    tensor_indices,
    weights,
    with_weights,
)
from deeplab.quantization import (
    ActivationQuantization,
    BitWidths,
    Clipping,
    Range,
    activation_parameters,
    integer_weights,
    quantize,
    quantize_kernel,
    shared_tensors,
)
from deeplab.tensorflow import keras
from deeplab.threads import VARIABLE


@pytest.fixture(scope="module")
def ranges(network, images):
    return calibrate(network, images)


def _convolution(network, name):
    return next(operator for operator in convolutions(network) if operator.name == name)


def _by_name(network, parameters):
    """Parameters by the names of the activations."""
    return {network.tensors[index].name: own for index, own in parameters.items()}


def _activations(network):
    """Names of all activations but the frame and the labels."""
    return [output(network, operator).name for operator in network.operators[:-1]]


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8, 16])
@pytest.mark.parametrize("name", ["block_1/expand", "block_1/depthwise"])
def test_kernels_are_symmetric_per_channel_and_within_their_bits(network, bits, name):
    depthwise, kernel = is_depthwise(_convolution(network, name)), weights(network)[f"{name}/kernel"]
    codes, scales = quantize_kernel(kernel, bits, depthwise=depthwise)
    limit = 2 ** (bits - 1) - 1
    assert np.abs(codes).max() <= limit
    assert scales.shape == weights(network)[f"{name}/bias"].shape
    if bits >= 8:  # no clipping: each channel's largest weight is its largest code, errors at most half a step
        step = scales[:, None] if depthwise else scales
        axes = (0, 1, 3) if depthwise else (0, 1, 2)
        assert (np.abs(codes).max(axis=axes) == limit).all()
        assert (np.abs(codes * step - kernel) <= step * 0.5001).all()


@given(st.integers(2, 6), st.integers(0, 1000))
def test_clipping_never_does_worse_than_the_full_range(bits, seed):
    kernel = np.random.default_rng(seed).standard_t(3, (1, 1, 8, 16)).astype(np.float32)
    codes, scales = quantize_kernel(kernel, bits, depthwise=False)
    limit = 2 ** (bits - 1) - 1
    full = (np.abs(kernel).max(axis=(0, 1, 2)) / limit).astype(np.float32)
    plain = np.clip(np.rint(kernel / full), -limit, limit) * full
    error = ((codes * scales - kernel) ** 2).sum(axis=(0, 1, 2))
    assert (error <= ((plain - kernel) ** 2).sum(axis=(0, 1, 2)) * (1 + 1e-5)).all()


def test_pruned_weights_stay_exactly_zero(network):
    kernel = weights(network)["aspp/project/kernel"].copy()
    kernel[..., :, ::2] = 0
    kernel[..., 3] = 0  # a whole channel gone
    codes, scales = quantize_kernel(kernel, 4, depthwise=False)
    assert (codes[kernel == 0] == 0).all()
    assert scales[3] > 0


def test_layers_that_only_move_values_share_the_parameters_of_what_they_move(network, ranges):
    shared = _by_name(network, activation_parameters(network, ranges, BitWidths(8, 8)))
    assert (
        shared["aspp/concat"] == shared["aspp/pointwise"] == shared["aspp/pool/resize"] == shared["aspp/pool/pointwise"]
    )
    assert shared["decoder/concat"] == shared["aspp/project"] == shared["decoder/skip"] == shared["decoder/resize"]
    assert shared["logits"] == shared["logits/resize"]
    assert shared["aspp/pool"] == shared["block_4/add"]
    members = [network.tensors[index].name for group in shared_tensors(network) for index in group]
    assert sorted(members) == sorted(_activations(network))


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
def test_zero_is_exact_and_zero_points_are_within_their_bits(network, ranges, bits):
    for name, parameters in _by_name(network, activation_parameters(network, ranges, BitWidths(8, bits))).items():
        assert parameters.low <= parameters.zero_point <= parameters.high, name
        assert parameters.bits == (8 if name == "input" and bits < 16 else bits)
        if bits == 16:
            assert parameters.zero_point == 0
        assert parameters.scale == float(np.float32(parameters.scale))


def test_a_range_covers_what_was_seen_when_nothing_is_an_outlier(network):
    uniform = np.linspace(-1, 3, 4096, dtype=np.float32)
    one = Range(np.array([-1.0]), np.array([3.0]), uniform, np.zeros(1))
    seen = dict.fromkeys(_activations(network), one)
    stem = _by_name(network, activation_parameters(network, seen, BitWidths(8, 8)))["stem"]
    assert (stem.low - stem.zero_point) * stem.scale == pytest.approx(-1.0, abs=stem.scale)
    assert (stem.high - stem.zero_point) * stem.scale == pytest.approx(3.0, abs=stem.scale)


def test_biases_lie_on_the_product_of_input_and_kernel_scale(network, ranges):
    integers = quantize(network, ranges, BitWidths(8, 8))
    operator = _convolution(integers, "block_3/project")
    own = integer_weights(integers, operator)
    scale = ActivationQuantization.of(source(integers, operator)).scale * own.scales.astype(np.float64)
    silent = {name: replace(seen, channel_mean=np.zeros_like(seen.channel_mean)) for name, seen in ranges.items()}
    uncorrected = integer_weights(quantize(network, silent, BitWidths(8, 8)), operator)
    real = weights(network)["block_3/project/bias"]
    assert (np.abs(uncorrected.bias * scale - real) <= scale * 0.5001).all()
    stated = integers.tensors[operator.inputs[2]].quantization
    np.testing.assert_allclose(stated.scale, scale, rtol=1e-6)
    assert (stated.axis, own.bias.dtype) == (0, np.int32)
    assert integer_weights(quantize(network, ranges, BitWidths(8, 16)), operator).bias.dtype == np.int64


def test_bias_correction_removes_the_mean_error_of_rounding(network, images, ranges):
    """At 3 bits the mean of each logit must be nearer the float one with the correction than without."""
    corrected = quantize(network, ranges, BitWidths(3, 16))
    silent = {name: replace(seen, channel_mean=np.zeros_like(seen.channel_mean)) for name, seen in ranges.items()}
    uncorrected = quantize(network, silent, BitWidths(3, 16))
    means = [probabilities(given, images).mean(axis=(0, 1, 2)) for given in (network, corrected, uncorrected)]
    assert np.abs(means[1] - means[0]).sum() < np.abs(means[2] - means[0]).sum()


@pytest.mark.parametrize("together", [1, 3])
def test_what_is_seen_inside_is_what_the_plain_model_passes_on(network, images, together, monkeypatch):
    """However many images run together; in their order."""
    monkeypatch.setenv(VARIABLE, str(together))
    read, seen = sample_inputs(network, images, 10**6), observe(network, images)
    plain = build(network)
    load_weights(plain, network)
    names = [operator.name for operator in convolutions(network) if not is_depthwise(operator)]
    inner = keras.Model(plain.input, [plain.get_layer(name).input for name in names])
    expected = dict(zip(names, inner((images.astype(np.float32) - 127.5) / 127.5), strict=True))
    assert set(read) == set(names)
    assert set(seen) == set(_activations(network)) - {INPUT, "aspp/concat", "decoder/concat"}
    for name in names:
        values, before = expected[name].numpy(), source(network, _convolution(network, name)).name
        np.testing.assert_allclose(read[name], values.reshape(-1, values.shape[3]), rtol=1e-3, atol=1e-4)
        if before not in seen:
            continue
        for image, (low, high, sample, mean) in zip(values, seen[before], strict=True):
            flat = image.reshape(-1, image.shape[2])
            for found, wanted in ((low, flat.min(0)), (high, flat.max(0)), (mean, flat.mean(0))):
                np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
            assert flat.min() - 1e-4 <= sample.min() <= sample.max() <= flat.max() + 1e-4


def test_equal_logits_go_to_the_first_class(network, images):
    silent = with_weights(network, {name: np.zeros_like(array) for name, array in weights(network).items()})
    assert (labels(silent, images) == 0).all()


def test_more_bits_come_nearer_to_float(network, images, ranges):
    exact = labels(network, images)
    agreement = [
        (labels(quantize(network, ranges, BitWidths(w, a)), images) == exact).mean()
        for w, a in ((2, 4), (4, 6), (8, 8), (16, 16))
    ]
    assert agreement == sorted(agreement)
    assert agreement[-1] > 0.99  # half a code of the input's zero point is all that is left


def test_a_percentile_leaves_its_tails_out(network):
    random = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    one = Range(random.min(keepdims=True), random.max(keepdims=True), random, np.zeros(1))
    seen = dict.fromkeys(_activations(network), one)

    def projected(clipping):
        index = tensor_indices(network)["block_3/project"]
        return activation_parameters(network, seen, BitWidths(8, 8), clipping)[index]

    for percentile in (99.0, 99.9):
        project = projected(Clipping("percentile", percentile))
        inside = np.percentile(random, [100 - percentile, percentile])
        assert (project.low - project.zero_point) * project.scale == pytest.approx(inside[0], abs=project.scale)
        assert (project.high - project.zero_point) * project.scale == pytest.approx(inside[1], abs=project.scale)
    whole = projected(Clipping("range"))
    assert whole.scale == pytest.approx((random.max() - random.min()) / 255, rel=1e-5)


def test_a_quantized_network_survives_the_stage_cache(network, ranges):
    integers = quantize(network, ranges, BitWidths(4, 8, aspp_weights=16, edge_weights=8, depthwise_weights=6))
    back = parse_network(checkpoint_bytes(integers))
    assert fingerprint(back) == fingerprint(integers)
    for operator in convolutions(integers):
        stored, own = integer_weights(back, operator), integer_weights(integers, operator)
        for array, expected in zip(vars(stored).values(), vars(own).values(), strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == expected.dtype
    assert integer_weights(back, _convolution(back, "aspp/project")).kernel.dtype == np.int16
