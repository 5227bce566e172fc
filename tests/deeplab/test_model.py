"""The Keras model: folding, the three resize conventions, requantization on integer codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab.model import Requantize, Resize, build, fold, load_weights
from evaluation.interpreter.requantize import multiply, quantize_multipliers


def test_folding_batch_norm_changes_nothing(spec):
    model = build(spec, batch_norm=True)
    random = np.random.default_rng(3)
    for variable in model.weights:
        values = random.uniform(0.3, 1.5, variable.shape) if "variance" in variable.name else None
        if values is None:
            values = random.normal(0, 0.5, variable.shape) + (1.0 if "gamma" in variable.name else 0.0)
        variable.assign(values)
    folded = build(spec)
    load_weights(folded, spec, fold(model, spec).weights)
    x = random.uniform(-1, 1, (2, spec.input_height, spec.input_width, 3)).astype(np.float32)
    expected, got = model(x, training=False).numpy(), folded(x, training=False).numpy()
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def _slow_resize(image, height, width, convention):
    """One output pixel at a time, from the definition of each convention."""
    rows, columns, _ = image.shape
    out = np.zeros((height, width, image.shape[2]))

    def source(index, n_in, n_out):
        if convention == "align_corners" and n_out > 1:
            return index * (n_in - 1) / (n_out - 1)
        if convention == "half_pixel":
            return max((index + 0.5) * n_in / n_out - 0.5, 0.0)
        return index * n_in / n_out

    for y in range(height):
        for x in range(width):
            sy, sx = source(y, rows, height), source(x, columns, width)
            y0, x0 = min(int(sy), rows - 1), min(int(sx), columns - 1)
            y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
            fy, fx = sy - y0, sx - x0
            top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
            bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
            out[y, x] = top * (1 - fy) + bottom * fy
    return out


@pytest.mark.parametrize("convention", ["legacy", "align_corners", "half_pixel"])
@pytest.mark.parametrize("size", [(4, 6, 13, 11), (5, 5, 10, 20), (1, 1, 3, 4), (7, 9, 7, 9)])
def test_resize_follows_its_convention(convention, size):
    rows, columns, height, width = size
    image = np.random.default_rng(0).normal(size=(rows, columns, 2)).astype(np.float32)
    got = Resize(height, width, convention)(image[None])[0].numpy()
    np.testing.assert_allclose(got, _slow_resize(image, height, width, convention), atol=1e-5)


@pytest.mark.parametrize("activation", ["linear", "relu", "relu6"])
def test_requantizing_is_the_activation_in_float(activation):
    layer = Requantize(activation)
    x = np.linspace(-9, 9, 101, dtype=np.float32).reshape(1, -1)
    low, high = {"linear": (-9, 9), "relu": (0, 9), "relu6": (0, 6)}[activation]
    np.testing.assert_array_equal(layer(x), np.clip(x, low, high))


@given(st.integers(0, 2**31), st.floats(-14, 1), st.integers(4, 8))
def test_requantizing_codes_is_tflites_to_the_bit(seed, magnitude, bits):
    """Against the integer interpreter's own arithmetic: accumulators of every size, multipliers of every shift."""
    random = np.random.default_rng(seed)
    reals = 2.0**magnitude * random.uniform(0.5, 2.0, 16)
    mantissa, exponent = quantize_multipliers(reals)
    x = random.integers(-(2**23), 2**23, (400, 16)) >> random.integers(0, 22, (400, 16))
    layer = Requantize()
    layer(np.zeros((1, 16), np.float32))  # makes the variables
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    for variable, value in (
        (layer.low, low),
        (layer.high, high),
        (layer.head, mantissa * np.exp2(np.maximum(exponent, 0) - 31.0)),
        (layer.guard, np.exp2(np.maximum(-exponent, 0.0))),
    ):
        variable.assign(value)
    layer.active = True
    got = layer(x.astype(np.float32)).numpy()
    np.testing.assert_array_equal(got, np.clip(multiply(x, mantissa, exponent), low, high))


def test_the_model_of_a_spec_takes_other_sizes_with_the_same_weights(spec, checkpoint):
    larger = spec.with_input_size(65, 80)
    model = build(larger)
    load_weights(model, larger, checkpoint.weights)
    assert model.output_shape == (None, 65, 80, spec.classes)
