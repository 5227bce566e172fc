"""SavedModels as float networks: what LiteRT computes of them, and what is refused before TensorFlow loads anything."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab.importing.conversion import converted, file_graph, is_saved_model
from deeplab.importing.conversion.saved_model import checked_signature
from deeplab.tensorflow import keras as keras_2
from deeplab.tensorflow import tf
from deeplab.user_cache import CACHE_VARIABLE
from evaluation.errors import UserError
from tests.deeplab.keras_networks import LARGE, Network, differences, small, write_saved_model

keras_3 = pytest.importorskip("keras", minversion="3")

VERSIONS = {2: keras_2, 3: keras_3}
IMAGE = tf.TensorSpec((None, 16, 16, 3), tf.float32)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def models() -> dict[int, Any]:
    """The small network of each Keras; that of Keras 2 for images of any size, which Keras 3 does not export."""
    return {2: small(keras_2, None, None), 3: small(keras_3)}


@pytest.fixture(scope="module")
def folders(models: dict[int, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {version: write_saved_model(model, folder / str(version)) for version, model in models.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_small_network_computes_what_the_model_computes(
    models: dict[int, Any], folders: dict[int, Path], version: int
) -> None:
    size = (32, 24) if version == 2 else None
    assert is_saved_model(folders[version])
    assert differences(converted(folders[version], "saved model", size), models[version]) <= 1e-4
    graph = file_graph(folders[version], "saved model", size)
    assert [graph.tensors[index].shape for index in (*graph.inputs, *graph.outputs)] == [(1, 32, 24, 3), (1, 32, 24, 5)]
    dilated = [op.kind for op in graph.operators if op.attributes.get("dilation") == (2, 2)]
    assert dilated == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    kinds = {operator.kind for operator in graph.operators}
    assert "RESIZE_NEAREST_NEIGHBOR" in kinds
    assert not kinds & {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TILE", "SHAPE"}


def test_a_model_of_any_size_needs_the_size(folders: dict[int, Path]) -> None:
    assert "takes images of any size; give network.input_size" in refusal(folders[2])


# ------------------------------------------------------------------------------------------------------------- refusals


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        converted(path, "saved model")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert path.name in message
    return message


def saved(path: Path, function: Callable[..., Any], *specs: tf.TensorSpec, **members: Any) -> Path:
    """A SavedModel whose signature is a function."""
    module = tf.Module()
    for name, member in members.items():
        setattr(module, name, member)
    module.call = tf.function(function, input_signature=specs or (IMAGE,))
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.call})
    return path


def test_a_model_without_a_signature_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    module.variable = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "bare"))
    assert "has no signature to call" in refusal(tmp_path / "bare")


def test_a_model_of_several_signatures_needs_the_default_one(tmp_path: Path) -> None:
    module = tf.Module()
    module.call = tf.function(lambda image: image * 2.0, input_signature=(IMAGE,))
    tf.saved_model.save(module, str(tmp_path / "two"), signatures={"a": module.call, "b": module.call})
    assert "has the signatures a, b, expected serving_default or a single one" in refusal(tmp_path / "two")


OPERATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "PyFunc": lambda image: tf.ensure_shape(tf.numpy_function(np.negative, (image,), tf.float32), IMAGE.shape),
    "EagerPyFunc": lambda image: tf.ensure_shape(tf.py_function(tf.negative, (image,), tf.float32), IMAGE.shape),
    "ReadFile": lambda image: (tf.io.read_file("secret.txt"), image * 2.0)[1],
    "WriteFile": lambda image: (tf.io.write_file("written.txt", "x"), image * 2.0)[1],
    "PrintV2": lambda image: (tf.print("hello"), image * 2.0)[1],
    "RandomUniform": lambda image: image + tf.random.uniform(()),
    "StatelessWhile": lambda image: tf.while_loop(lambda x: tf.reduce_sum(x) < 9.0, lambda x: (x + 1.0,), (image,))[0],
}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_that_is_more_than_arithmetic_is_refused_by_name(tmp_path: Path, operation: str) -> None:
    inner = tf.function(OPERATIONS[operation], autograph=False)  # it is met through a call, too
    path = saved(tmp_path / "model", lambda image: inner(image) + 0.0)
    assert f"signature 'serving_default' holds the operation {operation} (node" in refusal(path)


def test_a_table_and_a_file_are_refused(tmp_path: Path) -> None:
    names = tf.lookup.KeyValueTensorInitializer(tf.constant([1], tf.int64), tf.constant([2.0]))
    table = tf.lookup.StaticHashTable(names, 0.0)
    path = saved(tmp_path / "table", lambda image: image + table.lookup(tf.constant([1], tf.int64)), table=table)
    assert "holds a table, which is not imported" in refusal(path)
    (tmp_path / "labels.txt").write_text("road\n")
    asset = tf.saved_model.Asset(str(tmp_path / "labels.txt"))
    path = saved(tmp_path / "asset", lambda image: image * 2.0, asset=asset)
    assert "holds a file of its own, which is not imported" in refusal(path)


SIGNATURES: dict[str, tuple[Callable[..., Any], tuple[tf.TensorSpec, ...], str]] = {
    "text": (
        lambda text: tf.zeros((1, 8, 8, 3)) + tf.cast(tf.size(text), tf.float32),
        (tf.TensorSpec((None,), tf.string),),
        "takes encoded images or text, expected float32 [N, height, width, 3]",
    ),
    "two": (lambda image, other: image + other, (IMAGE, IMAGE), "has 2 inputs (image, other), expected one, the image"),
    "channels first": (
        lambda image: image * 2.0,
        (tf.TensorSpec((None, 3, 16, 16), tf.float32),),
        "takes [N, 3, 16, 16], expected one image, [N, height, width, 3]",
    ),
    "batch": (
        lambda image: image * 2.0,
        (tf.TensorSpec((4, 16, 16, 3), tf.float32),),
        "takes [4, 16, 16, 3], expected one image",
    ),
    "any rank": (
        lambda image: image * 2.0,
        (tf.TensorSpec(None, tf.float32),),
        "takes anything, expected one image",
    ),
    "classifier": (
        lambda image: tf.reduce_mean(image, (1, 2)),
        (IMAGE,),
        "gives [N, 3], expected a map of classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNATURES)
def test_a_signature_that_takes_no_image_or_gives_no_map_is_refused(tmp_path: Path, case: str) -> None:
    function, specs, words = SIGNATURES[case]
    assert words in refusal(saved(tmp_path / "model", function, *specs))


def test_a_model_of_tensorflow_1_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        image = tf.compat.v1.placeholder(tf.float32, IMAGE.shape)
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "old"), {"image": image}, {"map": image * 2.0})
    assert "a SavedModel of TensorFlow 1, or of several graphs; give its frozen graph (.pb)" in refusal(
        tmp_path / "old"
    )


def test_an_operation_without_one_in_tflite_is_refused_by_its_node(tmp_path: Path) -> None:
    path = saved(tmp_path / "model", lambda image: tf.raw_ops.CropAndResize(
        image=image, boxes=[[0.0, 0.0, 1.0, 1.0]], box_ind=[0], crop_size=[8, 8], name="cropped"
    ))  # fmt: skip
    message = refusal(path)
    assert "no network that can be imported: node" in message
    assert "(CropAndResize) has no TFLite operator" in message


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert not is_saved_model(tmp_path)
    assert "no SavedModel: it has no saved_model.pb" in refusal(tmp_path)
    assert "no SavedModel: it has no saved_model.pb" in refusal(tmp_path / "missing")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_model_is_refused(folders: dict[int, Path], tmp_path: Path, share: float) -> None:
    path = Path(shutil.copytree(folders[3], tmp_path / "cut"))
    whole = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(whole[: int(share * len(whole))])
    refusal(path)


def test_missing_variables_are_refused(folders: dict[int, Path], tmp_path: Path) -> None:
    path = Path(shutil.copytree(folders[3], tmp_path / "without"))
    shutil.rmtree(path / "variables")
    assert "no network that can be imported" in refusal(path)


def test_flipped_bits_are_refused_or_change_nothing_but_names(folders: dict[int, Path], tmp_path: Path) -> None:
    """All that is read before a process is started. A few go through the converter in the slow test below."""
    lines = [line for _, line in damaged(folders[3], tmp_path, 300, checked_signature)]
    assert not any("\n" in line for line in lines)
    assert sum(map(bool, lines)) > 10


def damaged(source: Path, folder: Path, count: int, action: Callable[[Path], object]) -> Iterator[tuple[int, str]]:
    """The message that an action on a copy with one flipped bit ends in, "" where it ends in none."""
    content = (source / "saved_model.pb").read_bytes()
    path = Path(shutil.copytree(source, folder / "flipped"))
    random = np.random.default_rng(13)
    for trial in range(count):
        changed = bytearray(content)
        changed[int(random.integers(len(changed)))] ^= 1 << int(random.integers(8))
        (path / "saved_model.pb").write_bytes(changed)
        try:
            action(path)
        except UserError as error:
            yield trial, str(error)
        else:
            yield trial, ""


# ---------------------------------------------------------------------------------------------------- slow: larger ones


@pytest.mark.slow
def test_flipped_bits_never_end_in_anything_but_a_line(folders: dict[int, Path], tmp_path: Path) -> None:
    for _, line in damaged(folders[3], tmp_path, 15, lambda path: converted(path, "saved model")):
        assert "\n" not in line


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("network", LARGE)
def test_published_networks_compute_what_they_compute_in_keras(version: int, network: Network, tmp_path: Path) -> None:
    model = network(VERSIONS[version])
    path = write_saved_model(model, tmp_path / network.__name__)
    assert differences(converted(path, "saved model"), model) <= 1e-4
    kinds = {operator.kind for operator in file_graph(path, "saved model").operators}
    assert not kinds & {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"}
