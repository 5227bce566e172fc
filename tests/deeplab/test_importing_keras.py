"""MobileNetV2 of keras.applications as a backbone: the same features, from every file Keras 2 and 3 write."""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.architectures.mobilenet_v2 import backbone_widths
from deeplab.importing import Backbone, load_network, load_start
from deeplab.model import build
from deeplab.network import classes, convolutions, input_size, weight_shapes, weights
from deeplab.tensorflow import keras
from deeplab.training.config import OptimiserConfig, TrainConfig
from deeplab.training.network import starting_network
from deeplab.training.trainer import Trainer
from evaluation.errors import UserError
from evaluation.graph import Graph
from tests.deeplab.graph_comparison import described

SIZE = (48, 40)  # 40 becomes 5, so that both paddings of a stride occur: (0, 1) for even sizes, (1, 1) for odd ones
FILES = ("whole.h5", "weights.h5", "whole.keras", "k2.weights.h5", "nested.h5", "nested.keras")


def randomised(model):
    """BatchNorm statistics that are not 0 and 1, in the order of the layers."""
    random = np.random.default_rng(5)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            size = layer.get_weights()[0].shape
            layer.set_weights([
                random.uniform(0.6, 1.2, size), random.normal(0.2, 0.3, size), random.normal(0, 0.1, size),
                random.uniform(0.003, 0.8, size),
            ])  # fmt: skip
        elif weights := layer.get_weights():
            layer.set_weights([random.normal(0, 0.5 / np.sqrt(w[..., 0].size), w.shape) for w in weights])
    return model


@pytest.fixture(scope="module")
def keras_2():
    return randomised(keras.applications.MobileNetV2((*SIZE, 3), alpha=0.35, weights=None, include_top=False))


@pytest.fixture(scope="module")
def files(keras_2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    keras_2.save(folder / "whole.h5")
    keras_2.save_weights(folder / "weights.h5")
    keras_2.save(folder / "whole.keras")
    keras_2.save_weights(folder / "k2.weights.h5")
    nested = keras.Sequential([keras_2, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    nested.save(folder / "nested.h5")
    nested.save(folder / "nested.keras")
    return folder


@pytest.fixture(scope="module")
def backbone(files: Path) -> Backbone:
    return load_start(files / "whole.h5")


def assert_same(one: Backbone, other: Backbone) -> None:
    assert one.widths == other.widths
    assert set(one.weights) == set(other.weights)
    for name, array in one.weights.items():
        np.testing.assert_array_equal(array, other.weights[name])


def test_features_are_the_same(keras_2, backbone: Backbone) -> None:
    """At the classifier's strides, after the last inverted residual: DeepLab drops the convolution after it."""
    head = {"classes": 2, "output_stride": 32, "aspp_width": 8, "decoder": False}
    size = {"input_height": SIZE[0], "input_width": SIZE[1]}
    graph = mobilenet_v2_deeplab(**size, **head, backbone=backbone.widths)
    assert described(graph) == described(mobilenet_v2_deeplab(**size, **head, width_multiplier=0.35))
    model = build(graph)
    for name in {name.rsplit("/", 1)[0] for name in backbone.weights}:
        model.get_layer(name).set_weights([backbone.weights[f"{name}/{part}"] for part in ("kernel", "bias")])
    images = np.random.default_rng(0).uniform(-1, 1, (2, *SIZE, 3)).astype(np.float32)
    ours = keras.Model(model.input, model.get_layer("block_16/project").output)(images).numpy()
    theirs = keras.Model(keras_2.input, keras_2.get_layer("block_16_project_BN").output)(images).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0.1
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("name", FILES[1:])
def test_every_file_of_keras_2_gives_the_same_backbone(files: Path, backbone: Backbone, name: str) -> None:
    assert_same(load_start(files / name), backbone)


def test_every_file_of_keras_3_gives_the_same_backbone(keras_2, backbone: Backbone, tmp_path: Path) -> None:
    keras_3 = pytest.importorskip("keras", minversion="3")
    model = keras_3.applications.MobileNetV2((*SIZE, 3), alpha=0.35, weights=None, include_top=False)
    for layer in model.layers:
        if layer.get_weights():
            layer.set_weights(keras_2.get_layer(layer.name).get_weights())
    model.save(tmp_path / "whole.keras")
    model.save(tmp_path / "whole.h5")
    model.save_weights(tmp_path / "k3.weights.h5")
    nested = keras_3.Sequential([model, keras_3.layers.GlobalAveragePooling2D(), keras_3.layers.Dense(3)])
    nested.save(tmp_path / "nested.keras")
    for path in sorted(tmp_path.iterdir()):
        assert_same(load_start(path), backbone)


# ------------------------------------------------------------------------------------------------------------ refusals


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_start(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
@pytest.mark.parametrize("name", ["weights.h5", "whole.keras"])
def test_a_truncated_file_is_refused(files: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(share * len(whole))])
    assert "not a readable Keras file" in refusal(path)


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"config": {"layers": [{"class_name": "Conv2D"}]}}'])
def test_a_configuration_of_another_form_is_refused(files: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.keras"
    with zipfile.ZipFile(files / "whole.keras") as source, zipfile.ZipFile(path, "w") as target:
        target.writestr("config.json", content)
        target.writestr("model.weights.h5", source.read("model.weights.h5"))
    assert "not a readable Keras file" in refusal(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "gone.h5")
    assert "no such file" in refusal(tmp_path / "gone.keras")


def test_another_network_is_refused_by_its_layers(tmp_path: Path) -> None:
    layers = [keras.layers.Conv2D(4, 3, name="first"), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.layers.Input((8, 8, 3)), *layers])
    for name in ("other.h5", "other.keras"):
        model.save(tmp_path / name)
        message = refusal(tmp_path / name)
        assert "not a MobileNetV2 of keras.applications: it holds first, expected layers Conv1" in message


def test_a_missing_layer_and_another_shape_are_named(files: Path, tmp_path: Path) -> None:
    import h5py

    for name, shape, words in (
        ("block_7_expand", None, "weight block_7_expand/kernel is missing"),
        (
            "block_7_depthwise",
            (3, 3, 5, 1),
            "weight block_7_depthwise/kernel has the shape (3, 3, 5, 1), expected (3, 3, ",
        ),
    ):
        path = tmp_path / f"{name}.h5"
        path.write_bytes((files / "weights.h5").read_bytes())
        with h5py.File(path, "r+") as file:
            del file[name]
            if shape:
                file[f"{name}/{name}/depthwise_kernel:0"] = np.zeros(shape)
        assert words in refusal(path)


def test_nothing_in_a_file_is_executed(files: Path, tmp_path: Path) -> None:
    """A layer of unknown class, as a Lambda would be, is not looked at."""
    path = tmp_path / "lambda.keras"
    with zipfile.ZipFile(files / "whole.keras") as source, zipfile.ZipFile(path, "w") as target:
        config = json.loads(source.read("config.json"))
        body = {"name": "boom", "function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}
        config["config"]["layers"].append({"module": "os", "class_name": "Lambda", "config": body})
        target.writestr("config.json", json.dumps(config))
        target.writestr("model.weights.h5", source.read("model.weights.h5"))
    assert_same(load_start(path), load_start(files / "whole.keras"))


def test_a_backbone_is_no_network(files: Path) -> None:
    with pytest.raises(UserError, match=r"whole\.h5: a backbone without a head; train a network from it"):
        load_network(files / "whole.h5")


# ---------------------------------------------------------------------------------------------------- start of training


def config(tmp_path: Path, **network: object) -> TrainConfig:
    return TrainConfig.model_validate({
        "output": tmp_path / "out",
        "data": {"name": "streets", "options": {"height": 32, "width": 32, "train_images": 2}},
        "network": {"input_size": [32, 48], **network},
        "training": {"steps": 1},
    })  # fmt: skip


def dilations(network: Graph) -> dict[str, int]:
    return {operator.name: operator.attributes["dilation"][0] for operator in convolutions(network)}


def test_a_training_begins_with_the_backbone_and_a_new_head(files: Path, backbone: Backbone, tmp_path: Path) -> None:
    head = {"aspp_width": 8, "skip_width": 4, "decoder_width": 8, "output_stride": 8, "atrous_rates": [2]}
    settings = config(tmp_path, start=files / "weights.h5", **head)
    network, start = starting_network(settings.network, 11)
    assert (input_size(network), classes(network)) == ((32, 48), 11)
    assert dilations(network)["aspp/atrous_0/depthwise"] == 2
    assert dilations(network)["block_16/depthwise"] == 4
    options = OptimiserConfig(steps=1)
    trained = weights(Trainer(network, (32, 48), options, np.ones(11, np.float32), start).network())
    for name, array in backbone.weights.items():
        np.testing.assert_array_equal(trained[name], array)
    assert trained["aspp/pointwise/kernel"].std() > 0


def test_a_block_that_strode_in_the_classifier_has_no_sum_where_it_is_dilated(backbone: Backbone) -> None:
    """At a multiplier of 0.1 its channels are those of the block before it: a network of its own has a sum there."""
    size = {"input_height": 32, "input_width": 32, "classes": 2, "output_stride": 8, "width_multiplier": 0.1}
    own = mobilenet_v2_deeplab(**size)
    after = mobilenet_v2_deeplab(**size, backbone=backbone_widths(0.1))
    names = [{operator.name for operator in graph.operators if operator.kind == "ADD"} for graph in (own, after)]
    assert names[0] - names[1] == {"block_6/add", "block_13/add"}


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"start": "net.h5", "width_multiplier": 0.35}, "start fixes the network; remove width_multiplier"),
        ({"start": "model.ckpt", "width_multiplier": 0.35}, "start fixes the network; remove width_multiplier"),
        ({"start": "graph.pb", "atrous_rates": [6]}, "start fixes the network; remove atrous_rates"),
        ({"start": "net.mlmodel"}, "start: net.mlmodel: no kind of network file that is known"),
    ],
)
def test_keys_beside_a_start(tmp_path: Path, network: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config(tmp_path, **network)


def test_keys_of_a_head_beside_a_whole_network_are_refused(tmp_path: Path) -> None:
    from tests.deeplab.slim_network import SlimNetwork

    path = SlimNetwork().write_checkpoint(tmp_path / "model.ckpt")
    settings = config(tmp_path, start=path, output_stride=8, aspp_width=16)
    with pytest.raises(UserError, match=r"network\.aspp_width: .*model\.ckpt is a whole network"):
        starting_network(settings.network, 11)
    network, start = starting_network(config(tmp_path, start=path, output_stride=8).network, 11)
    assert (input_size(network), classes(network)) == ((32, 48), 11)
    assert dilations(network)["block_16/depthwise"] == 4
    assert start.keys() == {name for name in weight_shapes(network) if not name.startswith("logits/")}


def test_sizes_and_places_of_weights_are_judged_before_they_are_read(files: Path, tmp_path: Path) -> None:
    def changed(name: str, change) -> str:
        path = Path(shutil.copy(files / "whole.h5", tmp_path / name))
        with h5py.File(path, "r+") as file:
            layer = file["model_weights/Conv1/Conv1"]
            del layer["kernel:0"]
            change(layer)
        return refusal(path)

    assert "more than" in changed("huge.h5", lambda layer: layer.create_dataset("kernel:0", (10**11,), "f4"))
    assert "expected float" in changed("text.h5", lambda layer: layer.create_dataset("kernel:0", data="weights"))
    elsewhere = [(str(tmp_path / "elsewhere"), 0, 16)]
    assert "in another file" in changed(
        "external.h5", lambda layer: layer.create_dataset("kernel:0", (4,), "f4", external=elsewhere)
    )
    (tmp_path / "elsewhere").write_bytes(bytes(16))


@pytest.mark.parametrize("config", ["[]", "[" * 100_000, '{"config": []}', '{"config": {"layers": 3}}', "x"])
def test_a_configuration_of_no_model_is_refused(tmp_path: Path, config: str) -> None:
    with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", b"")
    assert "odd.keras" in refusal(tmp_path / "odd.keras")
