"""What a study starts from is checked before anything is started."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.checkpoint import save_checkpoint
from evaluation.errors import UserError
from sweeps import launch, sensitivity
from sweeps.config_file import load_config
from sweeps.inputs import check_inputs, open_network
from tests.deeplab.slim_network import SlimNetwork
from tests.deeplab.tiny import random_checkpoint, tiny_spec

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory, monkeypatch):
    """What is known of checked files is kept in `out`, in the current folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("current"))


def _folder(tmp_path, odd=None):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for index in range(8):
        Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(tmp_path / "images" / f"{index}.png")
        height = 90 if index == odd else 96
        Image.fromarray(np.zeros((height, 128), np.uint8)).save(tmp_path / "masks" / f"{index}.png")
    return [
        "data.name=folder",
        f"data.path={tmp_path}",
        "data.train=train",
        f"data.options={{class_names: {NAMES}}}",
    ]


def _check(*overrides):
    check_inputs(load_config(REPOSITORY / "pareto.yaml", list(overrides)))


def test_the_default_study_and_a_clean_folder_pass(tmp_path):
    _check()
    _check(*_folder(tmp_path))


@pytest.mark.parametrize("odd", range(8))
def test_a_mask_of_another_size_is_found_in_any_split_before_the_start(tmp_path, odd):
    with pytest.raises(UserError, match=rf"masks/{odd}\.png: mask is 128x90, its picture {odd}\.png 128x96"):
        _check(*_folder(tmp_path, odd))


def test_a_network_with_other_classes_than_the_pictures_is_refused(tmp_path):
    overrides = [*_folder(tmp_path)[:-1], f"data.options={{class_names: {NAMES[:4]}}}"]
    with pytest.raises(UserError, match="has 11 classes, the data set folder has 4"):
        _check(*overrides)


@pytest.mark.parametrize("command", [launch, sensitivity])
@pytest.mark.parametrize("key", ["decoder_weight_bits", "decoder_activation_bits"])
def test_bits_of_a_decoder_that_is_not_there_are_refused(tmp_path, monkeypatch, capsys, command, key):
    path = tmp_path / "v3.npz"
    save_checkpoint(random_checkpoint(tiny_spec(decoder=None, classes=11)), path)
    arguments = [str(REPOSITORY / "pareto.yaml"), "-o", f"network.source={path}", "-o", f"space.{key}=[4, 8]"]
    monkeypatch.setattr(sys, "argv", ["command", *arguments, "-o", f"out={tmp_path}"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    said = f"error: space.{key}: the network {path} is a DeepLab v3, which has no decoder; remove the key\n"
    assert capsys.readouterr().err == said
    stages = ["space.aspp_weight_bits=[4, 8]", "space.aspp_activation_bits=[4, 8]"]
    _check(f"network.source={path}", "space.sparsity=[0.0, 0.25]", *stages)


def test_a_truncated_network_is_refused_by_name(shared, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(shared("weights/deeplabv3_257_mv_gpu.tflite").read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"cut\.tflite"):
        _check(f"network.source={path}")


def test_the_shipped_network_opens():
    assert open_network("streets").spec.classes == 11


@pytest.fixture(scope="module")
def slim_files(tmp_path_factory):
    network, folder = SlimNetwork(), tmp_path_factory.mktemp("slim")
    network.write_checkpoint(folder / "model.ckpt-30000")
    network.write_graph(folder / "frozen_inference_graph.pb")
    return folder


@pytest.mark.parametrize("name", ["model.ckpt-30000", "model.ckpt-30000.index", "frozen_inference_graph.pb", ""])
def test_a_network_of_the_model_zoo_can_be_the_source_of_a_study(slim_files, tmp_path, name):
    data = [*_folder(tmp_path)[:-1], f"data.options={{class_names: {NAMES[:5]}}}"]
    _check(*data, f"network.source={slim_files / name}")


def test_keys_beside_a_checkpoint_say_what_it_does_not(slim_files):
    source = f"network.source={slim_files / 'model.ckpt-30000'}"
    keys = ["network.input_size=[96, 128]", "network.output_stride=8", "network.resize=legacy"]
    network = load_config(REPOSITORY / "pareto.yaml", [source, *keys]).network
    spec = open_network(network.source, network.unstated()).spec
    assert (spec.input_height, spec.input_width, spec.resize) == (96, 128, "legacy")
    assert spec.blocks[16].dilation == 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["network.source=net.h5"], "net.h5 is a backbone; train a network from it"),
        (["network.source=net.onnx"], "no kind of network file that is known"),
        (["network.source=graph.pb", "network.output_stride=8"], "graph.pb says its output_stride itself"),
        (["network.source=net.npz", "network.input_size=[32, 32]"], "net.npz says its input_size itself"),
        (["network.output_stride=8"], "streets says its output_stride itself; remove output_stride"),
    ],
)
def test_sources_and_keys_that_do_not_go_together(overrides, words):
    with pytest.raises(UserError, match=words):
        load_config(REPOSITORY / "pareto.yaml", overrides)


@pytest.mark.parametrize("name", ["gone.ckpt", "gone.pb", "gone"])
def test_a_network_that_is_not_there_names_its_key(tmp_path, name):
    with pytest.raises(UserError, match=rf"network\.source: no file .*{name}"):
        _check(f"network.source={tmp_path / name}")


def test_the_sampler_that_needs_torch_says_so(monkeypatch):
    monkeypatch.setattr("sweeps.inputs.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"search\.sampler: gp needs PyTorch.*choose ehvi"):
        _check("search.sampler=gp")
