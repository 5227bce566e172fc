"""Fine-tuning: the loss falls, void is not learnt, masks hold, the same call gives the same network."""

import numpy as np
import pytest

from deeplab import inference
from deeplab.finetuning import VOID, FineTuning, fine_tune
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


def _accuracy(network, images, labels):
    return (inference.labels(network, images) == labels).mean()


def test_labels_are_learnt(checkpoint, images, labels):
    tuned = fine_tune(checkpoint, lambda step: (images, labels), FineTuning(60, 1e-2, "labels"))
    assert tuned.spec == checkpoint.spec
    assert _accuracy(tuned, images, labels) > _accuracy(checkpoint, images, labels) + 0.15


def test_a_pruned_network_learns_its_teacher_without_labels(checkpoint, images):
    student = prune_channels(checkpoint, uniform_keep(weight_rankings(checkpoint), 0.4))
    target = inference.labels(checkpoint, images)
    tuned = fine_tune(student, lambda step: (images, None), FineTuning(40, 3e-3, "distill"), teacher=checkpoint)
    assert tuned.spec == student.spec
    assert _accuracy(tuned, images, target) > _accuracy(student, images, target) + 0.1


def test_void_pixels_teach_nothing(checkpoint, images, labels):
    void = np.full_like(labels, VOID)
    tuned = fine_tune(checkpoint, lambda step: (images, void), FineTuning(3, 1e-2, "labels"))
    for name, before in checkpoint.weights.items():
        np.testing.assert_array_equal(tuned.weights[name], before)


def test_held_zeros_stay_and_free_ones_do_not(checkpoint, images, labels):
    options = FineTuning(12, 3e-3, "labels")
    pruned = cut(checkpoint, WeightSparsity(0.6))
    held = fine_tune(pruned, lambda step: (images, labels), options, hold_zeros=True)
    for name in WeightSparsity(0.6).densities(checkpoint.spec):
        np.testing.assert_array_equal(held.weights[name] == 0, pruned.weights[name] == 0)
    free = fine_tune(pruned, lambda step: (images, labels), options)
    assert np.count_nonzero(free.weights["aspp/project/kernel"]) > np.count_nonzero(held.weights["aspp/project/kernel"])


def test_the_same_call_gives_the_same_network_and_no_new_trace(checkpoint, images, labels, monkeypatch):
    """Nor do other weights and masks: the loss is written out in Python once, when its step is traced."""
    traces, written = [], tf.nn.sparse_softmax_cross_entropy_with_logits
    monkeypatch.setattr(
        tf.nn, "sparse_softmax_cross_entropy_with_logits", lambda *given: traces.append(given) or written(*given)
    )
    options, pruned = FineTuning(5, 1e-3, "labels"), cut(checkpoint, WeightSparsity(0.5))
    narrow = lambda step: (images[:, :, :-16], labels[:, :, :-16])  # noqa: E731 - of a size that no other test has
    first, second = (fine_tune(checkpoint, narrow, options) for _ in range(2))
    assert first.fingerprint() == second.fingerprint()
    for _ in range(2):
        fine_tune(pruned, narrow, options, hold_zeros=True)
    assert len(traces) == 1


def test_zero_steps_is_the_same_network(checkpoint, images, labels):
    assert fine_tune(checkpoint, lambda step: (images, labels), FineTuning(0, 1.0, "labels")) is checkpoint
