"""Pruning: groups, narrower networks that compute what the masked network computes, tfmot's masks."""

import numpy as np
import pytest

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.inference import sample_inputs
from deeplab.model import build, load_weights
from deeplab.network import (
    check_network,
    classes,
    fingerprint,
    parameters,
    structure,
    weight_shapes,
    weights,
    with_weights,
    without_weights,
)
from deeplab.pruning.channels import kept_channels, narrowed, prune_channels, uniform_keep
from deeplab.pruning.groups import channel_groups, channel_owners, take_channels
from deeplab.pruning.magnitude import largest
from deeplab.pruning.ranking import weight_importance, weight_rankings
from deeplab.pruning.refit import refitted
from deeplab.sparsity import MOST_SPARSE_DENSITY, WeightSparsity, prunable_kernels
from deeplab.tensorflow import keras
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes
from tests.deeplab.tiny import cut, random_network, tiny_network


def test_residual_chains_are_one_group_and_the_skip_reads_its_block(network):
    groups = {group.name: group for group in channel_groups(network)}
    assert groups["block_1/project"].writers == ("block_1/project", "block_2/project")
    assert groups["block_3/project"].writers == ("block_3/project", "block_4/project")
    assert ("decoder/skip", 0) in groups["block_2/expand"].readers
    # The second half of the decoder's concat begins after the ASPP's channels.
    assert groups["decoder/skip"].readers == (("decoder/refine_0/pointwise", groups["aspp/project"].channels),)
    assert groups["decoder/skip"].depthwise == ("decoder/refine_0/depthwise",)
    assert "logits" not in groups
    assert "input" not in groups


def test_owners_name_the_channels_of_every_layer(network):
    owners = channel_owners(network)
    assert owners["input"] == ((None, 3),)
    assert owners["block_4/add"] == (("block_3/project", 12),)
    assert owners["block_2/depthwise"] == (("block_2/expand", 24),)
    assert owners["decoder/refine_0/depthwise"] == (("aspp/project", 16), ("decoder/skip", 6))
    assert owners["aspp/concat"] == (
        ("aspp/pool/pointwise", 8), ("aspp/pointwise", 12), ("aspp/atrous_0/pointwise", 8),
    )  # fmt: skip
    assert owners["logits/resize"] == ((None, 5),)


def test_a_network_without_decoder_has_groups_of_its_own():
    groups = {group.name: group for group in channel_groups(tiny_network(decoder=False))}
    assert groups["block_2/expand"].readers == (("block_2/project", 0),)
    assert groups["aspp/project"].readers == (("logits", 0),)


def _uniform(network, sparsity, inputs=None):
    return prune_channels(network, uniform_keep(weight_rankings(network, inputs), sparsity), inputs)


def _copied(network):
    """Weights that may be changed."""
    return {name: array.copy() for name, array in weights(network).items()}


def _logits(network, images):
    model = build(network)
    load_weights(model, network)
    return model(images.astype(np.float32) / 127.5 - 1, training=False).numpy()


@pytest.mark.parametrize("tap", ["expand", "depthwise", "project"])
def test_cutting_dead_channels_changes_no_output(images, tap):
    """Silence channels (weights and bias that write them to 0); the narrow network must then compute the same."""
    network, random = random_network(tiny_network(skip_tap=tap)), np.random.default_rng(5)
    silenced = _copied(network)
    keep = {}
    for group in channel_groups(network):
        kept = np.sort(random.permutation(group.channels)[: kept_channels(group.channels, 0.4)])
        keep[group.name] = kept
        dead = np.setdiff1d(np.arange(group.channels), kept)
        for name in group.writers:
            silenced[f"{name}/kernel"][..., dead] = 0
            silenced[f"{name}/bias"][dead] = 0
        # A depthwise adds a bias of its own to a dead channel: silence that too, through the concat where there is one.
        for name in group.depthwise:
            start = dict(group.readers).get("decoder/refine_0/pointwise", 0) if "refine_0" in name else 0
            silenced[f"{name}/bias"][start + dead] = 0
    masked = with_weights(network, silenced)
    narrow = take_channels(masked, keep)
    expected = _logits(masked, images)
    assert parameters(narrow) < 0.6 * parameters(masked)
    np.testing.assert_allclose(_logits(narrow, images), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("sparsity", [0.0, 0.125, 0.5, 0.9])
def test_the_pruned_networks_shape_is_known_without_weights(network, sparsity):
    pruned, planned = _uniform(network, sparsity), narrowed(without_weights(network), sparsity)
    assert structure(pruned) == structure(planned)
    assert fingerprint(planned) == fingerprint(narrowed(network, sparsity)) == fingerprint(without_weights(pruned))
    assert {name: array.shape for name, array in weights(pruned).items()} == weight_shapes(planned)
    for check in (check_order, check_shapes, check_network):
        check(pruned)


def test_pruning_nothing_is_the_same_network(network):
    assert fingerprint(_uniform(network, 0.0)) == fingerprint(network)


def test_the_least_important_channel_goes_first(network):
    group = next(group for group in channel_groups(network) if group.name == "block_2/expand")
    changed = _copied(network)
    changed["block_2/expand/kernel"][..., 7] *= 1e-3
    changed["block_2/project/kernel"][:, :, 7] *= 1e-3
    changed["decoder/skip/kernel"][:, :, 7] *= 1e-3
    assert int(np.argmin(weight_importance(with_weights(network, changed), group))) == 7


def test_every_width_of_the_full_network_follows():
    whole = mobilenet_v2_deeplab(input_height=64, input_width=64, classes=5, atrous_rates=(6, 12))
    half = narrowed(whole, 0.5)
    before, after = (
        {name.removesuffix("/bias"): shape[0] for name, shape in weight_shapes(graph).items() if name.endswith("/bias")}
        for graph in (whole, half)
    )
    assert after.pop("logits") == before.pop("logits") == classes(half) == 5
    # The decoder's first depthwise convolution reads two groups: 256 and 48 channels.
    assert after == {name: width // 2 for name, width in before.items()}
    assert (after["stem"], after["aspp/project"], after["decoder/refine_0/depthwise"]) == (16, 128, 152)


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9])
def test_magnitude_zeroes_the_smallest_weights_of_each_kernel(network, sparsity):
    weight_sparsity = WeightSparsity(sparsity)
    pruned, densities = cut(network, weight_sparsity), weight_sparsity.densities(network)
    for name, before in weights(network).items():
        after = weights(pruned)[name]
        if densities.get(name, 1.0) == 1.0:
            np.testing.assert_array_equal(after, before)
            continue
        assert abs(np.count_nonzero(after) - densities[name] * before.size) <= 1
        assert np.abs(before[after == 0]).max() <= np.abs(before[after != 0]).min()
    sizes = {name: weights(network)[name].size for name in densities}
    zeros = sum(np.count_nonzero(weights(pruned)[name] == 0) for name in sizes)
    assert zeros == pytest.approx(sparsity * sum(sizes.values()), abs=len(sizes))


@pytest.mark.parametrize("sparsity", [0.0, 0.02, 0.2, 0.5, 0.7, 0.9, 0.99])
def test_densities_are_those_of_random_graphs_and_make_up_the_sparsity(sparsity):
    network = mobilenet_v2_deeplab(input_height=64, input_width=64, classes=5, atrous_rates=(6, 12))
    densities, shapes = WeightSparsity(sparsity).densities(network), weight_shapes(network)
    assert set(densities) == set(prunable_kernels(network))
    assert all(shapes[name][:2] == (1, 1) for name in densities)
    sizes = {name: shapes[name][2] * shapes[name][3] for name in densities}
    left = sum(sizes[name] * density for name, density in densities.items())
    assert left == pytest.approx((1 - sparsity) * sum(sizes.values()))
    links = {name: sum(shapes[name][2:]) / sizes[name] for name in densities}
    thin = {name for name, density in densities.items() if density < 1.0}
    assert bool(thin) == bool(sparsity)
    for name in thin:
        assert 0.0 < densities[name] <= MOST_SPARSE_DENSITY or thin == {name}
        assert densities[name] / links[name] == pytest.approx(left_over(sizes, links, thin, left))
    # None of those that stay whole could have been thinned enough.
    for name in set(densities) - thin if sparsity else ():
        larger = {other for other in densities if links[other] <= links[name]}
        assert left_over(sizes, links, larger, left) * links[name] > MOST_SPARSE_DENSITY


def left_over(sizes, links, thin, left):
    """Weights left a link, where all kernels but the thin ones stay whole."""
    whole = sum(size for name, size in sizes.items() if name not in thin)
    return (left - whole) / sum(links[name] * sizes[name] for name in thin)


def test_magnitude_masks_are_those_of_tfmots_own_wrapper(network):
    import tensorflow_model_optimization as tfmot

    name = "aspp/project/kernel"
    kernel = weights(network)[name]
    layer = keras.layers.Conv2D(kernel.shape[3], 1, input_shape=(4, 4, kernel.shape[2]))
    schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, begin_step=0, frequency=1)
    model = tfmot.sparsity.keras.prune_low_magnitude(keras.Sequential([layer]), pruning_schedule=schedule)
    model.layers[0].layer.kernel.assign(kernel)
    model.compile("sgd", "mse")
    pixels = np.zeros((1, 4, 4, kernel.shape[2]), np.float32)
    model.fit(
        pixels,
        np.zeros((1, 4, 4, kernel.shape[3]), np.float32),
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        verbose=0,
    )
    theirs = model.layers[0].layer.kernel.numpy()
    np.testing.assert_array_equal(theirs != 0, largest(kernel, 0.5))


def test_two_of_four_leaves_the_larger_two_of_any_four_inputs(network):
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras.pruning_utils import is_pruned_m_by_n

    weight_sparsity = WeightSparsity(0.5, "2:4")
    pruned, densities = cut(network, weight_sparsity), weight_sparsity.densities(network)
    for name, before in weights(network).items():
        after = weights(pruned)[name]
        if name not in densities:
            np.testing.assert_array_equal(after, before)
            continue
        assert is_pruned_m_by_n(tf.Variable(after), (2, 4))
        inputs = before.shape[2]
        assert (after != 0).mean() == pytest.approx(densities[name], abs=1e-6)
        if inputs < 4:
            continue
        fours = np.abs(before[:, :, : inputs // 4 * 4]).reshape(*before.shape[:2], inputs // 4, 4, -1)
        left = (after[:, :, : inputs // 4 * 4] != 0).reshape(fours.shape)
        np.testing.assert_array_equal(left, fours >= np.sort(fours, axis=3)[:, :, :, 2:3])


def test_refitting_keeps_more_of_the_network_than_cutting_alone(network, images):
    inputs = sample_inputs(network, images, 128)
    exact = _logits(network, images)

    def error(pruned):
        return np.abs(_logits(pruned, images) - exact).mean()

    assert error(_uniform(network, 0.25, inputs)) < 0.8 * error(_uniform(network, 0.25))
    assert structure(_uniform(network, 0.25, inputs)) == structure(narrowed(network, 0.25))


def test_a_channel_the_others_explain_is_lost_without_loss(network, images):
    """Double a channel of a group: with refitting, cutting either twin must change nothing."""
    changed = _copied(network)
    for name in ("block_3/expand/kernel", "block_3/expand/bias"):
        changed[name][..., 5] = changed[name][..., 4]
    changed["block_3/depthwise/kernel"][:, :, 5] = changed["block_3/depthwise/kernel"][:, :, 4]
    changed["block_3/depthwise/bias"][5] = changed["block_3/depthwise/bias"][4]
    twins = with_weights(network, changed)
    inputs = sample_inputs(twins, images, 128)
    keep = {"block_3/expand": np.delete(np.arange(16), 5)}
    narrow = take_channels(refitted(twins, keep, inputs), keep)
    expected = _logits(twins, images)
    np.testing.assert_allclose(_logits(narrow, images), expected, atol=0.02 * np.abs(expected).max())
    assert np.abs(_logits(take_channels(twins, keep), images) - expected).max() > 0.1 * np.abs(expected).max()
