"""Cross-layer equalisation: the same function, with evener channels."""

import numpy as np
import pytest

from deeplab.calibration import calibrate
from deeplab.inference import labels, probabilities
from deeplab.network import weights, with_weights
from deeplab.quantization import BitWidths, quantize
from deeplab.quantization.equalisation import equalize


@pytest.fixture(scope="module")
def uneven(network):
    """The same function as `network`, badly scaled: linear channels up to 30 times apart."""
    random = np.random.default_rng(0)
    present = weights(network)
    written = next(operator.outputs[0] for operator in network.operators if operator.name == "block_3/project")
    readers = [operator for operator in network.operators if operator.inputs[0] == written]
    assert [operator.kind for operator in readers] == ["CONV_2D"]
    factor = np.exp(random.uniform(0, np.log(30), present["block_3/project/bias"].size)).astype(np.float32)
    reader = f"{readers[0].name}/kernel"
    return with_weights(
        network,
        {
            "block_3/project/kernel": present["block_3/project/kernel"] * factor,
            "block_3/project/bias": present["block_3/project/bias"] * factor,
            reader: present[reader] / factor[:, None],
        },
    )


def test_the_network_computes_the_same(network, uneven, images):
    for given in (network, uneven):
        equal = equalize(given, calibrate(given, images))
        before, after = weights(given), weights(equal)
        assert any((after[name] != array).any() for name, array in before.items())
        exact = probabilities(given, images)
        np.testing.assert_allclose(probabilities(equal, images), exact, atol=2e-4)
        np.testing.assert_array_equal(after["logits/bias"], before["logits/bias"])


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
def clamped(network):
    """Channels that the ReLU6 clamps next to others that it leaves alone."""
    present, changed = weights(network), {}
    for name in ("stem", "block_1/expand", "block_2/depthwise"):
        factor = np.geomspace(0.5, 20, present[f"{name}/bias"].size).astype(np.float32)
        by_channel = factor[:, None] if "depthwise" in name else factor
        changed[f"{name}/kernel"] = present[f"{name}/kernel"] * by_channel
    return with_weights(network, changed)


def test_the_clamp_of_relu6_stays_where_it_was(clamped, images):
    before = calibrate(clamped, images)
    equal = equalize(clamped, before)
    after = calibrate(equal, images)
    reached = [before[name].channel_high >= 5.9 for name in ("stem", "block_1/expand", "block_2/depthwise")]
    assert all(clamps.any() and not clamps.all() for clamps in reached)
    for operator in clamped.operators:
        if operator.attributes.get("activation") == "RELU6":
            name = operator.name
            clamps = before[name].channel_high >= 5.9
            assert (after[name].channel_high[~clamps] < 6.0).all(), name
            np.testing.assert_allclose(
                after[name].channel_mean[clamps], before[name].channel_mean[clamps], rtol=1e-3, atol=1e-4
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
