"""Whole Keras models as float networks: what LiteRT computes of them, what is refused, and that nothing is run."""

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from deeplab.importing import load_network
from deeplab.importing.conversion import converted, file_graph, is_whole_model
from deeplab.importing.conversion.cached_conversion import MOST_CACHE_BYTES
from deeplab.importing.conversion.keras_config import checked_config
from deeplab.importing.conversion.keras_file import read_keras_file, write_weights
from deeplab.network import check_network, logits, pixel_parameters
from deeplab.tensorflow import keras as keras_2
from deeplab.tensorflow import tf
from deeplab.user_cache import CACHE_VARIABLE
from evaluation.errors import UserError
from evaluation.interpreter import run_whole
from tests.deeplab.keras_networks import LARGE, Network, deeplab_v3_plus, differences, randomised, small

keras_3 = pytest.importorskip("keras", minversion="3")

VERSIONS = {2: keras_2, 3: keras_3}
SMALL = ("keras2.keras", "keras2.h5", "keras3.keras", "keras3.h5")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """The small network by the beginning of its file's name."""
    return {"keras2": small(keras_2), "keras3": small(keras_3)}


@pytest.fixture(scope="module")
def files(models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in SMALL:
        models[name.split(".")[0]].save(folder / name)
    return folder


@pytest.mark.parametrize("name", SMALL)
def test_every_file_of_a_small_network_computes_what_the_model_computes(
    models: dict[str, Any], files: Path, name: str
) -> None:
    content = converted(files / name, "keras")
    assert differences(content, models[name.split(".")[0]]) <= 1e-4
    graph = file_graph(files / name, "keras")
    assert [graph.tensors[index].shape for index in (*graph.inputs, *graph.outputs)] == [(1, 32, 24, 3), (1, 32, 24, 5)]
    dilated = [op.kind for op in graph.operators if op.attributes.get("dilation") == (2, 2)]
    assert dilated == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    kinds = {operator.kind for operator in graph.operators}
    assert "RESIZE_NEAREST_NEIGHBOR" in kinds
    assert not kinds & {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TILE"}
    assert {tensor.dtype for tensor in graph.tensors if not tensor.is_constant} == {"float32"}


def test_a_model_of_any_size_needs_the_size_and_is_converted_at_it(tmp_path: Path) -> None:
    model = small(keras_3, None, None)
    model.save(path := tmp_path / "open.keras")
    with pytest.raises(UserError, match=r"open\.keras: takes images of any size; give network\.input_size, such as"):
        converted(path, "keras")
    assert differences(converted(path, "keras", (40, 56)), model) <= 1e-4
    with pytest.raises(UserError, match=r"takes images of 0 x 56, expected sides of 1 to 16,384"):
        converted(path, "keras", (0, 56))


def test_a_model_that_was_converted_is_not_converted_again(
    files: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = converted(files / "keras3.keras", "keras")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))  # no process can be started any more
    assert converted(shutil.copy(files / "keras3.keras", tmp_path / "other name.keras"), "keras") == content
    model = keras_3.models.load_model(files / "keras3.keras")
    model.layers[-2].set_weights([weight + 1 for weight in model.layers[-2].get_weights()])
    model.save(tmp_path / "trained.keras")
    with pytest.raises(OSError, match="none"):
        converted(tmp_path / "trained.keras", "keras")
    assert [path.suffix for path in (cache / "converted").iterdir()].count(".tflite") >= 1


def test_the_cache_gives_up_what_was_not_used_for_longest(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    (folder := tmp_path / "converted").mkdir()
    for name, time in (("new", 2e9), ("old", 1e9)):
        with (folder / f"{name}.tflite").open("wb") as file:
            file.truncate(MOST_CACHE_BYTES // 2 + 1)  # of which nothing is stored
        os.utime(folder / f"{name}.tflite", (time, time))
    converted(files / "keras3.keras", "keras")
    assert (folder / "new.tflite").exists()
    assert not (folder / "old.tflite").exists()
    assert len(list(folder.glob("*.tflite"))) == 2


def test_a_converter_that_ends_or_hangs_is_told_in_a_line(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    shutil.copy(files / "keras3.keras", path := tmp_path / "model.keras")
    (program := tmp_path / "python").write_text("#!/bin/sh\necho first >&2\necho the reason >&2\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert "the converter ended with signal 9: the reason" in refusal(path)
    program.write_text("#!/bin/sh\nexit 3\n")
    assert "the converter ended with status 3: no message" in refusal(path)
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("deeplab.importing.conversion.cached_conversion.TIME_LIMIT_S", 0.1)
    assert "not converted within 0.1 s" in refusal(path)


def test_what_acts_in_training_alone_is_no_obstacle(tmp_path: Path) -> None:
    """A loss and a regulariser of the user's own, mixed precision, and a number of images."""
    layers = keras_3.layers

    @keras_3.saving.register_keras_serializable(package="own")
    class Own(keras_3.regularizers.Regularizer):
        def __call__(self, values: Any) -> Any:
            return keras_3.ops.sum(values)

        def get_config(self) -> dict:
            return {}

    image = keras_3.Input((16, 16, 3), batch_size=4)
    x = layers.Conv2D(4, 3, padding="same", kernel_regularizer=Own(), dtype="mixed_float16")(image)
    model = keras_3.Model(image, layers.Conv2D(3, 1, dtype="float32")(x))
    model.compile(loss=lambda labels, logits: keras_3.ops.mean(logits - labels))
    model.save(path := tmp_path / "trained.keras")
    content = converted(path, "keras")
    image = keras_3.Input((16, 16, 3))
    whole = keras_3.Model(image, layers.Conv2D(3, 1)(layers.Conv2D(4, 3, padding="same")(image)))
    whole.set_weights(model.get_weights())
    assert differences(content, whole) <= 1e-4


@pytest.mark.parametrize(("version", "suffix"), [(2, ".h5"), (3, ".keras"), (3, ".h5")])
def test_functions_between_the_layers_are_converted(version: int, suffix: str, tmp_path: Path) -> None:
    """Slices, arithmetic and activations as functions: Keras 2 calls TensorFlow's, Keras 3 has operations of its own,
    which it cannot read from an .h5 file itself."""
    keras = VERSIONS[version]
    image = keras.Input((12, 16, 3))
    x = keras.applications.resnet50.preprocess_input(image) / 100.0  # BGR less the mean of ImageNet
    x = keras.layers.Conv2D(4, 3, padding="same")(x)
    x = tf.nn.relu(x) + 3.0 if version == 2 else keras.ops.nn.relu(x) + 3.0
    shared = keras.layers.Conv2D(4, 1)
    x = keras.layers.Add()([shared(shared(x)), shared(x)])
    x = tf.image.resize(x, (24, 32)) if version == 2 else keras.ops.image.resize(x, (24, 32))
    model = randomised(keras.Model(image, keras.layers.Conv2D(3, 1)(x)))
    model.save(path := tmp_path / f"model{suffix}")
    assert is_whole_model(path)
    assert differences(converted(path, "keras"), model) <= 1e-4


# -------------------------------------------------------------------------------------------------- whole models or not


def backbone(keras: Any, **options: Any) -> Any:
    return keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, **options)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_whole_model_is_told_from_a_backbone_by_its_configuration(version: int, suffix: str, tmp_path: Path) -> None:
    keras = VERSIONS[version]
    features = backbone(keras, include_top=False)
    layers = keras.layers
    dense = keras.Sequential([features, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    coarse = keras.Model(features.input, layers.Conv2D(3, 1)(features.get_layer("block_13_expand_relu").output))
    on_top = keras.Sequential([features, layers.Conv2D(3, 1), layers.UpSampling2D(32, interpolation="bilinear")])
    found = {}
    for name, model in {
        "features": features, "classifier": backbone(keras), "dense": dense, "small": small(keras),
        "stride 16": coarse, "sequential": on_top,
    }.items():  # fmt: skip
        model.save(path := tmp_path / f"{name}{suffix}")
        found[name] = is_whole_model(path)
    features.save_weights(tmp_path / "alone.weights.h5")
    found["weights"] = is_whole_model(tmp_path / "alone.weights.h5")
    assert found == {
        "features": False, "classifier": False, "dense": False, "small": True, "stride 16": True, "sequential": True,
        "weights": False,
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"PK", b"\x89HDF\r\n\x1a\n", b"no model at all"])
def test_what_cannot_be_read_is_no_whole_model(tmp_path: Path, content: bytes) -> None:
    for name in ("odd.keras", "odd.h5"):
        (tmp_path / name).write_bytes(content)
        assert not is_whole_model(tmp_path / name)
        assert "not a readable Keras file" in refusal(tmp_path / name)
    assert not is_whole_model(tmp_path / "missing.keras")
    assert "no such file" in refusal(tmp_path / "missing.keras")


# ------------------------------------------------------------------------------------------------------------- refusals


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        converted(path, "keras")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert path.name in message
    return message


def edited(source: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a model's file whose configuration is changed."""
    if source.suffix == ".keras":
        with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w") as written:
            for name in read.namelist():
                content = read.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    change(config)
                    content = json.dumps(config).encode()
                written.writestr(name, content)
        return target
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return target


def replaced(**entry: Any) -> Callable[[dict[str, Any]], object]:
    """A change of the layer after the input."""
    return lambda config: config["config"]["layers"][1].update(entry)


LAMBDA = {"name": "boom", "trainable": True, "function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}
SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "lambda": (replaced(class_name="Lambda", config=LAMBDA), r"(Lambda) holds Python code, which is not run"),
    "registered": (replaced(registered_name="own>Rescaling"), "(Rescaling) is of a class of its own"),
    "elsewhere": (replaced(module="os", class_name="Rescaling"), "(Rescaling) is of a class of its own"),
    "unknown": (replaced(class_name="At\n\x1b[1mtack"), "(At tack) is not among the layers that are imported"),
    "another model": (replaced(class_name="TFSMLayer"), "(TFSMLayer) is not among the layers that are imported"),
    "subclassed": (replaced(class_name="Functional"), "(Functional) is a model of a class of its own"),
    "function": (
        lambda config: config["config"]["layers"][3]["config"].update(activation="os.system"),
        "(Conv2D) has the activation function 'os.system', which is not one of Keras",
    ),
    "nested": (
        lambda config: config["config"]["layers"].append({
            "module": "keras", "class_name": "Functional", "registered_name": "Functional", "name": "inner",
            "config": {"name": "inner", "layers": [{"class_name": "Lambda", "config": LAMBDA, "name": "deep"}]},
        }),
        "layer 'deep' (Lambda) holds Python code",
    ),
    "argument": (
        replaced(inbound_nodes=[{"args": [{"class_name": "__lambda__", "config": {"value": "x"}}], "kwargs": {}}]),
        "(Rescaling) holds a __lambda__, which is not imported",
    ),
    "huge": (
        lambda config: config["config"]["layers"][3]["config"].update(filters=10**9),
        "states filters 1000000000, more than 16,384",
    ),
    "two inputs": (
        lambda config: config["config"]["layers"].append(config["config"]["layers"][0]),
        "it has 2 inputs, expected one, the image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("case", SPOILT)
def test_a_layer_with_code_or_of_a_class_of_its_own_is_refused_by_name(
    files: Path, tmp_path: Path, name: str, case: str
) -> None:
    change, words = SPOILT[case]
    assert words in refusal(edited(files / name, tmp_path / name, change))


@pytest.mark.parametrize("function", ["io.write_file", "py_function", "numpy_function", "raw_ops.ReadFile"])
def test_a_function_of_tensorflow_that_is_not_listed_is_refused(files: Path, tmp_path: Path, function: str) -> None:
    config = {"name": "call", "trainable": True, "dtype": "float32", "function": function}
    change = replaced(class_name="TFOpLambda", config=config)
    assert f"(TFOpLambda) calls tf.{function}, which" in refusal(edited(files / "keras2.h5", tmp_path / "a.h5", change))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_not_run(version: int, suffix: str, tmp_path: Path) -> None:
    keras = VERSIONS[version]
    marker = str(tmp_path / "marker")
    image = keras.Input((8, 8, 3))
    layer = keras.layers.Lambda(lambda x: (__import__("os").mkdir(marker), x)[1], output_shape=(8, 8, 3), name="boom")
    model = keras.Model(image, layer(image))
    model.save(path := tmp_path / f"model{suffix}")
    shutil.rmtree(marker, ignore_errors=True)  # Keras 2 has run it
    assert "layer 'boom' (Lambda) holds Python code, which is not run" in refusal(path)
    assert not Path(marker).exists()
    if (version, suffix) == (2, ".h5"):  # which Keras 2 itself would run
        keras.models.load_model(path)
        assert Path(marker).exists()


def test_weights_that_do_not_belong_to_the_model_are_refused_by_the_layer(files: Path, tmp_path: Path) -> None:
    def wider(config: dict[str, Any]) -> None:
        config["config"]["layers"][3]["config"]["filters"] = 9

    for name in ("keras3.keras", "keras2.h5"):
        assert "no network that can be imported" in refusal(edited(files / name, tmp_path / name, wider))


def test_weights_alone_are_refused(models: dict[str, Any], tmp_path: Path) -> None:
    models["keras2"].save_weights(path := tmp_path / "alone.h5")
    assert "weights without the model that they belong to" in refusal(path)


def test_weights_that_are_stored_elsewhere_or_too_large_are_refused(files: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(64))

    def changed(name: str, change: Callable[[h5py.Group], object]) -> str:
        path = Path(shutil.copy(files / "keras2.h5", tmp_path / name))
        with h5py.File(path, "r+") as file:
            change(file["model_weights"])
        return refusal(path)

    elsewhere = [(str(tmp_path / "elsewhere"), 0, 16)]
    assert "stored in another file" in changed("a.h5", lambda g: g.create_dataset("x", (4,), "f4", external=elsewhere))
    link = h5py.ExternalLink(str(files / "keras3.h5"), "/")
    assert "refers to something elsewhere" in changed("b.h5", lambda g: g.__setitem__("x", link))
    assert "bytes of weights" in changed("c.h5", lambda g: g.create_dataset("x", (10**11,), "f4"))


def test_a_member_that_unpacks_to_too_much_is_refused(files: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("config.json", b" " * (11 << 20))
        archive.writestr("model.weights.h5", b"")
    assert "config.json unpacks to 11,534,336 bytes" in refusal(path)


@pytest.mark.parametrize("version", ["", "4.0", "x", None])
def test_a_file_of_another_keras_is_refused(files: Path, tmp_path: Path, version: str | None) -> None:
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(files / "keras3.keras") as read, zipfile.ZipFile(path, "w") as written:
        written.writestr("metadata.json", json.dumps({"keras_version": version}))
        written.writestr("config.json", read.read("config.json"))
        written.writestr("model.weights.h5", read.read("model.weights.h5"))
    assert "expected Keras 2 or 3" in refusal(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", SMALL)
def test_a_truncated_file_is_refused(files: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(share * len(whole))])
    assert "not a readable Keras file" in refusal(path)


@pytest.mark.parametrize("name", SMALL)
def test_flipped_bits_are_refused_or_change_nothing_but_values(files: Path, tmp_path: Path, name: str) -> None:
    """All that is read before a process is started. A few go through the converter in the slow test below."""
    content = (files / name).read_bytes()
    random = np.random.default_rng(11)
    lines = []
    for trial in range(300):
        path = tmp_path / f"{trial}{Path(name).suffix}"
        path.write_bytes(flipped(content, random))
        is_whole_model(path)
        (folder := tmp_path / str(trial)).mkdir()
        lines.append(line_of(lambda path=path, folder=folder: check(path, folder)))
        path.unlink()
    assert not any("\n" in line for line in lines)
    assert sum(map(bool, lines)) > 10


def check(path: Path, folder: Path) -> None:
    if found := read_keras_file(path):
        checked_config(found.config, found.generation, str(path))
        write_weights(path, folder)


def line_of(action: Callable[[], object]) -> str:
    """The message of the `UserError` that an action ends in, "" where it ends in none."""
    try:
        action()
    except UserError as error:
        return str(error)
    return ""


def flipped(content: bytes, random: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    damaged[int(random.integers(len(damaged)))] ^= 1 << int(random.integers(8))
    return bytes(damaged)


# ---------------------------------------------------------------------------------------------------- slow: larger ones


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras2.h5", "keras3.h5"])
def test_flipped_bits_never_end_in_anything_but_a_line(files: Path, tmp_path: Path, name: str) -> None:
    content = (files / name).read_bytes()
    random = np.random.default_rng(12)
    for trial in range(15):
        path = tmp_path / f"{trial}.h5"
        path.write_bytes(flipped(content, random))
        assert "\n" not in line_of(lambda path=path: converted(path, "keras"))


# Keras 2 cannot write the slice of `preprocess_input` to a .keras file.
PUBLISHED = [
    (network, version, suffix)
    for network in LARGE
    for version in VERSIONS
    for suffix in (".keras", ".h5")
    if (network, version, suffix) != (deeplab_v3_plus, 2, ".keras")
]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "version", "suffix"), PUBLISHED)
def test_published_networks_compute_what_they_compute_in_keras(
    network: Network, version: int, suffix: str, tmp_path: Path
) -> None:
    model = network(VERSIONS[version])
    model.save(path := tmp_path / f"{network.__name__}{suffix}")
    assert is_whole_model(path)
    assert differences(converted(path, "keras"), model) <= 1e-4
    kinds = {operator.kind for operator in file_graph(path, "keras").operators}
    assert not kinds & {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"}


@pytest.mark.parametrize("name", ["keras2.h5", "keras3.keras"])
def test_it_is_a_network_that_reads_the_cameras_bytes(models: dict[str, Any], files: Path, name: str) -> None:
    network = load_network(files / name)
    check_network(network)
    frame = np.random.default_rng(5).integers(0, 256, (32, 24, 3)).astype(np.uint8)
    expected = np.asarray(models[name.split(".")[0]](frame[None].astype(np.float32)))
    found = run_whole(network, frame)[logits(network)]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert [operator.kind for operator in network.operators][:2] == ["DEQUANTIZE", "CONV_2D"]


@pytest.mark.parametrize("version", [2, 3])
def test_a_network_trained_on_bgr_reads_rgb(tmp_path: Path, version: int) -> None:
    """With the preprocessing of ResNet50 inside: channels in reverse, less their means."""
    keras = VERSIONS[version]
    image = keras.Input((32, 24, 3))
    x = keras.applications.resnet50.preprocess_input(image)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    model = randomised(keras.Model(image, keras.layers.Conv2D(4, 1)(x)))
    model.save(path := tmp_path / "bgr.h5")
    network = load_network(path)
    frame = np.random.default_rng(5).integers(0, 256, (32, 24, 3)).astype(np.uint8)
    expected = np.asarray(model(frame[None].astype(np.float32)))
    found = run_whole(network, frame)[logits(network)]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(pixel_parameters(network)[1], [123.68, 116.779, 103.939], rtol=1e-5)
