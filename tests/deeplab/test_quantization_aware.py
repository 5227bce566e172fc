"""Quantization-aware training: it starts where post-training quantization ends, and goes down from there."""

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.checkpoint import Checkpoint
from deeplab.inference import labels, probabilities
from deeplab.layers import layers
from deeplab.quantization import ActivationQuantization, BitWidths, quantize
from deeplab.quantization_aware import QatOptions, train_qat
from deeplab.quantization_aware.quantizers import ActivationScale, KernelQuantizer
from deeplab.quantization_aware.training import QatStudent
from deeplab.sparsity import WeightSparsity
from deeplab.tensorflow import keras, tf
from tests.deeplab.tiny import cut

BITS = BitWidths(3, 6, edge_weights=8)


@pytest.fixture(scope="module")
def network(checkpoint, images):
    return quantize(checkpoint, calibrate(checkpoint, images), BITS)


def _distance(checkpoint, network, images):
    exact, given = (probabilities(which, images) for which in (checkpoint, network))
    return float((exact * (np.log(exact + 1e-6) - np.log(given + 1e-6))).sum(-1).mean())


def test_it_starts_as_the_network_it_is_given(checkpoint, network, images):
    student = QatStudent(checkpoint, network, checkpoint.spec.input_height, checkpoint.spec.input_width)
    untrained = student.network()
    for name in network.kernels:
        np.testing.assert_array_equal(untrained.kernels[name], network.kernels[name])
        np.testing.assert_array_equal(untrained.kernel_scales[name], network.kernel_scales[name])
        assert np.abs(untrained.biases[name] - network.biases[name].astype(np.int64)).max() <= 64  # float32's precision
    assert untrained.activations == network.activations
    inputs = (images.astype(np.float32) - 127.0) / 127.5
    trained = student.model(inputs).numpy().argmax(axis=-1)
    # What it trains on is what is shipped, but for requantization's own rounding.
    assert (trained == labels(network, images)).mean() > 0.9


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


def test_training_through_the_rounding_comes_nearer_to_the_teacher(checkpoint, network, images):
    options = QatOptions(120, 1e-2, "distill")
    trained = train_qat(checkpoint, network, lambda step: (images, None), options, teacher=checkpoint)
    assert _distance(checkpoint, trained, images) < 0.5 * _distance(checkpoint, network, images)
    assert trained.bits == network.bits
    for name, quantized in trained.kernels.items():
        assert np.abs(quantized).max() <= 2 ** (BITS.weights_of(name) - 1) - 1
    moved = [trained.activations[name].scale != start.scale for name, start in network.activations.items()]
    assert any(moved)
    assert trained.activations["input"] == network.activations["input"]
    for name, learned in trained.activations.items():
        assert learned.zero_point == network.activations[name].zero_point
    assert trained.activations["aspp/concat"] == trained.activations["aspp/pointwise"]  # still one quantization


def test_biases_and_scales_learn_more_slowly_than_weights(checkpoint, network, images):
    def bias(which, name):
        source = next(layer.inputs[0] for layer in layers(which.spec) if layer.name == name)
        accumulator = np.float64(which.activations[source].scale) * which.kernel_scales[name]
        return which.biases[name] * accumulator, accumulator

    rate = 0.2  # Adam's first step changes everything by this, in its own unit, or by less where gradients are tiny
    trained = train_qat(
        checkpoint, network, lambda step: (images, None), QatOptions(1, rate, "distill"), teacher=checkpoint
    )
    moved = []
    for name in network.kernels:
        (before, _), (after, resolution) = bias(network, name), bias(trained, name)
        unit = network.activations[name].scale
        assert (np.abs(after - before) <= 0.11 * rate * unit + 0.6 * resolution).all()
        moved.append((np.abs(after - before) - resolution).max() / unit)
        growth = np.log(trained.kernel_scales[name].astype(np.float64) / network.kernel_scales[name])
        assert np.abs(growth).max() <= 0.11 * rate
    assert max(moved) > 0.05 * rate
    grown = [np.log(trained.activations[name].scale / start.scale) for name, start in network.activations.items()]
    assert 0.005 * rate < np.abs(grown).max() <= 0.011 * rate


def test_pruned_weights_stay_pruned(checkpoint, images):
    sparse = cut(checkpoint, WeightSparsity(0.5))
    network = quantize(sparse, calibrate(sparse, images), BITS)
    options = QatOptions(5, 2e-2, "distill")
    trained = train_qat(sparse, network, lambda step: (images, None), options, teacher=checkpoint)
    for name, quantized in trained.kernels.items():
        assert (quantized[sparse.weights[f"{name}/kernel"] == 0] == 0).all()


def test_no_steps_change_nothing(checkpoint, network, images):
    same = train_qat(checkpoint, network, lambda step: (images, None), QatOptions(0, 1e-3, "distill"))
    assert same is network
    assert isinstance(checkpoint, Checkpoint)
