"""Single weights go where the Optimal Brain Surgeon says, and the rest is what least squares makes of it."""

import numpy as np
import pytest

from deeplab.inference import probabilities, sample_inputs
from deeplab.network import structure, weights
from deeplab.pruning import optimal_brain_surgeon
from deeplab.pruning.importance import output_fisher
from deeplab.pruning.optimal_brain_surgeon import LayerFit, prune_weights
from deeplab.pruning.refit import PIXELS_PER_IMAGE, RIDGE
from deeplab.sparsity import WeightSparsity
from tests.deeplab.tiny import cut


@pytest.fixture(scope="module")
def fisher(network, images):
    return output_fisher(network, images)


@pytest.fixture(scope="module")
def inputs(network, images):
    return sample_inputs(network, images, PIXELS_PER_IMAGE)


@pytest.fixture
def problem():
    """(given, wanted, kernel) of a layer with correlated inputs and noise upon them."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(7, 3))
    clean = random.normal(size=(400, 7)) @ random.normal(size=(7, 7)) + random.normal(size=7)
    return clean + 0.1 * random.normal(size=clean.shape), clean @ kernel, kernel


def _least_squares(given, wanted, kernel, left):
    """numpy's own answer, ridge and centring written out as further samples: kernel (in, out)."""
    centred = (given - given.mean(axis=0)) / np.sqrt(len(given))
    ridge = np.sqrt(RIDGE * np.square(centred).sum() / len(kernel)) * np.eye(len(kernel))
    samples = np.vstack([centred, ridge])
    aims = np.vstack([(wanted - wanted.mean(axis=0)) / np.sqrt(len(given)), ridge @ kernel])
    found, error = np.zeros_like(kernel), np.zeros(kernel.shape[1])
    for output in range(kernel.shape[1]):
        rows = left[:, output]
        found[rows, output] = np.linalg.lstsq(samples[:, rows], aims[:, output], rcond=None)[0]
        error[output] = np.square(samples @ found[:, output] - aims[:, output]).sum()
    return found, error


def test_what_is_left_is_the_least_squares_solution(problem):
    given, wanted, kernel = problem
    fit = LayerFit(given, wanted, kernel)
    np.testing.assert_allclose(fit.kernel(), _least_squares(given, wanted, kernel, kernel != 0)[0], rtol=1e-6)
    left = np.random.default_rng(1).random(kernel.shape) < 0.6
    fit.keep(left)
    np.testing.assert_allclose(fit.kernel(), _least_squares(given, wanted, kernel, left)[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose((given @ fit.kernel() + fit.shift(fit.kernel())).mean(axis=0), wanted.mean(axis=0))


def test_the_price_of_a_weight_is_what_its_removal_costs_after_the_fit(problem):
    given, wanted, kernel = problem
    fit = LayerFit(given, wanted, kernel)
    fit.keep(np.random.default_rng(1).random(kernel.shape) < 0.7)
    left = fit.kernel() != 0
    before, costs = _least_squares(given, wanted, kernel, left)[1], fit.costs()
    for index, output in zip(*np.nonzero(left), strict=True):
        without = left.copy()
        without[index, output] = False
        rise = _least_squares(given, wanted, kernel, without)[1][output] - before[output]
        assert costs[index, output] == pytest.approx(rise, rel=1e-6)
    assert (costs[~left] == 0).all()


@pytest.mark.parametrize("sparsity", [WeightSparsity(0.5), WeightSparsity(0.7), WeightSparsity(0.5, "2:4")], ids=str)
def test_surgery_keeps_more_than_cutting_by_size(network, images, inputs, fisher, sparsity):
    exact = probabilities(network, images)
    by_size, operated = cut(network, sparsity), prune_weights(network, sparsity, images, inputs, fisher)
    errors = [np.abs(probabilities(pruned, images) - exact).mean() for pruned in (by_size, operated)]
    assert errors[1] < 0.6 * errors[0]
    for name in sparsity.densities(network):
        assert np.count_nonzero(weights(operated)[name]) <= np.count_nonzero(weights(by_size)[name])


def test_layers_make_up_for_those_before_them(network, images, inputs, fisher, monkeypatch):
    """Against layers that are fitted on what the whole network gives."""
    exact = probabilities(network, images)
    one_by_one = prune_weights(network, WeightSparsity(0.6), images, inputs, fisher)
    monkeypatch.setattr(optimal_brain_surgeon, "sample_inputs", lambda present, *rest: sample_inputs(network, *rest))
    apart = prune_weights(network, WeightSparsity(0.6), images, inputs, fisher)
    monkeypatch.undo()
    errors = [np.abs(probabilities(pruned, images) - exact).mean() for pruned in (apart, one_by_one)]
    assert errors[1] < 0.9 * errors[0]


def test_more_passes_choose_better(network, images, inputs, fisher, monkeypatch):
    exact, errors = probabilities(network, images), []
    for passes in (1, 4):
        monkeypatch.setattr(optimal_brain_surgeon, "PASSES", passes)
        pruned = prune_weights(network, WeightSparsity(0.7), images, inputs, fisher)
        errors.append(np.abs(probabilities(pruned, images) - exact).mean())
    assert errors[1] < errors[0]


def test_outputs_that_the_loss_does_not_feel_lose_their_weights_first(network, images, inputs, fisher):
    deaf = dict(fisher)
    deaf["aspp/project"] = np.diag(np.arange(len(fisher["aspp/project"])) % 2).astype(np.float64)
    pruned = weights(prune_weights(network, WeightSparsity(0.5), images, inputs, deaf))["aspp/project/kernel"][0, 0]
    heard, unheard = np.count_nonzero(pruned[:, 1::2]), np.count_nonzero(pruned[:, ::2])
    assert heard > 10 * max(1, unheard)


def test_weights_that_are_zero_stay_zero(network, images, inputs, fisher):
    half = prune_weights(network, WeightSparsity(0.5), images, inputs, fisher)
    read = sample_inputs(half, images, PIXELS_PER_IMAGE)
    less = prune_weights(half, WeightSparsity(0.7), images, read, fisher)
    for name in WeightSparsity(0.7).densities(network):
        assert not weights(less)[name][weights(half)[name] == 0].any()


def test_a_network_that_nothing_is_taken_from_stays_as_it_is(network, images, inputs, fisher):
    same = prune_weights(network, WeightSparsity(0.0), images, inputs, fisher)
    for name, before in weights(network).items():
        np.testing.assert_allclose(weights(same)[name], before, rtol=1e-3, atol=1e-4, err_msg=name)
    assert structure(same) == structure(network)
