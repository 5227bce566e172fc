"""Cross-layer equalisation: the same function, with evener channels."""

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.checkpoint import Checkpoint
from deeplab.inference import labels, probabilities
from deeplab.layers import LOGITS, layers
from deeplab.quantization import BitWidths, quantize
from deeplab.quantization.equalisation import equalize


@pytest.fixture(scope="module")
def uneven(checkpoint):
    """The same function as `checkpoint`, badly scaled: linear channels up to 30 times apart."""
    random = np.random.default_rng(0)
    weights = dict(checkpoint.weights)
    readers = [layer for layer in layers(checkpoint.spec) if layer.inputs and layer.inputs[0] == "block_3/project"]
    assert [layer.kind for layer in readers] == ["conv"]
    factor = np.exp(random.uniform(0, np.log(30), weights["block_3/project/bias"].size)).astype(np.float32)
    weights["block_3/project/kernel"] = weights["block_3/project/kernel"] * factor
    weights["block_3/project/bias"] = weights["block_3/project/bias"] * factor
    weights[f"{readers[0].name}/kernel"] = weights[f"{readers[0].name}/kernel"] / factor[:, None]
    return Checkpoint(checkpoint.spec, weights)


def test_the_network_computes_the_same(checkpoint, uneven, images):
    for network in (checkpoint, uneven):
        equal = equalize(network, calibrate(network, images))
        assert any((equal.weights[name] != array).any() for name, array in network.weights.items())
        exact = probabilities(network, images)
        np.testing.assert_allclose(probabilities(equal, images), exact, atol=2e-4)
        np.testing.assert_array_equal(equal.weights[f"{LOGITS}/bias"], network.weights[f"{LOGITS}/bias"])


def test_ranges_become_even_and_the_widest_stays(uneven, images):
    before = calibrate(uneven, images)
    after = calibrate(equalize(uneven, before), images)
    spread = [
        np.log(np.maximum(-seen["block_3/project"].channel_low, seen["block_3/project"].channel_high)).std()
        for seen in (before, after)
    ]
    assert spread[1] < 0.7 * spread[0]
    for name in ("block_3/project", "block_1/expand"):
        reach = [max(-seen[name].low, seen[name].high) for seen in (before, after)]
        assert reach[1] <= reach[0] * 1.01


@pytest.fixture(scope="module")
def clamped(checkpoint):
    """Channels that the ReLU6 clamps next to others that it leaves alone."""
    weights = dict(checkpoint.weights)
    for name in ("stem", "block_1/expand", "block_2/depthwise"):
        kernel = weights[f"{name}/kernel"]
        factor = np.geomspace(0.5, 20, weights[f"{name}/bias"].size).astype(np.float32)
        weights[f"{name}/kernel"] = kernel * (factor[:, None] if "depthwise" in name else factor)
    return Checkpoint(checkpoint.spec, weights)


def test_the_clamp_of_relu6_stays_where_it_was(clamped, images):
    before = calibrate(clamped, images)
    equal = equalize(clamped, before)
    after = calibrate(equal, images)
    reached = [before[name].channel_high >= 5.9 for name in ("stem", "block_1/expand", "block_2/depthwise")]
    assert all(clamps.any() and not clamps.all() for clamps in reached)
    for layer in layers(clamped.spec):
        if layer.activation == "relu6":
            clamps = before[layer.name].channel_high >= 5.9
            assert (after[layer.name].channel_high[~clamps] < 6.0).all(), layer.name
            np.testing.assert_allclose(
                after[layer.name].channel_mean[clamps], before[layer.name].channel_mean[clamps], rtol=1e-3, atol=1e-4
            )
    exact = probabilities(clamped, images)
    np.testing.assert_allclose(probabilities(equal, images), exact, atol=1e-3)


def test_a_badly_scaled_network_loses_less_to_rounding(uneven, images):
    exact = labels(uneven, images)
    agreement = []
    for network in (uneven, equalize(uneven, calibrate(uneven, images))):
        quantized = quantize(network, calibrate(network, images), BitWidths(8, 4))
        agreement.append((labels(quantized, images) == exact).mean())
    assert agreement[1] > agreement[0]
