"""Parts of a split: which images they hold, and that no two of them pass for one another."""

import numpy as np
import pytest

from deeplab.datasets import open_dataset
from deeplab.datasets.files import FileSplit, ImagePair, label_encoding
from deeplab.datasets.part import DatasetPart, spread


@pytest.fixture(scope="module")
def whole():
    return open_dataset("streets", height=48, width=64, train_images=11).split("train")


@pytest.mark.parametrize("indices", [range(2, 7), range(0, 11, 3), range(0), (1, 2, 9)])
def test_a_part_holds_the_images_at_its_indices(whole, indices):
    part = DatasetPart(whole, indices)
    assert part.image_ids == tuple(whole.image_ids[index] for index in indices)
    for place, index in enumerate(indices):
        np.testing.assert_array_equal(part.image(place), whole.image(index))
        np.testing.assert_array_equal(part.sample(place).label, whole.sample(index).label)


def test_the_first_of_a_part_are_a_part(whole):
    assert DatasetPart(whole, range(1, 11, 4)).take(2).image_ids == tuple(whole.image_ids[index] for index in (1, 5))


def test_parts_of_other_images_have_other_fingerprints(whole):
    runs = (range(0, 9), range(0, 9, 2), range(1, 9), range(0, 8), (0, 2, 5), (0, 2, 6))
    parts = [DatasetPart(whole, indices) for indices in runs]
    assert len({part.fingerprint() for part in parts}) == len(parts)
    assert DatasetPart(whole, range(0, 9)).fingerprint() == parts[0].fingerprint()


@pytest.mark.parametrize(("count", "places"), [(3, (0, 3, 7)), (5, (0, 2, 4, 6, 8)), (6, (0, 1, 3, 5, 7, 9))])
def test_spread_images_are_as_far_apart_as_they_can_be(whole, count, places):
    assert spread(whole, count).image_ids == tuple(whole.image_ids[place] for place in places)


def test_a_spread_of_more_images_than_there_are_is_all(whole):
    assert spread(whole, 12).image_ids == whole.image_ids


def test_the_fingerprint_of_a_part_is_of_its_own_files(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    files = tuple(ImagePair(name, tmp_path / name, None) for name in ("a", "b", "c"))
    whole = FileSplit(files, label_encoding({0: 0}))
    part, rest = DatasetPart(whole, range(0, 2)), DatasetPart(whole, [2])
    before = part.fingerprint(), rest.fingerprint(), DatasetPart(part, [1]).fingerprint()
    assert [part.files(index) for index in range(2)] == [(tmp_path / "a",), (tmp_path / "b",)]
    (tmp_path / "b").write_bytes(b"other")
    assert part.fingerprint() != before[0]
    assert rest.fingerprint() == before[1]
    assert DatasetPart(part, [1]).fingerprint() != before[2]
    assert DatasetPart(part, [0]).fingerprint() == DatasetPart(whole, [0]).fingerprint() == whole.take(1).fingerprint()
