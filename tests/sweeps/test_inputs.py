"""What a study starts from is checked before anything is started."""

import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from deeplab.checkpoint import save_checkpoint
from deeplab.datasets.files import FileSplit, ImagePair, label_encoding
from deeplab.network import classes, input_size
from evaluation.errors import UserError
from sweeps import launch
from sweeps.cli import sensitivity
from sweeps.config.load import load_config
from sweeps.inputs.file_facts import FileFacts
from sweeps.inputs.image_checks import ImageUse, check_images
from sweeps.inputs.opened import open_network
from sweeps.inputs.splits import open_images
from sweeps.trial.preflight import check_inputs
from tests.deeplab.slim_network import SlimNetwork
from tests.deeplab.tiny import random_network, tiny_network

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
    with pytest.raises(UserError, match=rf"masks/{odd}\.png: mask is 128x90, its image {odd}\.png 128x96"):
        _check(*_folder(tmp_path, odd))


def test_a_network_with_other_classes_than_the_images_is_refused(tmp_path):
    overrides = [*_folder(tmp_path)[:-1], f"data.options={{class_names: {NAMES[:4]}}}"]
    with pytest.raises(UserError, match="has 11 classes, the data set folder has 4"):
        _check(*overrides)


@pytest.mark.parametrize("command", [launch, sensitivity])
@pytest.mark.parametrize(
    ("key", "without", "stage"),
    [
        ("decoder_weight_bits", {"decoder": False}, "decoder"),
        ("decoder_activation_bits", {"decoder": False}, "decoder"),
        ("aspp_weight_bits", {"pool": 0, "atrous": ()}, "ASPP"),
    ],
)
def test_bits_of_a_stage_that_is_not_there_are_refused(tmp_path, monkeypatch, capsys, command, key, without, stage):
    path = tmp_path / "net.npz"
    save_checkpoint(random_network(tiny_network(classes=11, **without)), path)
    arguments = [str(REPOSITORY / "pareto.yaml"), "-o", f"network.source={path}", "-o", f"space.{key}=[4, 8]"]
    monkeypatch.setattr(sys, "argv", ["command", *arguments, "-o", f"out={tmp_path}"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    said = f"error: space.{key}: the network {path} has no {stage}; remove the key\n"
    assert capsys.readouterr().err == said
    aspp = ["space.aspp_weight_bits=[4, 8]", "space.aspp_activation_bits=[4, 8]"]
    _check(f"network.source={path}", "space.sparsity=[0.0, 0.25]", *(aspp if stage == "decoder" else []))


def test_a_truncated_network_is_refused_by_name(shared, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(shared("weights/deeplabv3_257_mv_gpu.tflite").read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"cut\.tflite"):
        _check(f"network.source={path}")


def test_the_shipped_network_opens():
    assert classes(open_network("streets")) == 11


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
    opened = open_network(network.source, network.unstated())
    operators = {operator.name: operator for operator in opened.operators}
    assert input_size(opened) == (96, 128)
    flags = [operators["logits/resize"].attributes[flag] for flag in ("align_corners", "half_pixel_centers")]
    assert flags == [False, False]  # legacy
    assert operators["block_16/depthwise"].attributes["dilation"] == (4, 4)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["network.source=net.h5", "network.output_stride=8"], "net.h5 says its output_stride itself"),
        (["network.source=net.mlmodel"], "no kind of network file that is known"),
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
    monkeypatch.setattr("sweeps.trial.preflight.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"search\.sampler: gp needs PyTorch.*choose ehvi"):
        _check("search.sampler=gp")


def _spoil(path, change):
    image = np.array(Image.open(path))
    change(image)
    Image.fromarray(image).save(path)


def _voided(image):
    image[:] = 255


@pytest.mark.parametrize("use", ["search", "heldout", "train"])
def test_every_bad_file_of_every_use_is_found_and_counted(tmp_path, use):
    overrides = _folder(tmp_path)
    for name, ids in (("train", "012"), ("search", "345"), ("heldout", "67")):
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    bad = {"search": "345", "heldout": "67", "train": "012"}[use]
    for image_id in bad:
        _spoil(tmp_path / "masks" / f"{image_id}.png", lambda image: image.__setitem__((5, 7), 77))
    first = rf"^data\.{use}: .*masks/{bad[0]}\.png: label 77 at row 5, column 7"
    with pytest.raises(UserError, match=rf"{first}.*\(and {len(bad) - 1} more: {bad[1]}\.png") as refused:
        _check(*overrides)
    assert "\n" not in str(refused.value)


def test_bad_files_of_several_uses_are_counted_together(tmp_path):
    overrides = _folder(tmp_path)
    for image_id in "01234567":
        (tmp_path / "images" / f"{image_id}.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing of the kind")
    with pytest.raises(UserError, match=r"^data\.search: .*\(and 7 more: \d\.png, \d\.png, \d\.png, \.\.\.\)$"):
        _check(*overrides)


def test_labels_of_calibration_images_are_not_looked_at(tmp_path):
    overrides = _folder(tmp_path)
    for name, ids in (("train", "012"), ("search", "345"), ("heldout", "67")):
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    _spoil(tmp_path / "masks" / "1.png", lambda image: image.__setitem__((5, 7), 77))
    with pytest.raises(UserError, match=r"data\.train: .*masks/1\.png"):
        _check(*overrides)
    _check(*overrides, "finetune.loss=distill")
    (tmp_path / "images" / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"data\.train: .*images/1\.png"):
        _check(*overrides, "finetune.loss=distill")


def test_images_of_the_import_check_are_checked(tmp_path):
    overrides = _folder(tmp_path)
    for name, ids in (("train", "01"), ("search", "34"), ("heldout", "6")):
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    _spoil(tmp_path / "masks" / "7.png", lambda image: image.__setitem__((0, 0), 200))
    _check(*overrides)
    with pytest.raises(UserError, match=r"import_check\.split: .*masks/7\.png: label 200"):
        _check(*overrides, "import_check.miou=0.5", "import_check.split=all")


def test_images_without_any_class_give_no_score(tmp_path):
    overrides = _folder(tmp_path)
    for name, ids in (("train", "012"), ("search", "345"), ("heldout", "67")):
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    for image_id in "67":
        _spoil(tmp_path / "masks" / f"{image_id}.png", _voided)
    with pytest.raises(UserError, match=r"data\.heldout: no mask of its 2 images holds a class.*masks/6\.png"):
        _check(*overrides)
    _spoil(tmp_path / "masks" / "7.png", lambda image: image.__setitem__((0, 0), 3))
    _check(*overrides)


class _Counting(FileSplit):
    """Counts what is decoded."""

    decoded = 0

    def sample(self, index):
        type(self).decoded += 1
        return super().sample(index)


def test_what_was_found_good_is_not_decoded_again(tmp_path, monkeypatch):
    _folder(tmp_path)
    monkeypatch.setattr(_Counting, "decoded", 0)
    files = [ImagePair(n, tmp_path / f"images/{n}.png", tmp_path / f"masks/{n}.png") for n in "01234567"]
    encoding = {value: value for value in range(11)}
    facts = FileFacts(tmp_path / "facts" / "files.sqlite")

    def check(encoding, labelled=True):
        before = _Counting.decoded
        split = _Counting(tuple(files), label_encoding(encoding))
        check_images([ImageUse("data.search", split, labelled, True)], facts, Console(quiet=True))
        return _Counting.decoded - before

    assert check(encoding) == 8
    assert check(encoding) == 0
    assert check(encoding | {12: 3}) == 8, "other labels were not checked"
    _spoil(tmp_path / "masks/3.png", lambda image: image.__setitem__((0, 0), 4))
    assert check(encoding) == 1
    for content in (
        b"no database at all, but long enough to be taken for one" * 40,
        b"",
        b"SQLite format 3\x00" + bytes(99),
    ):
        facts = FileFacts(tmp_path / "facts" / "damaged.sqlite")
        (tmp_path / "facts" / "damaged.sqlite").write_bytes(content)
        assert check(encoding) == 8
        assert check(encoding) == 0
    facts = FileFacts(tmp_path / "masks" / "0.png" / "files.sqlite")  # where nothing can be kept
    assert (check(encoding), check(encoding)) == (8, 8)
    elsewhere, link = tmp_path / "facts" / "elsewhere", tmp_path / "facts" / "link.sqlite"
    elsewhere.write_bytes(b"not ours")
    link.symlink_to(elsewhere)
    facts = FileFacts(link)
    assert (check(encoding), check(encoding)) == (8, 8)
    assert elsewhere.read_bytes() == b"not ours"


def test_progress_is_shown_as_lines_where_there_is_no_terminal(tmp_path):
    said = io.StringIO()
    check_inputs(load_config(REPOSITORY / "pareto.yaml", _folder(tmp_path)), Console(file=said, width=100))
    assert said.getvalue() == "checking 8 images and their masks\n"
    check_inputs(load_config(REPOSITORY / "pareto.yaml"), said := Console(file=io.StringIO()))
    assert said.file.getvalue() == ""


def test_a_sparsity_that_channels_cannot_give_is_refused_before_they_are_ranked():
    words = r"space\.sparsity: 0\.9, 0\.95 cannot be reached: .* at most 8\d(\.\d)? %.*keep to levels up to 0\.8\d"
    with pytest.raises(UserError, match=words):
        _check("space.sparsity=[0.0, 0.5, 0.9, 0.95]")
    with pytest.raises(UserError, match=r"space\.sparsity: 0\.999999999 cannot be reached"):
        _check("space.sparsity=[0.0, 0.999999999]")
    _check("space.sparsity=[0.0, 0.8]")


@pytest.mark.parametrize("overrides", [["channels.allotment=uniform"], ["space.pruning=[magnitude]"]])
def test_methods_that_reach_every_sparsity_are_not_refused(overrides):
    _check("space.sparsity=[0.0, 0.95]", *overrides)


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_a_bad_held_out_mask_is_one_line_and_nothing_is_begun(tmp_path, monkeypatch, capsys, arguments):
    overrides = _folder(tmp_path)
    for name, ids in (("train", "012"), ("search", "345"), ("heldout", "67")):
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    _spoil(tmp_path / "masks" / "7.png", lambda image: image.__setitem__((5, 7), 77))
    given = [word for override in overrides for word in ("-o", override)]
    monkeypatch.setattr(sys, "argv", ["launch", str(REPOSITORY / "pareto.yaml"), *given, *arguments])
    with pytest.raises(SystemExit) as ended:
        launch.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: data.heldout: ")
    assert "masks/7.png: label 77 at row 5, column 7" in said[0]
    assert sorted(path.name for path in Path.cwd().rglob("*")) == (
        [] if arguments else [".cache", "files.sqlite", "studies"]
    )


STREETS = ["data.search=search[:4]", "data.heldout=heldout[:4]", "data.train=train[:8]"]


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        ("{name: streets, split: 'search[:2]'}", r"data\.search share 2 images, the first is"),
        ("{name: streets, split: 'search[3:9]'}", r"data\.search share 1 image, the first is"),
        ("{name: streets, split: 'heldout[:64]'}", r"data\.heldout share 4 images, the first is"),
        ("{name: streets, split: 'search[:2]', options: {height: 64, width: 64}}", r"data\.search share 2 images"),
        ("{name: streets, split: 'search[4:8]'}", ""),
        ("{name: streets, split: 'search[:2]', options: {seed: 1}}", ""),
        ("{name: streets, split: 'train[:8]'}", ""),
    ],
)
def test_images_that_are_scored_do_not_calibrate(calibration, said):
    config = load_config(REPOSITORY / "pareto.yaml", [*STREETS, f"data.calibration={calibration}"])
    if not said:
        open_images(config.data)
        return
    with pytest.raises(UserError, match=rf"data\.calibration and {said}.*; make them disjoint") as refused:
        open_images(config.data)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_scored_does_not_calibrate_from_another_folder_either(tmp_path):
    overrides = _folder(tmp_path)
    for name, ids in (("train", "012"), ("search", "345"), ("heldout", "67")):
        (tmp_path / f"{name}.txt").write_text("\n".join(ids))
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    for index, ids in enumerate("0120", 4):
        shutil.copy(tmp_path / "images" / f"{ids}.png", other / "images" / f"{index}.png")  # ids of others' images
    (other / "masks").symlink_to(tmp_path / "masks")
    (other / "train.txt").write_text("4\n5")
    (other / "search.txt").write_text("6")
    (other / "heldout.txt").write_text("7")
    given = f"data.calibration={{name: folder, path: {other}, split: train, options: {{class_names: {NAMES}}}}}"
    open_images(load_config(REPOSITORY / "pareto.yaml", [*overrides, given]).data)
    (other / "images" / "5.png").unlink()
    (other / "images" / "5.png").symlink_to(tmp_path / "images" / "7.png")
    with pytest.raises(UserError, match=r"data\.calibration and data\.heldout share 1 image, the first is 5;"):
        open_images(load_config(REPOSITORY / "pareto.yaml", [*overrides, given]).data)


def test_progress_is_shown_on_a_terminal(tmp_path):
    said = io.StringIO()
    console = Console(file=said, width=100, force_terminal=True)
    check_inputs(load_config(REPOSITORY / "pareto.yaml", _folder(tmp_path)), console)
    assert "images and masks" in said.getvalue()
