"""Accuracy against a slow pixel-by-pixel version, scikit-learn, closed forms, and repeated sampling."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.metrics import confusion_matrix as sklearn_confusion

from evaluation.accuracy import (
    Scores,
    bootstrap_interval,
    confusion_matrix,
    image_weights,
    paired_difference_interval,
    resampled_mious,
    score_images,
    to_label_size,
    to_network_size,
)
from evaluation.errors import UserError
from evaluation.json_codec import from_json, to_json

VOID = 255


def slow_confusion(label, prediction, classes, void):
    matrix = [[0] * classes for _ in range(classes)]
    for row in range(label.shape[0]):
        for column in range(label.shape[1]):
            if label[row, column] != void:
                matrix[label[row, column]][prediction[row, column]] += 1
    return np.array(matrix)


def slow_miou(pairs, classes, void):
    """Set arithmetic over (image, row, column), class by class."""
    labelled = {c: set() for c in range(classes)}
    predicted = {c: set() for c in range(classes)}
    for image, (label, prediction) in enumerate(pairs):
        for place in np.ndindex(label.shape):
            if label[place] != void:
                labelled[int(label[place])].add((image, *place))
                predicted[int(prediction[place])].add((image, *place))
    ious = [len(labelled[c] & predicted[c]) / len(labelled[c] | predicted[c]) for c in range(classes) if labelled[c]]
    return sum(ious) / len(ious)


def random_pairs(seed, count, classes, shape=(6, 7), void_share=0.2):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        label = rng.integers(0, classes, shape).astype(np.uint8)
        prediction = np.where(rng.random(shape) < 0.6, label, rng.integers(0, classes, shape)).astype(np.uint8)
        label[rng.random(shape) < void_share] = VOID
        pairs.append((label, prediction))
    return pairs


def scores_of(pairs, classes, scored_classes=None):
    return Scores.of(
        [f"image-{i}" for i in range(len(pairs))],
        np.stack([confusion_matrix(label, prediction, classes, VOID) for label, prediction in pairs]),
        scored_classes,
    )


@given(
    hnp.arrays(np.uint8, (5, 4), elements=st.sampled_from([0, 1, 2, 3, VOID])),
    hnp.arrays(np.int32, (5, 4), elements=st.integers(0, 3)),
)
def test_confusion_equals_slow_and_sklearn(label, prediction):
    ours = confusion_matrix(label, prediction, 4, VOID)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours, slow_confusion(label, prediction, 4, VOID))
    scored = label != VOID
    if scored.any():
        theirs = sklearn_confusion(label[scored], prediction[scored], labels=range(4))
        np.testing.assert_array_equal(ours, theirs)


def test_confusion_of_many_classes_does_not_overflow_the_label_type():
    label = np.full((2, 2), 149, np.uint8)
    assert confusion_matrix(label, label, 150, VOID)[149, 149] == 4


def test_prediction_under_void_is_not_looked_at():
    label = np.array([[0, VOID]], np.uint8)
    assert confusion_matrix(label, np.array([[0, 77]]), 2, VOID).sum() == 1


@pytest.mark.parametrize(
    ("label", "prediction", "named"), [([[2]], [[0]], "label 2"), ([[0]], [[2]], "prediction 2"), ([[0]], [[-1]], "-1")]
)
def test_out_of_range_is_named(label, prediction, named):
    with pytest.raises(UserError, match=named):
        confusion_matrix(np.array(label), np.array(prediction), 2, VOID)


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=40)
def test_miou_equals_slow(seed, count, classes):
    pairs = random_pairs(seed, count, classes)
    assert scores_of(pairs, classes).miou == pytest.approx(slow_miou(pairs, classes, VOID), abs=1e-12)


def test_closed_form():
    """Left half labelled 0, right half 1; all predicted 0: IoU 1/2 and 0, accuracy 1/2."""
    label = np.array([[0, 1], [0, 1]], np.uint8)
    scores = scores_of([(label, np.zeros_like(label))], 3)
    assert scores.scored_classes == (0, 1)
    assert scores.miou == 0.25
    assert scores.pixel_accuracy == 0.5
    np.testing.assert_array_equal(scores.per_class_iou, [0.5, 0.0, np.nan])
    np.testing.assert_array_equal(scores.unions, [[4, 2, 0]])
    np.testing.assert_array_equal(scores.label_pixels, [[2, 2, 0]])


def test_prediction_of_a_class_outside_the_set_is_wrong_but_adds_no_class():
    label = np.zeros((1, 4), np.uint8)
    scores = scores_of([(label, np.array([[0, 0, 2, 2]]))], 3)
    assert scores.scored_classes == (0,)
    assert scores.miou == 0.5


def test_miou_is_of_the_split_not_a_mean_over_images():
    big, small = np.zeros((10, 10), np.uint8), np.zeros((1, 1), np.uint8)
    scores = scores_of([(big, big), (small, small + 1)], 2)
    assert scores.miou == 100 / 101


def test_record_is_lossless_and_json():
    scores = scores_of(random_pairs(3, 4, 5), 5)
    again = from_json(Scores, to_json(Scores, scores))
    assert again == scores
    assert again != scores_of(random_pairs(3, 4, 6), 6)
    np.testing.assert_array_equal(again.confusions, scores.confusions)
    assert again.confusions.dtype == np.int64
    assert (again.image_ids, again.scored_classes) == (scores.image_ids, scores.scored_classes)
    assert (again.miou, again.pixel_accuracy) == (scores.miou, scores.pixel_accuracy)


@given(hnp.arrays(np.int64, (3, 4, 4), elements=st.integers(0, 2)))
@settings(deadline=None)
def test_records_with_a_list_for_each_triple_are_read_as_before(confusions) -> None:
    """As versions before 2026-11-29 wrote them; today the same numbers stand in one flat list."""
    scores = Scores.of(["a", "b", "c"], confusions)
    today = json.loads(to_json(Scores, scores))
    triples = [[[int(r), int(c), int(matrix[r, c])] for r, c in np.argwhere(matrix)] for matrix in confusions]
    again = from_json(Scores, json.dumps(today | {"label_prediction_pixels": triples}))
    np.testing.assert_array_equal(again.confusions, confusions)
    assert today["label_prediction_pixels"] == [[n for triple in image for n in triple] for image in triples]


def test_subset_and_merge_undo_each_other():
    scores = scores_of(random_pairs(4, 5, 4), 4)
    first, rest = scores.subset(scores.image_ids[:2]), scores.subset(scores.image_ids[2:])
    both = first.merge(rest)
    np.testing.assert_array_equal(both.confusions, scores.confusions)
    assert both.miou == scores.miou
    with pytest.raises(ValueError, match="nowhere"):
        scores.subset(["nowhere"])


def test_figures_computed_from_scores_are_not_pickled_with_them() -> None:
    """Another thread may compute one meanwhile, and an attribute that appears then ends the pickling."""
    scores = Scores.of(["a"], np.array([[[3, 1], [0, 2]]]))
    message = pickle.dumps(scores)
    assert scores.miou > 0
    assert pickle.dumps(scores) == message
    assert pickle.loads(message) == scores


def test_scores_freeze_their_shape():
    with pytest.raises(ValueError, match="int64"):
        Scores(("a",), np.zeros((1, 2, 2), np.int32), (0,))
    with pytest.raises(ValueError, match="twice"):
        Scores(("a", "a"), np.zeros((2, 2, 2), np.int64), (0,))


def test_squash_is_pillows_bilinear_and_labels_are_never_resampled():
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((5, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(to_network_size(image, 4, 5), expected)
    prediction = np.array([[0, 1], [2, 3]])
    np.testing.assert_array_equal(to_label_size(prediction, 4, 4), np.kron(prediction, np.ones((2, 2), int)))


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_score_images_runs_the_protocol(batch_size):
    rng = np.random.default_rng(1)
    samples = []
    for name, size in (("a", (8, 8)), ("b", (12, 6)), ("c", (7, 10))):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        samples.append((name, image, rng.integers(0, 3, size).astype(np.uint8)))
    batches = []

    def predict(images):
        batches.append(images.shape)
        return (images[..., 0] // 100).astype(np.int32)

    scores = score_images(predict, iter(samples), 3, VOID, input_size=(4, 6), batch_size=batch_size)
    assert sum(shape[0] for shape in batches) == 3
    assert {shape[1:] for shape in batches} == {(4, 6, 3)}
    for matrix, (_, image, label) in zip(scores.confusions, samples, strict=True):
        small = np.asarray(Image.fromarray(image).resize((6, 4), Image.Resampling.BILINEAR))[..., 0] // 100
        large = np.asarray(Image.fromarray(small).resize(label.shape[::-1], Image.Resampling.NEAREST))
        np.testing.assert_array_equal(matrix, slow_confusion(label, large, 3, VOID))


def test_score_images_names_the_image():
    image, label = np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 9, np.uint8)
    with pytest.raises(UserError, match=r"street-7.*label 9"):
        score_images(lambda batch: batch[..., 0], [("street-7", image, label)], 3, VOID)
    with pytest.raises(UserError, match=r"street-7.*4x4.*5x4"):
        score_images(lambda batch: batch[..., 0], [("street-7", image, np.zeros((4, 5), np.uint8))], 3, VOID)


def test_equal_images_leave_no_doubt():
    pair = random_pairs(5, 1, 3)[0]
    interval = bootstrap_interval(scores_of([pair] * 6, 3))
    assert interval.lower == pytest.approx(interval.estimate, abs=1e-12)
    assert interval.upper == pytest.approx(interval.estimate, abs=1e-12)


def test_interval_is_repeatable_and_brackets_the_estimate():
    scores = scores_of(random_pairs(6, 30, 4), 4)
    interval = bootstrap_interval(scores, seed=3)
    assert interval == bootstrap_interval(scores, seed=3)
    assert interval != bootstrap_interval(scores, seed=4)
    assert interval.lower < interval.estimate < interval.upper
    narrow = bootstrap_interval(scores, confidence=0.5, seed=3)
    assert interval.lower < narrow.lower < narrow.upper < interval.upper


def test_every_resample_scores_the_one_fixed_set():
    """A class in one image of twelve, always right: its IoU is 1 in every resample, never dropped, never 0."""
    rng = np.random.default_rng(0)
    confusions = np.zeros((12, 3, 3), np.int64)
    confusions[:, 0, 0], confusions[:, 0, 1] = rng.integers(20, 60, 12), rng.integers(0, 20, 12)
    confusions[7, 2, 2] = 50
    scores = Scores.of(map(str, range(12)), confusions)
    assert scores.scored_classes == (0, 2)
    weights = image_weights(12, 500, 0)
    assert (weights > 0).all()
    only_first = Scores.of(map(str, range(12)), confusions, (0,))
    np.testing.assert_allclose(resampled_mious(scores, weights), (resampled_mious(only_first, weights) + 1) / 2)


def test_resampled_mious_equals_slow():
    scores = scores_of(random_pairs(7, 5, 3), 3)
    weights = image_weights(5, 20, 1)
    for row, miou in zip(weights, resampled_mious(scores, weights), strict=True):
        matrix = sum(w * m for w, m in zip(row, scores.confusions, strict=True))
        ious = [matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]) for c in scores.scored_classes]
        assert miou == pytest.approx(np.mean(ious))


def test_pairing_sees_a_small_difference_that_single_intervals_hide():
    rng = np.random.default_rng(2)
    base = np.zeros((40, 2, 2), np.int64)
    right = rng.integers(300, 900, (40, 2))
    for c in (0, 1):
        base[:, c, c], base[:, c, 1 - c] = right[:, c], 1000 - right[:, c]
    better = base.copy()
    for c in (0, 1):  # ten more pixels right in every image
        better[:, c, c] += 10
        better[:, c, 1 - c] -= 10
    names = [str(i) for i in range(40)]
    a, b = Scores.of(names, better), Scores.of(names, base)
    difference = paired_difference_interval(a, b)
    assert difference.estimate == pytest.approx(a.miou - b.miou)
    assert difference.lower > 0
    assert bootstrap_interval(a).lower < bootstrap_interval(b).upper
    assert paired_difference_interval(a, a) == type(difference)(0.0, 0.0, 0.0, 0.95, len(a.image_ids))
    shuffled = b.subset(reversed(names))
    assert paired_difference_interval(a, shuffled) == difference


def test_pairing_refuses_other_images_or_labels():
    scores = scores_of(random_pairs(8, 3, 3), 3)
    with pytest.raises(ValueError, match="same images"):
        paired_difference_interval(scores, scores.subset(scores.image_ids[:2], scores.scored_classes))
    relabelled = Scores(scores.image_ids, scores.confusions[::-1].copy(), scores.scored_classes)
    with pytest.raises(ValueError, match="same labels"):
        paired_difference_interval(scores, relabelled)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Splits of 60 images from a known population; 95 % intervals should hold its mIoU in 90..99 % of 300 splits."""
    rng = np.random.default_rng(11)
    population = np.zeros((20_000, 2, 2), np.int64)
    share = rng.beta(8, 3, (20_000, 2))
    right = rng.binomial(200, share)
    for c in (0, 1):
        population[:, c, c], population[:, c, 1 - c] = right[:, c], 200 - right[:, c]
    truth = Scores.of(map(str, range(20_000)), population).miou
    names = [str(i) for i in range(60)]
    held = 0
    for split in range(300):
        chosen = population[rng.integers(0, 20_000, 60)]
        interval = bootstrap_interval(Scores.of(names, chosen), resamples=400, seed=split)
        held += interval.lower <= truth <= interval.upper
    assert 0.90 <= held / 300 <= 0.99
