"""Quantization-aware training: it starts where post-training quantization ends, and goes down from there."""

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.inference import labels, probabilities
from deeplab.network import INPUT, convolutions, input_size, output, weights
from deeplab.quantization import ActivationQuantization, BitWidths, integer_weights, quantize
from deeplab.quantization.integers import accumulator_scales
from deeplab.quantization_aware import QatOptions, train_qat
from deeplab.quantization_aware.quantizers import ActivationScale, KernelQuantizer
from deeplab.quantization_aware.training import QatStudent
from deeplab.sparsity import WeightSparsity
from deeplab.tensorflow import keras, tf
from tests.deeplab.tiny import cut

BITS = BitWidths(3, 6, edge_weights=8)


@pytest.fixture(scope="module")
def integers(network, images):
    return quantize(network, calibrate(network, images), BITS)


def _activations(graph):
    """Parameters of each activation of an integer network but the frame, by name."""
    return {
        tensor.name: ActivationQuantization.of(tensor)
        for tensor in (output(graph, operator) for operator in graph.operators[:-1])
    }


def _integer_weights(graph):
    """Weights of each convolution of an integer network, by name."""
    return {operator.name: integer_weights(graph, operator) for operator in convolutions(graph)}


def _distance(network, integers, images):
    exact, given = (probabilities(which, images) for which in (network, integers))
    return float((exact * (np.log(exact + 1e-6) - np.log(given + 1e-6))).sum(-1).mean())


def test_it_starts_as_the_network_it_is_given(network, integers, images):
    student = QatStudent(network, integers, *input_size(network))
    untrained = student.network()
    for name, own in _integer_weights(integers).items():
        found = _integer_weights(untrained)[name]
        np.testing.assert_array_equal(found.kernel, own.kernel)
        np.testing.assert_array_equal(found.scales, own.scales)
        assert np.abs(found.bias - own.bias.astype(np.int64)).max() <= 64  # float32's precision
    assert _activations(untrained) == _activations(integers)
    inputs = (images.astype(np.float32) - 127.0) / 127.5
    trained = student.model(inputs).numpy().argmax(axis=-1)
    # What it trains on is what is shipped, but for requantization's own rounding.
    assert (trained == labels(integers, images)).mean() > 0.9


@pytest.mark.parametrize("exponent", [-3.0, 0.0, 2.0])
@pytest.mark.parametrize(("bits", "zero"), [(8, -128), (8, 5), (4, -3), (4, -8)])
def test_a_scale_rounds_to_what_is_shipped_wherever_training_went(bits, zero, exponent):
    scale = ActivationScale("g", ActivationQuantization(float(np.float32(0.1)), zero, bits))
    scale.exponent.assign(exponent)
    shipped = scale.learned()
    values = np.random.default_rng(0).uniform(-15, 15, 500).astype(np.float32)
    quantized = np.clip(np.rint(values / shipped.scale) + zero, shipped.low, shipped.high)
    np.testing.assert_allclose(scale.round(values).numpy(), (quantized - zero) * shipped.scale, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_kernel_is_rounded_to_what_is_shipped_wherever_training_went(depthwise):
    random = np.random.default_rng(0)
    shape = (3, 3, 6, 1) if depthwise else (1, 1, 5, 6)
    mask = (random.uniform(size=shape) > 0.4).astype(np.float32)
    quantizer = KernelQuantizer(random.uniform(0.01, 1, 6).astype(np.float32), 7, mask, depthwise=depthwise)
    weights = quantizer.build(shape, "kernel", keras.layers.Layer())
    weights["step"].assign(random.uniform(-3, 3, weights["step"].shape).astype(np.float32))
    kernel = random.uniform(-9, 9, shape).astype(np.float32)  # at pruned places, too
    given = quantizer(tf.constant(kernel), True, weights).numpy()
    quantized = quantizer.quantized_values(kernel)
    assert (quantized[mask == 0] == 0).all()
    assert np.abs(quantized).max() == 7
    step = quantizer.scales()[:, None] if depthwise else quantizer.scales()
    np.testing.assert_allclose(given, quantized * step, rtol=1e-5)


def test_training_through_the_rounding_comes_nearer_to_the_teacher(network, integers, images):
    options = QatOptions(120, 1e-2, "distill")
    trained = train_qat(network, integers, lambda step: (images, None), options, teacher=network)
    assert _distance(network, trained, images) < 0.5 * _distance(network, integers, images)
    assert [tensor.bits for tensor in trained.tensors] == [tensor.bits for tensor in integers.tensors]
    widths = BITS.by_kernel(network)
    for name, own in _integer_weights(trained).items():
        assert np.abs(own.kernel).max() <= 2 ** (widths[name] - 1) - 1
    before, after = _activations(integers), _activations(trained)
    assert any(after[name].scale != start.scale for name, start in before.items())
    assert after[INPUT] == before[INPUT]
    for name, learned in after.items():
        assert learned.zero_point == before[name].zero_point
    assert after["aspp/concat"] == after["aspp/pointwise"]  # still one quantization


def test_biases_and_scales_learn_more_slowly_than_weights(network, integers, images):
    def bias(which, operator):
        accumulator = accumulator_scales(which, operator)
        return integer_weights(which, operator).bias * accumulator, accumulator

    rate = 0.2  # Adam's first step changes everything by this, in its own unit, or by less where gradients are tiny
    options = QatOptions(1, rate, "distill")
    trained = train_qat(network, integers, lambda step: (images, None), options, teacher=network)
    moved = []
    for operator in convolutions(integers):
        (before, _), (after, resolution) = bias(integers, operator), bias(trained, operator)
        unit = ActivationQuantization.of(output(integers, operator)).scale
        assert (np.abs(after - before) <= 0.11 * rate * unit + 0.6 * resolution).all()
        moved.append((np.abs(after - before) - resolution).max() / unit)
        scales, start = (integer_weights(which, operator).scales.astype(np.float64) for which in (trained, integers))
        assert np.abs(np.log(scales / start)).max() <= 0.11 * rate
    assert max(moved) > 0.05 * rate
    learned = _activations(trained)
    grown = [np.log(learned[name].scale / start.scale) for name, start in _activations(integers).items()]
    assert 0.005 * rate < np.abs(grown).max() <= 0.011 * rate


def test_pruned_weights_stay_pruned(network, images):
    sparse = cut(network, WeightSparsity(0.5))
    integers = quantize(sparse, calibrate(sparse, images), BITS)
    options = QatOptions(5, 2e-2, "distill")
    trained = train_qat(sparse, integers, lambda step: (images, None), options, teacher=network)
    for name, own in _integer_weights(trained).items():
        assert (own.kernel[weights(sparse)[f"{name}/kernel"] == 0] == 0).all()


def test_no_steps_change_nothing(network, integers, images):
    same = train_qat(network, integers, lambda step: (images, None), QatOptions(0, 1e-3, "distill"))
    assert same is integers
