"""Images for fine-tuning: windows by step, and several splits as one."""

import numpy as np
import pytest

from deeplab.datasets import open_dataset
from deeplab.datasets.joined import Joined
from deeplab.image_windows import TrainingBatches, frames, read


@pytest.fixture(scope="module")
def split():
    return open_dataset("streets", height=32, width=48, train_images=6).split("train")


@pytest.mark.parametrize(("crop", "shape"), [(None, (4, 32, 48)), (16, (4, 16, 16)), (40, (4, 32, 40))])
def test_windows_have_their_size_and_follow_the_step_alone(split, crop, shape):
    made = [TrainingBatches(split, 32, 48, batch=4, crop=crop, labelled=True, seed=3) for _ in range(2)]
    made[1](9)  # what was asked before does not matter
    (image, label), (again, same) = made[0](5), made[1](5)
    assert image.shape == (*shape, 3)
    assert label.shape == shape
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(label, same)
    assert (image != made[0](6)[0]).any()


def test_labels_are_cut_and_turned_as_their_images(split):
    """Each window and its labels are found together in an image, or in its mirror image."""
    batches = TrainingBatches(split, 32, 48, batch=4, crop=16, labelled=True, seed=0)
    whole = [(sample.image[:, ::way], sample.label[:, ::way]) for sample in split for way in (1, -1)]
    for window, label in zip(*batches(2), strict=True):
        places = [
            (top, left, image, labels)
            for image, labels in whole
            for top in range(17)
            for left in range(33)
            if (image[top : top + 16, left : left + 16] == window).all()
        ]
        assert any((labels[top : top + 16, left : left + 16] == label).all() for top, left, _, labels in places)


def test_without_labels_none_is_read(split):
    assert TrainingBatches(split, 32, 48, batch=2, crop=None, labelled=False, seed=0)(0)[1] is None


@pytest.mark.parametrize("labelled", [True, False])
def test_batches_of_what_was_read_before_are_the_same(split, labelled):
    options = {"batch": 4, "crop": 16, "labelled": labelled, "seed": 3}
    made = TrainingBatches(split, 24, 40, **options, made=read(split, 24, 40, labelled))
    plain = TrainingBatches(split, 24, 40, **options)
    for one, other in zip(plain(5), made(5), strict=True):
        np.testing.assert_array_equal(one, other)


def test_joined_splits_are_one_after_the_other(split):
    other = open_dataset("streets", height=32, width=48, seed=7, train_images=3).split("train")
    both = Joined(split, other)
    assert len(both) == 9
    assert len(set(both.image_ids)) == 9
    for index, (part, place) in {0: (split, 0), 5: (split, 5), 6: (other, 0), 8: (other, 2)}.items():
        np.testing.assert_array_equal(both.image(index), part.image(place))
        found = both.sample(index)
        np.testing.assert_array_equal(found.label, part.sample(place).label)
        assert found.image_id == both.image_ids[index]
    for count in (4, 6, 8, 20):
        np.testing.assert_array_equal(frames(both.take(count), 32, 48), frames(both, 32, 48)[:count])
    assert both.fingerprint() not in (split.fingerprint(), Joined(other, split).fingerprint())
