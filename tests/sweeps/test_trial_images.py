"""Images that the workers of a study share."""

import numpy as np
import pytest

from sweeps.trial.context import open_context


def test_one_worker_draws_the_training_images_for_all(context, monkeypatch):
    first = context.batches(0)
    monkeypatch.setattr("sweeps.trial.context.read", lambda *args: pytest.fail("drawn twice"))
    other = open_context(context.config)
    for made, again in zip(first, other.batches(0), strict=True):
        np.testing.assert_array_equal(made, again)


@pytest.mark.parametrize("use", ["search", "heldout"])
def test_one_worker_draws_what_is_scored_for_all(context, monkeypatch, use):
    kept, frames, own = list(getattr(context, use)), context.calibration_frames, list(getattr(context.images, use))
    split, drawn = type(getattr(context.images, use)), []
    sample = split.sample
    monkeypatch.setattr(split, "sample", lambda self, index: (drawn.append(index), sample(self, index))[1])
    monkeypatch.setattr("sweeps.trial.context.read", lambda *args: pytest.fail("drawn twice"))
    other = open_context(context.config)
    for made, again, once in zip(kept, getattr(other, use), own, strict=True):
        assert made.image_id == again.image_id == once.image_id
        for kind in ("image", "label"):
            np.testing.assert_array_equal(getattr(made, kind), getattr(again, kind))
            np.testing.assert_array_equal(getattr(made, kind), getattr(once, kind))
    np.testing.assert_array_equal(other.calibration_frames, frames)
    assert drawn == [0]  # which says how large they are


def test_images_too_large_to_share_are_read_by_each(context, monkeypatch):
    monkeypatch.setattr("sweeps.trial.context.SHARED_BYTES", 1)
    monkeypatch.setattr("sweeps.trial.context.read", lambda *args: pytest.fail("shared"))
    other = open_context(context.config)
    assert other.search is other.images.search
    np.testing.assert_array_equal(other.calibration_frames, context.calibration_frames)
