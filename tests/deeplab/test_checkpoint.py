"""Checkpoints: one file, no pickle, damage is noticed."""

import io
import json
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from deeplab.checkpoint import Checkpoint, load_checkpoint, parse_checkpoint, save_checkpoint
from deeplab.importing import load_network
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


def packed(description: bytes, arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, petitlab=np.frombuffer(description, np.uint8), **arrays)
    return buffer.getvalue()


EDITS = {
    "no spec": (lambda header: header.pop("spec"), "spec is None"),
    "spec as a list": (lambda header: header.update(spec=[]), "spec is [], expected an object"),
    "no blocks": (lambda header: header["spec"].update(blocks=[]), "spec.blocks is 0"),
    "blocks of nothing": (lambda header: header["spec"].update(blocks=None), "spec.blocks is None, expected a list"),
    "height 0": (lambda header: header["spec"].update(input_height=0), "spec.input_height is 0, expected 16"),
    "height 2.5": (
        lambda header: header["spec"].update(input_height=2.5),
        "spec.input_height is 2.5, expected a whole",
    ),
    "height true": (lambda header: header["spec"].update(input_height=True), "spec.input_height is True"),
    "height as text": (
        lambda header: header["spec"].update(input_height="64"),
        "spec.input_height is 64, expected a whol",
    ),
    "no classes": (lambda header: header["spec"].update(classes=float("nan")), "spec.classes is nan"),
    "unknown field": (lambda header: header["spec"].update(mood="good"), "spec.mood is unknown"),
    "unknown field within": (lambda header: header["spec"]["aspp"].update(mood="good"), "spec.aspp.mood is unknown"),
    "missing field within": (
        lambda header: header["spec"]["blocks"][3].pop("stride"),
        "spec.blocks.3.stride is missing",
    ),
    "stride 3": (lambda header: header["spec"]["blocks"][3].update(stride=3), "spec.blocks.3.stride is 3"),
    "dilation 0": (lambda header: header["spec"]["blocks"][3].update(dilation=0), "spec.blocks.3.dilation is 0"),
    "negative width": (lambda header: header["spec"].update(stem=-8), "spec.stem is -8"),
    "a wide network": (lambda header: header["spec"].update(stem=16000), "stem/kernel has the shape"),
    "a resize nobody knows": (
        lambda header: header["spec"].update(resize="cubic"),
        "spec.resize is cubic, expected legacy",
    ),
    "a format of the future": (lambda header: header.update(format=99), "checkpoint format 99"),
    "notes as text": (lambda header: header.update(notes="good"), "notes"),
}


@pytest.mark.parametrize(("edit", "words"), EDITS.values(), ids=EDITS)
def test_a_description_that_no_network_has_is_refused_by_field(checkpoint, edit, words):
    header = {"format": 1, "spec": json.loads(json.dumps(checkpoint.spec.to_dict())), "notes": {}}
    parse_checkpoint(packed(json.dumps(header).encode(), checkpoint.weights), "a.npz")
    edit(header)
    with pytest.raises(UserError, match=r"a\.npz") as caught:
        parse_checkpoint(packed(json.dumps(header).encode(), checkpoint.weights), "a.npz")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", [b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b""])
def test_a_description_that_is_no_json_object_is_refused(checkpoint, text):
    with pytest.raises(UserError, match=r"a\.npz"):
        parse_checkpoint(packed(text, checkpoint.weights), "a.npz")


def with_members(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(shape: tuple[int, ...], dtype: str, values: bytes) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + values


def test_sizes_are_judged_before_anything_is_unpacked(checkpoint):
    """64 MB of zeros pack to 64 kB, and an array may say that it is larger than any memory."""
    arrays = {name: array for name, array in checkpoint.weights.items() if name != "stem/bias"}
    header = json.dumps({"format": 1, "spec": checkpoint.spec.to_dict(), "notes": {}}).encode()
    bomb = packed(header, {**arrays, "stem/bias": np.zeros(16 << 20, np.float32)})
    liar = with_members(petitlab=npy((len(header),), "|u1", header), **{"stem/bias": npy((10**12,), "<f4", b"1234")})
    long = with_members(petitlab=npy((64 << 20,), "|u1", bytes(64 << 20)))
    pickled = with_members(petitlab=npy((1,), "|O", b"\x80\x04."))
    for content, words in [
        (bomb, "stem/bias has the shape (16777216,)"),
        (liar, "in 4 bytes"),
        (long, "67,108,864 bytes"),
        (pickled, "expected numbers"),
    ]:
        tracemalloc.start()
        try:
            with pytest.raises(UserError) as caught:
                parse_checkpoint(content, "a.npz")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert words in str(caught.value)
        assert peak < 8 << 20


def test_weights_that_are_not_finite_are_refused(checkpoint, tmp_path):
    weights = dict(checkpoint.weights)
    weights["stem/bias"] = np.full_like(weights["stem/bias"], np.nan)
    save_checkpoint(Checkpoint(checkpoint.spec, weights), tmp_path / "nan.npz")
    with pytest.raises(UserError, match=r"nan\.npz: weight stem/bias holds values that are not finite"):
        load_network(tmp_path / "nan.npz")


def test_a_weight_beyond_float32_is_refused_without_a_warning(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "small.npz")
    with np.load(tmp_path / "small.npz") as archive:
        arrays = dict(archive)
    arrays["stem/bias"] = np.full(arrays["stem/bias"].shape, 1e300)
    np.savez(tmp_path / "large.npz", **arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=r"large\.npz: weight stem/bias holds values that are not finite"):
            load_network(tmp_path / "large.npz")
