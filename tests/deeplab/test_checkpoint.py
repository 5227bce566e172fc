"""Checkpoints: one file, no pickle, damage is noticed."""

import numpy as np
import pytest

from deeplab.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from evaluation.errors import UserError


def test_round_trip_keeps_spec_weights_and_notes(checkpoint, tmp_path):
    noted = Checkpoint(checkpoint.spec, checkpoint.weights, {"score": 0.5})
    save_checkpoint(noted, tmp_path / "a.npz")
    loaded = load_checkpoint(tmp_path / "a.npz")
    assert loaded.spec == noted.spec
    assert loaded.notes == {"score": 0.5}
    assert loaded.fingerprint() == noted.fingerprint()


def test_half_precision_halves_the_file_and_loads_as_float32(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "full.npz")
    save_checkpoint(checkpoint, tmp_path / "half.npz", dtype="float16")
    loaded = load_checkpoint(tmp_path / "half.npz")
    assert all(array.dtype == np.float32 for array in loaded.weights.values())
    assert (tmp_path / "half.npz").stat().st_size < 0.75 * (tmp_path / "full.npz").stat().st_size


def test_any_changed_weight_changes_the_fingerprint(checkpoint):
    weights = dict(checkpoint.weights)
    name = "aspp/project/bias"
    weights[name] = weights[name] + np.float32(1e-6)
    assert Checkpoint(checkpoint.spec, weights).fingerprint() != checkpoint.fingerprint()


@pytest.mark.parametrize("cut", [0, 10, 400, -20])
def test_a_truncated_file_is_refused_by_name(checkpoint, tmp_path, cut):
    path = tmp_path / "cut.npz"
    save_checkpoint(checkpoint, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"cut\.npz"):
        load_checkpoint(path)


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, petitlab=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match=r"evil\.npz"):
        load_checkpoint(path)


def test_weights_that_do_not_fit_the_spec_are_refused(checkpoint):
    weights = dict(checkpoint.weights)
    weights["stem/bias"] = np.zeros(9, np.float32)
    with pytest.raises(ValueError, match="stem/bias"):
        Checkpoint(checkpoint.spec, weights)
    del weights["stem/bias"]
    with pytest.raises(ValueError, match="missing"):
        Checkpoint(checkpoint.spec, weights)
