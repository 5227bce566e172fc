"""What a training begins with: architectures by name, a backbone of another network, a teacher; and when it ends."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.checkpoint import save_checkpoint
from deeplab.model import build, load_weights, pixel_values
from deeplab.network import classes, convolutions, pixel_parameters, weights, with_tensors
from deeplab.training.config import OptimiserConfig, TrainConfig, TrainingNetworkConfig, read_config
from deeplab.training.network import built_network, starting_network
from deeplab.training.state import load_state, save_state
from evaluation.errors import UserError
from evaluation.graph import Graph, Quantization
from tests.deeplab.programs import check
from tests.deeplab.test_stages import renumbered
from tests.deeplab.tiny import random_network, tiny_network

ROOT = Path(__file__).resolve().parents[2]


def section(**keys: object) -> TrainingNetworkConfig:
    return TrainingNetworkConfig.model_validate({"input_size": [32, 48], "width_multiplier": 0.1, **keys})


HEAD = {"aspp_width": 8, "skip_width": 8, "decoder_width": 8}
ARCHITECTURES = {
    "mobilenet_v2": HEAD | {"branches": "dense", "atrous_rates": [2], "skip_tap": "expand"},
    "mobilenet_v3_large": {"head": "lraspp", "lraspp_width": 8, "output_stride": 32},
    "mobilenet_v3_small": HEAD | {"reduced_tail": True},
    "resnet18": HEAD | {"decoder": False},
    "resnet101": HEAD | {"output_stride": 8, "refinement": "dense"},
}
LAST = {"mobilenet_v2": "block_16", "mobilenet_v3_large": "block_14", "mobilenet_v3_small": "block_10",
        "resnet18": "layer_3/block_1", "resnet101": "layer_3/block_2"}  # fmt: skip


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_built_by_its_name(name):
    graph = built_network(section(architecture=name, **ARCHITECTURES[name]), 5)
    check(graph)
    assert classes(graph) == 5
    names = {operator.name for operator in graph.operators}
    assert any(one.startswith(LAST[name]) for one in names)
    assert ("aspp/gated" in names) == (name == "mobilenet_v3_large")
    assert ("aspp/atrous_0" in names) == (name == "mobilenet_v2")
    assert ("decoder/refine_1" in names) == (name == "resnet101")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"architecture": "resnet50", "head": "lraspp"},
            "head: lraspp goes on mobilenet_v3.*, not resnet50",
        ),
        ({"architecture": "resnet50", "skip_tap": "expand"}, "architecture resnet50 has no skip_tap; remove the key"),
        ({"architecture": "mobilenet_v3_small", "head": "lraspp", "decoder": True}, "head lraspp has no decoder"),
        ({"lraspp_width": 8}, "head deeplab has no lraspp_width"),
        ({"reduced_tail": True}, "mobilenet_v2 has no reduced_tail"),
        ({"start": "net.npz", "backbone": "other.npz"}, "start fixes the network; remove backbone"),
        ({"start": "net.h5", "architecture": "resnet50"}, "start fixes the network; remove architecture"),
        ({"architecture": "resnet51"}, "architecture"),
    ],
)
def test_a_key_that_the_architecture_has_not_is_refused(keys, words):
    with pytest.raises(ValueError, match=words):
        TrainingNetworkConfig.model_validate({"input_size": [32, 48], **keys})


@pytest.mark.parametrize("name", ["camvid", "camvid-stride8", "camvid-dense", "camvid-lraspp"])
def test_configurations_in_the_repository_are_valid(name):
    read_config(ROOT / f"{name}.yaml")


# ------------------------------------------------------------------------------------------ a backbone of another file


@pytest.fixture(scope="module")
def separable(tmp_path_factory) -> tuple[Path, Graph]:
    """A network with names of its own that reads values in [0, 1], and its file."""
    graph = mobilenet_v2_deeplab(
        input_height=64, input_width=64, classes=7, width_multiplier=0.1, aspp_width=8, skip_width=8, decoder_width=8
    )
    graph = renumbered(random_network(graph))
    scale = Quantization(np.array([1 / 255], np.float32), np.array([0.0]))
    frame = replace(graph.tensors[graph.inputs[0]], quantization=scale)
    graph = with_tensors(graph, {graph.inputs[0]: frame})
    path = tmp_path_factory.mktemp("backbone") / "separable.npz"
    save_checkpoint(graph, path)
    return path, graph


def test_a_training_begins_with_the_backbone_of_a_whole_network(separable):
    path, graph = separable
    options = section(backbone=path, branches="dense", refinement="dense", atrous_rates=[2], **HEAD)
    network, start = starting_network(options, 5)
    assert pixel_parameters(network)[0].tolist() == pixel_parameters(graph)[0].tolist()
    assert {name.partition("/")[0].partition("_")[0] for name in start} == {"stem", "block"}
    file, own = weights(graph), convolutions(graph)
    for index, name in ((0, "stem"), (1, "block_0/depthwise"), (2, "block_0/project"), (50, "block_16/project")):
        np.testing.assert_array_equal(start[f"{name}/kernel"], file[f"{own[index].name}/kernel"])
        np.testing.assert_array_equal(start[f"{name}/bias"], file[f"{own[index].name}/bias"])


def test_the_head_of_such_a_training_is_normalised_and_the_backbone_is_not(separable):
    from deeplab.training.trainer import Trainer

    path, _ = separable
    options = section(backbone=path, branches="dense", refinement="dense", atrous_rates=[2], **HEAD)
    network, start = starting_network(options, 5)
    trainer = Trainer(network, (32, 48), OptimiserConfig(steps=1), np.ones(5, np.float32), start)
    normalised = {name.partition("/norm/")[0] for name in trainer.weights if "/norm/" in name}
    assert normalised == {
        "aspp/pointwise", "aspp/atrous_0", "aspp/project", "decoder/skip", "decoder/refine_0", "decoder/refine_1",
    }  # fmt: skip
    kept = weights(trainer.network())
    for name, array in start.items():
        np.testing.assert_array_equal(kept[name], array)


def test_another_backbone_is_refused_by_its_first_difference(separable):
    path, _ = separable
    with pytest.raises(UserError, match=r"has a backbone of 51 convolutions, the architecture one of \d+"):
        starting_network(section(architecture="resnet18", backbone=path, **HEAD), 5)
    with pytest.raises(
        UserError, match=r"convolution '.*' is CONV_2D \[8, 3, 3, 3\] RELU6, here 'stem' CONV_2D \[24, "
    ):
        starting_network(section(backbone=path, **HEAD | {"width_multiplier": 0.75}), 5)


def test_constants_have_their_values_in_a_training_from_scratch():
    from deeplab.training.trainer import Trainer

    options = section(architecture="mobilenet_v3_small", head="lraspp", lraspp_width=8, input_size=[64, 64])
    trainer = Trainer(built_network(options, 3), (64, 64), OptimiserConfig(steps=1), np.ones(3, np.float32), None)
    assert trainer.weights["block_0/excite/sixth/constant:0"].tolist() == pytest.approx([1 / 6])
    assert set(trainer.weights["block_0/excite/gate/bias:0"].tolist()) == {3.0}


# ----------------------------------------------------------------------------------------------------------- a teacher


def test_the_loss_is_that_of_the_labels_and_of_the_teachers_probabilities():
    from deeplab.training.trainer import Trainer

    student, teacher = (random_network(tiny_network(input_height=32, input_width=32), seed) for seed in (0, 1))
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    labels = random.integers(0, 5, (2, 32, 32)).astype(np.uint8)
    labels[:, :10] = 255

    def log_probabilities(graph: Graph) -> np.ndarray:
        model = build(graph)
        load_weights(model, graph)
        logits = model(pixel_values(graph)(frames), training=False).numpy().astype(np.float64)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    own, taught = log_probabilities(student)[:, 10:], np.exp(log_probabilities(teacher))[:, 10:]
    of_labels = -np.take_along_axis(own, labels[:, 10:, :, None].astype(int), -1).mean()
    of_teacher = -(taught * own).sum(-1).mean()
    options = OptimiserConfig(steps=2, teacher_weight=0.7)
    trainer = Trainer(student, (32, 32), options, np.ones(5, np.float32), weights(student), teacher)
    loss = trainer.fit(0, frames, labels)
    assert abs(of_labels - of_teacher) > 0.1
    assert loss == pytest.approx(0.3 * of_labels + 0.7 * of_teacher, rel=1e-4)


def tiny(tmp_path: Path, **training: object) -> TrainConfig:
    """A training of the tiny network that changes nothing, as its rate is next to 0."""
    if not (tmp_path / "start.npz").exists():
        save_checkpoint(
            random_network(tiny_network(input_height=32, input_width=32, classes=11)), tmp_path / "start.npz"
        )
    options = {"height": 32, "width": 32, "train_images": 4}
    return TrainConfig.model_validate({
        "output": tmp_path / "out",
        "data": {"name": "streets", "options": options, "val": "search"},
        "network": {"start": tmp_path / "start.npz", "input_size": [32, 32]},
        "training": {"steps": 6, "batch_size": 2, "learning_rate": 1e-12, "validate_every": 1, **training},
    })  # fmt: skip


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    from deeplab.training.loop import train

    save_checkpoint(random_network(tiny_network(classes=4)), tmp_path / "teacher.npz")
    with pytest.raises(UserError, match=r"training\.teacher: .*teacher\.npz has 4 classes, streets 11"):
        train(tiny(tmp_path, teacher=tmp_path / "teacher.npz"))


def test_a_training_ends_once_the_miou_has_not_risen_for_long_and_begins_no_more(tmp_path):
    from deeplab.training.loop import train

    config = tiny(tmp_path, patience=2)
    best = train(config)
    assert [entry["step"] for entry in json.loads((tmp_path / "out" / "curve.json").read_text())] == [1, 2, 3]
    assert best.notes["step"] == 1
    again = train(config, resume=True)
    assert load_state(tmp_path / "out" / "state.npz").step == 3
    assert again.notes == best.notes


def test_a_training_of_before_is_resumed_by_a_version_with_more_keys(tmp_path):
    from deeplab.training.loop import train

    config, path = tiny(tmp_path, steps=2), tmp_path / "out" / "state.npz"
    train(config, stop_after=1)
    state = load_state(path)
    for part, key in (("network", "architecture"), ("network", "branches"), ("training", "teacher_weight")):
        del state.config[part][key]
    save_state(state, path)
    train(config, resume=True)
    assert load_state(path).step == 2
