"""What a channel costs: gates against differences, elimination against the re-fit, channels that must go first."""

from itertools import permutations

import numpy as np
import pytest

from deeplab.inference import sample_inputs
from deeplab.network import weights, with_weights
from deeplab.pruning.backward_elimination import repaired_ranking
from deeplab.pruning.criteria import rank_channels
from deeplab.pruning.groups import channel_groups
from deeplab.pruning.importance import drawn_loss, gate_importance, loss_gradients, output_fisher
from deeplab.pruning.ranking import ranked
from deeplab.pruning.refit import refitted
from deeplab.tensorflow import tf
from tests.deeplab.tiny import random_network, tiny_network


@pytest.fixture(scope="module")
def inputs(network, images):
    return sample_inputs(network, images, 10**6)


def copied(network):
    """Weights that may be changed."""
    return {name: array.copy() for name, array in weights(network).items()}


def scaled(network, writers, channel, factor):
    """The gate of a channel set to `factor`."""
    changed = copied(network)
    for name in writers:
        changed[f"{name}/kernel"][..., channel] *= factor
        changed[f"{name}/bias"][channel] *= factor
    return with_weights(network, changed)


@pytest.mark.parametrize("name", ["stem", "block_1/project", "block_2/expand", "decoder/skip", "aspp/pointwise"])
def test_a_gates_derivative_is_its_finite_difference(network, images, name):
    """With all writers of a residual chain gated together, and the classes drawn held fixed."""
    group = next(group for group in channel_groups(network) if group.name == name)
    runner, seed = loss_gradients(network), (0, 0)
    runner.load(network)
    found = runner.gates(images[0], seed)
    frame = (images[:1].astype(np.float32) - 127.5) / 127.5
    logits = runner.model(frame, training=False)
    uniform = tf.random.stateless_uniform(tf.shape(logits), seed, minval=1e-7)
    drawn = tf.argmax(logits - tf.math.log(-tf.math.log(uniform)), -1)

    def loss(gated):
        runner.load(gated)
        pixels = tf.nn.sparse_softmax_cross_entropy_with_logits(drawn, runner.model(frame, training=False))
        return float(tf.reduce_sum(tf.cast(pixels, tf.float64))) / np.sqrt(tf.size(pixels).numpy())

    step = 2e-3
    for channel in range(0, group.channels, 5):
        above, below = (loss(scaled(network, group.writers, channel, 1 + sign * step)) for sign in (1, -1))
        derivative = sum(found[writer][channel] for writer in group.writers)
        assert derivative == pytest.approx((above - below) / (2 * step), rel=0.05, abs=0.05)


def test_the_loss_is_the_mean_over_drawn_classes():
    """Of certain logits the drawn class is the certain one, and the loss 0; of even ones it is log(classes)."""
    certain = tf.one_hot(tf.zeros((1, 4, 4), tf.int32), 3) * 60.0
    assert float(drawn_loss(certain, tf.constant([0, 0]))) == pytest.approx(0.0, abs=1e-6)
    assert float(drawn_loss(tf.zeros((1, 4, 4, 3)), tf.constant([0, 0]))) == pytest.approx(16 * np.log(3) / 4)


def test_importance_is_the_same_from_the_same_seed(network, images):
    first, again = (gate_importance(network, images[:2], seed=3) for _ in range(2))
    other = gate_importance(network, images[:2], seed=4)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("criterion", ["fisher", "repair"])
def test_a_channel_nobody_listens_to_costs_nothing_and_goes_first(network, images, inputs, criterion):
    group = next(group for group in channel_groups(network) if group.name == "block_2/expand")
    arrays = {f"{name}/kernel": copied(network)[f"{name}/kernel"] for name, _ in group.readers}
    for name, start in group.readers:  # the block's projection, and the decoder's skip
        arrays[f"{name}/kernel"][:, :, start + 7] = 0.0
    silent = with_weights(network, arrays)
    heard_by_one = with_weights(network, {"block_2/project/kernel": arrays["block_2/project/kernel"]})

    def cost(changed):
        ranking = rank_channels(changed, criterion, images[:3], inputs)["block_2/expand"]
        return ranking.costs[ranking.order.index(7)]

    assert cost(silent) == 0.0
    assert rank_channels(silent, criterion, images[:3], inputs)["block_2/expand"].order[0] == 7
    assert cost(heard_by_one) > 0.0


def test_fisher_information_of_the_logits_is_that_of_the_softmax(images):
    """Before the last resize nothing is left but softmax: the expectation is diag(p) - p p^T, through the resize."""
    network = random_network(tiny_network(input_height=4, input_width=4, decoder=False, resize="legacy"))
    even = {
        "logits/kernel": np.zeros_like(weights(network)["logits/kernel"]),
        "logits/bias": np.log(np.array([0.5, 0.2, 0.1, 0.1, 0.1], np.float32)),
    }
    found = output_fisher(with_weights(network, even), np.repeat(images[:1, :4, :4], 400, axis=0))["logits"]
    p = np.array([0.5, 0.2, 0.1, 0.1, 0.1])
    # 4 x 4 pixels from one logit each (a network of stride 8 on 4 x 4 pixels has one): 16 draws / 16 pixels.
    np.testing.assert_allclose(found, np.diag(p) - np.outer(p, p), atol=0.03)


def test_elimination_costs_what_the_refit_leaves(network, inputs):
    """Sum of the costs = trace(fisher @ covariance of what changes) / 2, the change measured on the same pixels."""
    random = np.random.default_rng(0)
    fisher = {}
    for name in inputs:
        outputs = weights(network)[f"{name}/kernel"].shape[3]
        root = random.normal(size=(outputs, outputs))
        fisher[name] = root @ root.T
    rankings = repaired_ranking(network, inputs, fisher)
    for group in channel_groups(network):
        if group.name == "aspp/pool/pointwise":
            continue  # one value per image, and six images: the ridge speaks
        removed = group.channels // 2
        keep = {group.name: rankings[group.name].kept(removed)}
        fitted = refitted(network, keep, inputs)
        expected = 0.0
        for name, _ in group.readers:
            before, after = (
                inputs[name].astype(np.float64) @ given[f"{name}/kernel"][0, 0] + given[f"{name}/bias"]
                for given in (weights(network), weights(fitted))
            )
            change = after - before
            expected += 0.5 * np.einsum("pi,ij,pj->", change, fisher[name], change) / len(change)
        assert sum(rankings[group.name].costs[:removed]) == pytest.approx(expected, rel=0.02), group.name


def test_twins_cost_nothing_together_with_the_refit_and_gates_do_not_see_it(network, images):
    changed = copied(network)
    for name in ("block_3/expand/kernel", "block_3/expand/bias", "block_3/depthwise/bias"):
        changed[name][..., 5] = changed[name][..., 4]
    changed["block_3/depthwise/kernel"][:, :, 5] = changed["block_3/depthwise/kernel"][:, :, 4]
    twins = with_weights(network, changed)
    inputs = sample_inputs(twins, images, 10**6)
    repaired = rank_channels(twins, "repair", images, inputs)["block_3/expand"]
    assert repaired.order[0] in (4, 5)
    assert repaired.costs[0] < 1e-3 * np.median(repaired.costs)
    assert repaired.costs[repaired.order.index(9 - repaired.order[0])] > 10 * repaired.costs[0]
    gates = gate_importance(twins, images)["block_3/expand"]
    assert gates[[4, 5]].max() > 0.1 * np.median(gates)


def test_scores_that_add_up_are_ranked_by_size():
    for scores in permutations((3.0, 1.0, 2.0)):
        ranking = ranked({"a": np.array(scores)})["a"]
        assert [scores[channel] for channel in ranking.order] == [1.0, 2.0, 3.0]
        assert ranking.costs == (1.0, 2.0, 3.0)
        assert ranking.kept(1).tolist() == sorted(ranking.order[1:])
