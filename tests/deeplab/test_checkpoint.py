"""Checkpoints: one file, no pickle, damage is noticed."""

import io
import json
import tracemalloc
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest

from deeplab.checkpoint import checkpoint_bytes, load_checkpoint, parse_checkpoint, save_checkpoint
from deeplab.importing import load_network
from deeplab.network import fingerprint, weights, with_weights
from evaluation.errors import UserError
from evaluation.interpreter import run_whole
from tests.deeplab.former_files import packed
from tests.deeplab.tiny import random_network, tiny_network
from tests.deeplab.tiny_quantized import tiny_graph

GRAPHS = {
    "float": lambda: random_network(tiny_network()),
    "float without decoder": lambda: random_network(tiny_network(decoder=False, resize="align_corners")),
    "int8": tiny_graph,
    "low bits": partial(tiny_graph, 4, 6, mixed={"aspp_weights": 2, "edge_weights": 8}),
    "16 bits": partial(tiny_graph, 16, 16),
}


@pytest.mark.parametrize("made", GRAPHS.values(), ids=GRAPHS)
def test_round_trip_keeps_graph_and_notes(made, images, tmp_path):
    graph = made()
    save_checkpoint(graph, tmp_path / "a.npz", {"score": 0.5})
    loaded = load_checkpoint(tmp_path / "a.npz")
    assert loaded.notes == {"score": 0.5}
    assert fingerprint(loaded.network) == fingerprint(graph)
    for before, after in zip(graph.tensors, loaded.network.tensors, strict=True):
        assert before.data is None or before.data.dtype == after.data.dtype
    labels = graph.outputs[0]
    np.testing.assert_array_equal(run_whole(loaded.network, images[0])[labels], run_whole(graph, images[0])[labels])


def test_saving_makes_the_folder_and_replaces_what_was_there(network, tmp_path):
    path = tmp_path / "new" / "a.npz"
    save_checkpoint(tiny_graph(), path)
    save_checkpoint(network, path)
    assert fingerprint(load_checkpoint(path).network) == fingerprint(network)
    assert [file.name for file in path.parent.iterdir()] == ["a.npz"]


def test_a_network_without_weights_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="stem/kernel"):
        save_checkpoint(tiny_network(), tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_half_precision_halves_the_file_and_loads_as_float32(network, tmp_path):
    save_checkpoint(network, tmp_path / "full.npz")
    save_checkpoint(network, tmp_path / "half.npz", dtype="float16")
    loaded = weights(load_checkpoint(tmp_path / "half.npz").network)
    for name, array in weights(network).items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], array.astype(np.float16))
    assert (tmp_path / "half.npz").stat().st_size < 0.75 * (tmp_path / "full.npz").stat().st_size


def test_half_precision_leaves_the_integers_and_scales_of_a_quantized_network(tmp_path):
    graph = tiny_graph(4, 8)
    save_checkpoint(graph, tmp_path / "half.npz", dtype="float16")
    assert fingerprint(load_checkpoint(tmp_path / "half.npz").network) == fingerprint(graph)


@pytest.mark.parametrize("cut", [0, 10, 400, -20])
def test_a_truncated_file_is_refused_by_name(network, tmp_path, cut):
    path = tmp_path / "cut.npz"
    save_checkpoint(network, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"cut\.npz"):
        load_checkpoint(path)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match=r"none\.npz: No such file or directory; expected a petitlab checkpoint"):
        load_checkpoint(tmp_path / "none.npz")


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, petitlab=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match=r"evil\.npz"):
        load_checkpoint(path)


def opened(graph):
    """The header of a file, and its arrays."""
    with np.load(io.BytesIO(checkpoint_bytes(graph))) as archive:
        arrays = dict(archive)
    return json.loads(arrays.pop("petitlab").tobytes()), arrays


def file_of(header, arrays):
    return packed("petitlab", json.dumps(header).encode(), arrays)


def tensor(header, name):
    return next(one for one in header["network"]["tensors"] if one["name"] == name)


def operator(header, name):
    return next(one for one in header["network"]["operators"] if one["name"] == name)


def number(header, name):
    return header["network"]["tensors"].index(tensor(header, name))


EDITS = {
    "no network": (lambda h: h.pop("network"), "network is None, expected an object"),
    "network as a list": (lambda h: h.update(network=[]), "network is [], expected an object"),
    "no name": (lambda h: h["network"].pop("name"), "network.name is missing"),
    "no tensors": (lambda h: h["network"].pop("tensors"), "network.tensors is missing"),
    "tensors of nothing": (
        lambda h: h["network"].update(tensors=None),
        "network.tensors is None, expected a valid list",
    ),
    "a tensor as text": (
        lambda h: h["network"]["tensors"].insert(0, "frame"),
        "network.tensors.0 is 'frame', expected",
    ),
    "operators as text": (
        lambda h: h["network"].update(operators="x"),
        "network.operators is 'x', expected a valid list",
    ),
    "no operators": (lambda h: h["network"].update(operators=[]), "network does not fit together"),
    "height 0": (
        lambda h: tensor(h, "frame")["shape"].__setitem__(1, 0),
        "network.tensors.0.shape.1 is 0, expected greater",
    ),
    "height 2.5": (
        lambda h: tensor(h, "frame")["shape"].__setitem__(1, 2.5),
        "network.tensors.0.shape.1 is 2.5, expected",
    ),
    "height true": (
        lambda h: tensor(h, "frame")["shape"].__setitem__(1, True),
        "network.tensors.0.shape.1 is True, expected",
    ),
    "height as text": (
        lambda h: tensor(h, "frame")["shape"].__setitem__(1, "33"),
        "network.tensors.0.shape.1 is '33', expected",
    ),
    "five axes": (
        lambda h: tensor(h, "frame")["shape"].append(1),
        "network.tensors.0.shape is [1, 33, 48, 3, 1], it should have at most 4",
    ),
    "another height": (
        lambda h: tensor(h, "frame")["shape"].__setitem__(1, 34),
        "network does not fit together: operator 0 (DEQUANTIZE) computes",
    ),
    "a width that no kernel has": (
        lambda h: tensor(h, "stem")["shape"].__setitem__(3, 16000),
        "network does not fit together: operator 1 (CONV_2D) computes",
    ),
    "a width too large": (
        lambda h: tensor(h, "stem")["shape"].__setitem__(3, 16385),
        "network.tensors.2.shape.3 is 16385, expected less than or equal to 16384",
    ),
    "a field nobody knows": (lambda h: tensor(h, "stem").update(mood=1), "network.tensors.2.mood is unknown"),
    "a constant as a number": (lambda h: tensor(h, "stem/kernel").update(constant=1), "constant is 1, expected"),
    "an output before the first": (lambda h: h["network"].update(outputs=[-1]), "network.outputs.0 is -1, expected"),
    "a type nobody knows": (
        lambda h: tensor(h, "stem").update(dtype="float64"),
        "dtype is 'float64', expected 'float32'",
    ),
    "bits of another type": (lambda h: tensor(h, "stem").update(bits=8), "network.tensors.2.bits is 8, expected 32"),
    "bits as text": (
        lambda h: tensor(h, "stem").update(bits="32"),
        "network.tensors.2.bits is '32', expected a valid int",
    ),
    "an axis past the last": (lambda h: tensor(h, "frame").update(axis=4), "network.tensors.0.axis is 4, expected"),
    "an axis past those of a bias": (
        lambda h: tensor(h, "stem/bias").update(axis=1),
        "axis is 1, expected an axis of [8], or null",
    ),
    "a zero point that is not there": (lambda h: tensor(h, "stem").update(axis=None), "scale2 is missing"),
    "weights that are not there": (
        lambda h: h["network"]["tensors"].append(tensor(h, "stem/kernel") | {"name": "other"}),
        "is missing; write it again",
    ),
    "two tensors of one name": (
        lambda h: tensor(h, "stem").update(name="block_0/add"),
        "network does not fit together",
    ),
    "an input nobody has": (
        lambda h: operator(h, "stem")["inputs"].__setitem__(0, 10_000),
        "network.operators.1.inputs has 10000, expected tensors of 0 to",
    ),
    "an input before the first": (
        lambda h: operator(h, "stem")["inputs"].__setitem__(0, -2),
        "network.operators.1.inputs.0 is -2, expected",
    ),
    "an output as text": (
        lambda h: operator(h, "stem").update(outputs="stem"),
        "network.operators.1.outputs is 'stem'",
    ),
    "no inputs": (lambda h: operator(h, "stem").pop("inputs"), "network.operators.1.inputs is missing"),
    "operators out of order": (
        lambda h: h["network"]["operators"].reverse(),
        "network does not fit together: operator 0 (ARG_MAX) reads tensor",
    ),
    "a loop": (
        lambda h: operator(h, "stem")["inputs"].__setitem__(0, number(h, "logits")),
        "network does not fit together: operator 1 (CONV_2D) reads tensor",
    ),
    "two inputs": (lambda h: h["network"]["inputs"].append(1), "network does not fit together"),
    "no outputs": (lambda h: h["network"].update(outputs=[]), "network does not fit together: the network has no inpu"),
    "an output in the middle": (lambda h: h["network"].update(outputs=[number(h, "logits")]), "the last operator is"),
    "labels over rows": (lambda h: operator(h, "labels")["attributes"].update(axis=1), "network does not fit together"),
    "no dequantization": (
        lambda h: operator(h, "input").update(kind="RELU"),
        "network does not fit together: the first",
    ),
    "a kind of another shape": (lambda h: operator(h, "stem").update(kind="ADD"), "network does not fit together"),
    "attributes as a list": (
        lambda h: operator(h, "stem").update(attributes=[]),
        "attributes is [], expected a valid dict",
    ),
    "no stride": (lambda h: operator(h, "stem")["attributes"].pop("stride"), "attributes.stride is missing"),
    "stride 0": (
        lambda h: operator(h, "stem")["attributes"].update(stride=[0, 1]),
        "network.operators.1.attributes.stride.0 is 0, expected greater than or equal to 1",
    ),
    "stride 1": (
        lambda h: operator(h, "stem")["attributes"].update(stride=[1, 1]),
        "network does not fit together: operator 1 (CONV_2D) computes",
    ),
    "stride of three": (
        lambda h: operator(h, "stem")["attributes"].update(stride=[1, 1, 1]),
        "network.operators.1.attributes.stride is [1, 1, 1], it should have at most 2",
    ),
    "dilation as text": (
        lambda h: operator(h, "stem")["attributes"].update(dilation=["1", 1]),
        "network.operators.1.attributes.dilation.0 is '1', expected a valid integer",
    ),
    "a padding nobody knows": (
        lambda h: operator(h, "stem")["attributes"].update(padding="REFLECT"),
        "attributes.padding is 'REFLECT', expected 'SAME', 'VALID' or 'EXPLICIT'",
    ),
    "an activation nobody knows": (
        lambda h: operator(h, "stem")["attributes"].update(activation="SWISH"),
        "attributes.activation is 'SWISH', expected 'NONE', 'RELU', 'RELU6'",
    ),
    "a resize by no convention": (
        lambda h: operator(h, "logits/resize")["attributes"].update(align_corners=1),
        "attributes.align_corners is 1, expected a valid boolean",
    ),
    "a depthwise that multiplies": (
        lambda h: operator(h, "block_0/depthwise")["attributes"].update(depth_multiplier=2),
        "network does not fit together: depthwise convolution 'block_0/depthwise' has another multiplier",
    ),
    "a format of the future": (lambda h: h.update(format=99), "checkpoint format 99, this version reads 1 to 2"),
    "a format of many words": (lambda h: h.update(format="x" * 500), "checkpoint format 'xxx"),
    "a format as text": (lambda h: h.update(format="2"), "checkpoint format '2'"),
    "notes as text": (lambda h: h.update(notes="good"), "notes are no JSON object"),
}


@pytest.mark.parametrize(("edit", "words"), EDITS.values(), ids=EDITS)
def test_a_description_that_no_network_has_is_refused_by_field(network, edit, words):
    header, arrays = opened(network)
    parse_checkpoint(file_of(header, arrays), "a.npz")
    edit(header)
    with pytest.raises(UserError, match=r"a\.npz") as caught:
        parse_checkpoint(file_of(header, arrays), "a.npz")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def changed(name, array):
    return lambda header, arrays: arrays.update({f"{name[0]}{number(header, name[1])}": array})


ARRAYS = {
    "weights of another shape": (changed(("data", "stem/bias"), np.zeros(9, np.int32)), "has the shape (9,) of int32"),
    "real numbers for integers": (changed(("data", "stem/bias"), np.zeros(8, np.float32)), "has the shape (8,) of flo"),
    "more than the bits hold": (
        changed(("data", "stem/kernel"), np.full((8, 3, 3, 3), 8, np.int8)),
        "more than 4 bits",
    ),
    "a scale of 0": (changed(("scale", "stem"), np.zeros(1, np.float32)), "a scale that is not finite and above 0"),
    "a scale that is no number": (
        changed(("scale", "stem"), np.full(1, np.nan, np.float32)),
        "a scale that is not fin",
    ),
    "too few scales": (changed(("scale", "stem/kernel"), np.ones(7, np.float32)), "has the shape (7,) of float32"),
    "no scale": (lambda h, arrays: arrays.pop(f"scale{number(h, 'stem')}"), "is missing; write it again"),
    "no zero point": (lambda h, arrays: arrays.pop(f"zero{number(h, 'stem')}"), "is missing; write it again"),
}


@pytest.mark.parametrize(("edit", "words"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_do_not_fit_the_description_are_refused_by_name(edit, words):
    header, arrays = opened(tiny_graph(4, 8))
    parse_checkpoint(file_of(header, arrays), "a.npz")
    edit(header, arrays)
    with pytest.raises(UserError, match=r"a\.npz: damaged") as caught:
        parse_checkpoint(file_of(header, arrays), "a.npz")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", [b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b""])
def test_a_description_that_is_no_json_object_is_refused(network, text):
    _, arrays = opened(network)
    with pytest.raises(UserError, match=r"a\.npz"):
        parse_checkpoint(packed("petitlab", text, arrays), "a.npz")


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


def test_sizes_are_judged_before_anything_is_unpacked(network):
    """64 MB of zeros pack to 64 kB, and an array may say that it is larger than any memory."""
    header, arrays = opened(network)
    bias = f"data{number(header, 'stem/bias')}"
    text = json.dumps(header).encode()
    bomb = file_of(header, {**arrays, bias: np.zeros(16 << 20, np.float32)})
    liar = with_members(petitlab=npy((len(text),), "|u1", text), **{bias: npy((10**12,), "<f4", b"1234")})
    long = with_members(petitlab=npy((64 << 20,), "|u1", bytes(64 << 20)))
    pickled = with_members(petitlab=npy((1,), "|O", b"\x80\x04."))
    for content, words in [
        (bomb, f"{bias} has the shape (16777216,)"),
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


def test_weights_that_are_not_finite_are_refused(network, tmp_path):
    save_checkpoint(with_weights(network, {"stem/bias": np.full(8, np.nan, np.float32)}), tmp_path / "nan.npz")
    with pytest.raises(UserError, match=r"nan\.npz: weight stem/bias holds values that are not finite"):
        load_network(tmp_path / "nan.npz")


def test_a_weight_beyond_float32_is_refused_without_a_warning(network, tmp_path):
    header, arrays = opened(network)
    arrays[f"data{number(header, 'stem/bias')}"] = np.full(8, 1e300)
    (tmp_path / "large.npz").write_bytes(file_of(header, arrays))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=r"large\.npz: weight stem/bias holds values that are not finite"):
            load_network(tmp_path / "large.npz")


def test_a_quantized_network_is_no_network_to_compress(tmp_path):
    save_checkpoint(tiny_graph(), tmp_path / "int8.npz")
    with pytest.raises(UserError, match=r"int8\.npz: a quantized network; give the float one that it was made from"):
        load_network(tmp_path / "int8.npz")
