"""The Keras model: folding, and the three resize conventions."""

import numpy as np
import pytest

from deeplab.layers import Resize
from deeplab.model import build, fold, load_weights
from deeplab.network import classes, convolutions, input_size, logits, weights, without_weights
from deeplab.sizes import with_input_size
from evaluation.interpreter import run_whole
from tests.deeplab.tiny import random_network, tiny_network


def test_folding_batch_norm_changes_nothing(network):
    model = build(network, batch_norm=True)
    random = np.random.default_rng(3)
    for variable in model.weights:
        values = random.uniform(0.3, 1.5, variable.shape) if "variance" in variable.name else None
        if values is None:
            values = random.normal(0, 0.5, variable.shape) + (1.0 if "gamma" in variable.name else 0.0)
        variable.assign(values)
    folded = build(network)
    load_weights(folded, fold(model, network))
    x = random.uniform(-1, 1, (2, *input_size(network), 3)).astype(np.float32)
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


FLAGS = {
    "legacy": {"align_corners": False, "half_pixel_centers": False},
    "align_corners": {"align_corners": True, "half_pixel_centers": False},
    "half_pixel": {"align_corners": False, "half_pixel_centers": True},
}


@pytest.mark.parametrize("convention", ["legacy", "align_corners", "half_pixel"])
@pytest.mark.parametrize("size", [(4, 6, 13, 11), (5, 5, 10, 20), (1, 1, 3, 4), (7, 9, 7, 9)])
def test_resize_follows_its_convention(convention, size):
    rows, columns, height, width = size
    image = np.random.default_rng(0).normal(size=(rows, columns, 2)).astype(np.float32)
    got = Resize(height, width, **FLAGS[convention])(image[None])[0].numpy()
    np.testing.assert_allclose(got, _slow_resize(image, height, width, convention), atol=1e-5)


@pytest.mark.parametrize("convention", FLAGS)
def test_a_networks_model_resizes_by_the_convention_that_it_was_built_with(convention, images):
    """Against the interpreter, which has the conventions from TFLite's reference kernels."""
    graph = random_network(tiny_network(resize=convention))
    model = build(graph)
    load_weights(model, graph)
    found = model((images[:1].astype(np.float32) - 127.5) / 127.5, training=False).numpy()
    expected = run_whole(graph, images[0])[logits(graph)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_batch_norm_is_behind_every_convolution_but_the_last_and_the_pools(network):
    names = {layer.name for layer in build(network, batch_norm=True).layers}
    normalised = {operator.name for operator in convolutions(network) if f"{operator.name}/norm" in names}
    assert normalised == {operator.name for operator in convolutions(network)} - {"logits", "aspp/pool/pointwise"}


def test_what_is_folded_without_batch_norm_are_the_weights_that_were_loaded(network):
    model = build(network)
    load_weights(model, network)
    found = weights(fold(model, without_weights(network)))
    assert found.keys() == weights(network).keys()
    for name, array in weights(network).items():
        np.testing.assert_array_equal(found[name], array)


def test_the_model_of_a_network_takes_other_sizes_with_the_same_weights(network):
    larger = with_input_size(network, 65, 80)
    model = build(larger)
    load_weights(model, larger)
    assert model.output_shape == (None, 65, 80, classes(network))
