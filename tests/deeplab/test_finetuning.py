"""Fine-tuning: the loss falls, void is not learnt, masks hold, the same call gives the same network."""

import numpy as np
import pytest

from deeplab import inference
from deeplab.finetuning import VOID, FineTuning, fine_tune
from deeplab.network import fingerprint, structure, weights
from deeplab.pruning.channels import prune_channels, uniform_keep
from deeplab.pruning.ranking import weight_rankings
from deeplab.sparsity import WeightSparsity
from deeplab.tensorflow import tf
from tests.deeplab.tiny import cut


@pytest.fixture(scope="module")
def labels(images):
    """Bright, dark and in between: learnable in a few steps."""
    brightness = images.mean(axis=-1)
    return np.digitize(brightness, [85, 170]).astype(np.uint8)


def _accuracy(given, images, labels):
    return (inference.labels(given, images) == labels).mean()


def test_labels_are_learnt(network, images, labels):
    tuned = fine_tune(network, lambda step: (images, labels), FineTuning(60, 1e-2, "labels"))
    assert structure(tuned) == structure(network)
    assert _accuracy(tuned, images, labels) > _accuracy(network, images, labels) + 0.15


def test_a_pruned_network_learns_its_teacher_without_labels(network, images):
    student = prune_channels(network, uniform_keep(weight_rankings(network), 0.4))
    target = inference.labels(network, images)
    tuned = fine_tune(student, lambda step: (images, None), FineTuning(40, 3e-3, "distill"), teacher=network)
    assert structure(tuned) == structure(student)
    assert _accuracy(tuned, images, target) > _accuracy(student, images, target) + 0.1


def test_void_pixels_teach_nothing(network, images, labels):
    void = np.full_like(labels, VOID)
    tuned = fine_tune(network, lambda step: (images, void), FineTuning(3, 1e-2, "labels"))
    for name, before in weights(network).items():
        np.testing.assert_array_equal(weights(tuned)[name], before)


def test_held_zeros_stay_and_free_ones_do_not(network, images, labels):
    options = FineTuning(12, 3e-3, "labels")
    pruned = cut(network, WeightSparsity(0.6))
    held = fine_tune(pruned, lambda step: (images, labels), options, hold_zeros=True)
    for name in WeightSparsity(0.6).densities(network):
        np.testing.assert_array_equal(weights(held)[name] == 0, weights(pruned)[name] == 0)
    free = fine_tune(pruned, lambda step: (images, labels), options)
    after, before = (weights(tuned)["aspp/project/kernel"] for tuned in (free, held))
    assert np.count_nonzero(after) > np.count_nonzero(before)


def test_the_same_call_gives_the_same_network_and_no_new_trace(network, images, labels, monkeypatch):
    """Nor do other weights and masks: the loss is written out in Python once, when its step is traced."""
    traces, written = [], tf.nn.sparse_softmax_cross_entropy_with_logits
    monkeypatch.setattr(
        tf.nn, "sparse_softmax_cross_entropy_with_logits", lambda *given: traces.append(given) or written(*given)
    )
    options, pruned = FineTuning(5, 1e-3, "labels"), cut(network, WeightSparsity(0.5))
    narrow = lambda step: (images[:, :, :-16], labels[:, :, :-16])  # noqa: E731 - of a size that no other test has
    first, second = (fine_tune(network, narrow, options) for _ in range(2))
    assert fingerprint(first) == fingerprint(second)
    for _ in range(2):
        fine_tune(pruned, narrow, options, hold_zeros=True)
    assert len(traces) == 1


def test_zero_steps_is_the_same_network(network, images, labels):
    assert fine_tune(network, lambda step: (images, labels), FineTuning(0, 1.0, "labels")) is network
