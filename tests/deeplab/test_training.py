"""Training: the checked YAML, batches by step, and a killed training that goes on as if nothing had happened."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.datasets import VOID, open_dataset
from deeplab.network import classes, convolutions, input_size, weights
from deeplab.sizes import with_output_stride
from deeplab.training.augmentation import augment
from deeplab.training.batches import Batches, ahead, class_weights
from deeplab.training.config import AugmentationConfig, TrainConfig, read_config
from deeplab.training.state import TrainingState, load_state, save_state
from evaluation.errors import UserError
from evaluation.graph import Graph
from tests.deeplab.tiny import BLOCKS, random_network, tiny_network
from tests.waiting import wait_until

CONFIGS = Path(__file__).resolve().parents[2] / "deeplab" / "training"

HEAD = {"width_multiplier": 0.1, "aspp_width": 8, "skip_width": 8, "decoder_width": 8}
TINY = {
    "output": "out",
    "data": {
        "name": "streets",
        "options": {"height": 32, "width": 32, "train_images": 6},
        "val": "search",
    },
    "network": {"input_size": [32, 32], **HEAD},
    "training": {
        "steps": 4,
        "batch_size": 2,
        "warmup_steps": 1,
        "validate_every": 2,
        "save_every": 1,
        "averaging": 0.9,
        "jaccard_weight": 0.5,
    },
}


def tiny(output: Path, **training: object) -> TrainConfig:
    fields = {**TINY, "output": str(output), "training": {**TINY["training"], **training}}
    return TrainConfig.model_validate(fields)


def write(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


# ---------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_shipped_configurations_are_valid(name: str) -> None:
    read_config(CONFIGS / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainig": {}}, "unknown key 'trainig'; did you mean 'training'"),
        (
            {"network": {"input_size": [32, 32], "widht_multiplier": 1}},
            "unknown key 'network.widht_multiplier'; did you mean 'width_multiplier'",
        ),
        ({"training": {"batch_size": 2}}, r"key 'training\.steps' is missing"),
        ({"training": {"steps": "many"}}, r"key 'training\.steps': .*got 'many'"),
        ({"training": {"steps": 0}}, r"key 'training\.steps': .*greater than or equal to 1, got 0"),
        ({"augmentation": {"scale": [1.5, 0.5]}}, "scale is an empty range"),
        ({"network": {"input_size": [32, 32], "start": "a.npz", "aspp_width": 4}}, "remove aspp_width"),
        ({"network": {"input_size": [32, 32], "output_stride": 4}}, r"key 'network\.output_stride'.*got 4"),
    ],
)
def test_wrong_configuration_is_one_clear_line(tmp_path: Path, change: dict, message: str) -> None:
    path = write(tmp_path / "c.yaml", {**TINY, **change})
    with pytest.raises(UserError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_and_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        read_config(tmp_path / "none.yaml")
    for text in ("a: [1", "- 1", ""):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(UserError, match=r"bad\.yaml"):
            read_config(tmp_path / "bad.yaml")


def test_command_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", {**TINY, "outptu": "x"})
    done = subprocess.run(
        [sys.executable, "-m", "deeplab.train", str(path)], capture_output=True, text=True, cwd=CONFIGS.parents[1]
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "did you mean 'output'" in done.stderr


# ------------------------------------------------------------------------------------------- augmentation and batches


def view(options: AugmentationConfig, seed: int = 0, size: tuple[int, int] = (24, 40)) -> tuple[np.ndarray, np.ndarray]:
    """A view of an image whose red channel is 20 times its label: they must stay together."""
    label = np.kron(np.arange(12).reshape(3, 4), np.ones((10, 10))).astype(np.uint8)
    return augment(np.repeat(label[..., None] * 20, 3, 2), label, *size, options, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [(1.0, 1.0), (1.0, 2.0), (0.4, 0.9)])
def test_labels_follow_the_image(scale: tuple[float, float], seed: int) -> None:
    image, label = view(AugmentationConfig(scale=scale, colour=0), seed)
    assert image.shape == (24, 40, 3)
    seen = label != VOID
    assert seen.all() == (scale[0] >= 1.0)
    off = np.abs(image[..., 0].astype(int) - 20 * label.astype(int))[seen]
    assert (off <= 10).mean() > 0.7  # pixels at the edges of a patch are mixtures


def test_without_augmentation_the_view_is_the_squashed_image() -> None:
    label = np.random.default_rng(0).integers(0, 5, (20, 30)).astype(np.uint8)
    image = np.repeat(label[..., None] * 40, 3, 2)
    options = AugmentationConfig(flip=False, scale=(1, 1), colour=0)
    same = augment(image, label, 20, 30, options, np.random.default_rng(0))
    assert (same[0] == image).all()
    assert (same[1] == label).all()


@pytest.mark.parametrize("scale", [(1.0, 1.0), (1.5, 1.5), (0.6, 0.6)])
def test_a_window_shows_a_part_at_the_scale_of_the_whole(scale: tuple[float, float]) -> None:
    """An image that counts its rows: a window of half the network's height shows half of them, over the zoom."""
    label = np.repeat(np.arange(200, dtype=np.uint8)[:, None], 300, 1)
    options = AugmentationConfig(flip=False, scale=scale, colour=0)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        _, view = augment(np.repeat(label[..., None], 3, 2), label, 50, 75, options, rng, whole=(100, 150))
        seen = view[:, 40][view[:, 40] != VOID].astype(int)
        assert abs(seen.max() - seen.min() - 200 * min(1.0, 0.5 / scale[0]) + 1) <= 4
        assert (np.diff(seen) >= 0).all()


def test_a_focus_shows_rare_classes_more_often() -> None:
    label = np.zeros((100, 100), np.uint8)
    label[3:5, 90:92] = 1
    image = np.zeros((100, 100, 3), np.uint8)

    def share(focus: float) -> float:
        options = AugmentationConfig(scale=(4, 4), colour=0, focus=focus)
        views = [augment(image, label, 20, 20, options, np.random.default_rng(seed))[1] for seed in range(200)]
        return float(np.mean([(view == 1).any() for view in views]))

    assert share(0.0) < 0.1
    assert 0.4 < share(1.0) < 0.65  # every other view is of class 0, which seldom shows the corner


def test_flips_happen_for_half_and_colours_change() -> None:
    options = AugmentationConfig(scale=(1, 1), colour=0, flip=True)
    flipped = sum(int(view(options, seed)[1][0, 0] != 0) for seed in range(200))
    assert 70 < flipped < 130
    assert (view(AugmentationConfig(scale=(1, 1), colour=0.5, flip=False))[0] != view(options)[0]).any()


def test_batches_depend_on_seed_and_step_alone() -> None:
    split = open_dataset("streets", height=32, width=32, train_images=6).split("train")

    def make(seed: int = 0) -> Batches:
        return Batches(split, 4, 32, 32, AugmentationConfig(), seed, cache_bytes=10_000)

    straight, again = make(), make()
    later = list(ahead(again, 3, 6))
    for step in range(3, 6):
        for a, b in zip(straight(step), later[step - 3], strict=True):
            assert (a == b).all()
    assert (make(1)(3)[0] != straight(3)[0]).any()


def test_an_epoch_shows_every_image_once() -> None:
    split = open_dataset("streets", height=32, width=32, train_images=6).split("train")
    batches = Batches(split, 3, 32, 32, AugmentationConfig(flip=False, scale=(1, 1), colour=0), seed=0)
    shown = sorted(image.tobytes() for step in (2, 3) for image in batches(step)[0])
    assert shown == sorted(sample.image.tobytes() for sample in split)


def test_class_weights_are_median_frequency(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name, counts in (("a", (60, 40, 0, 0)), ("b", (90, 0, 10, 0))):
        Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        mask = np.repeat(np.arange(4), counts).reshape(10, 10).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    split = open_dataset("folder", tmp_path, class_names=list("wxyz")).split("all")
    # frequencies: 150/200, 40/100, 10/100; median 0.4; weights 0.4/f, then divided by their mean
    raw = np.array([0.4 / 0.75, 1.0, 4.0])
    assert class_weights(split, 4, "median_frequency") == pytest.approx([*(raw / raw.mean()), 1.0])
    root = np.sqrt(raw)
    assert class_weights(split, 4, "sqrt_median_frequency") == pytest.approx([*(root / root.mean()), 1.0])
    assert class_weights(split, 4, "none").tolist() == [1, 1, 1, 1]


# -------------------------------------------------------------------------------------------------------- one step


def test_the_jaccard_loss_of_hard_predictions_is_one_less_the_miou() -> None:
    import tensorflow as tf

    from deeplab.training.trainer import jaccard_loss

    labels = np.array([[[0, 0, 0, 1], [1, 1, VOID, VOID]]])
    predicted = np.array([[[0, 0, 1, 1], [1, 0, 0, 2]]])  # what is under void does not count
    seen = labels != VOID
    logits = tf.one_hot(predicted, 3) * 100.0
    loss = float(jaccard_loss(logits, tf.constant(np.where(seen, labels, 0)), tf.constant(seen)))
    # class 0: 2 of 4, class 1: 2 of 4; class 2 has no labels
    assert loss == pytest.approx(1 - (2 / 4 + 2 / 4) / 2, abs=1e-6)
    even = float(jaccard_loss(tf.zeros((1, 2, 4, 3)), tf.constant(np.where(seen, labels, 0)), tf.constant(seen)))
    # p = 1/3 everywhere: both = 3 / 3, union = 6 / 3 + 3 - 1
    assert even == pytest.approx(1 - 1 / 4, abs=1e-6)


def test_the_average_is_kept_and_the_weights_go_on(tmp_path: Path) -> None:
    from deeplab.training.trainer import Trainer

    options = tiny(tmp_path, averaging=0.5, steps=3).training
    network = tiny_network(input_height=32, input_width=32, classes=3)
    trainer = Trainer(network, (32, 32), options, np.ones(3, np.float32), None)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    labels = rng.integers(0, 3, (2, 32, 32)).astype(np.uint8)
    expected = trainer.averages
    assert expected.keys() == trainer.weights.keys()
    for step in range(3):
        trainer.fit(step, frames, labels)
        now, share = trainer.weights, max(0.5, 9 / (10 + step))
        expected = {name: average + share * (now[name] - average) for name, average in expected.items()}
    averages, before = trainer.averages, trainer.weights
    for name, average in expected.items():
        np.testing.assert_allclose(averages[name], average, rtol=1e-5, atol=1e-6)
    kept = weights(trainer.network())["logits/kernel"]
    np.testing.assert_allclose(kept, expected["logits/kernel:0"], rtol=1e-5, atol=1e-6)
    assert np.abs(kept - before["logits/kernel:0"]).max() > 0
    for name, weight in trainer.weights.items():
        np.testing.assert_array_equal(weight, before[name])


# -------------------------------------------------------------------------------------------------- state and resuming


def test_state_survives_the_disk(tmp_path: Path) -> None:
    arrays = (np.arange(3, dtype=np.float32), np.array(7, np.int64), np.zeros((2, 2), np.float32))
    state = TrainingState(5, 0.25, {"a": {"b": 1}}, ({"step": 5, "miou": 0.25},), 3.5, arrays)
    save_state(state, tmp_path / "state.npz")
    back = load_state(tmp_path / "state.npz")
    assert (back.step, back.best_miou, back.config, back.curve, back.seconds) == (
        5,
        0.25,
        state.config,
        state.curve,
        3.5,
    )
    assert all((a == b).all() and a.dtype == b.dtype for a, b in zip(back.arrays, arrays, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    whole = (tmp_path / "state.npz").read_bytes()
    for content in (b"", b"junk", whole[:100]):
        (tmp_path / "state.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"state\.npz: not the state of a training"):
            load_state(tmp_path / "state.npz")


@pytest.mark.parametrize("start", ["checkpoint", pytest.param("scratch", marks=pytest.mark.slow)])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, start: str) -> None:
    """From a checkpoint of five blocks; from scratch, with all of MobileNetV2's, each run traces for 10 s."""
    from deeplab.checkpoint import load_checkpoint, save_checkpoint
    from deeplab.training.loop import train

    save_checkpoint(random_network(tiny_network(input_height=32, input_width=32)), tmp_path / "start.npz")

    def tiny(output: Path, **training: object) -> TrainConfig:
        network = {"input_size": [32, 32], "start": str(tmp_path / "start.npz")}
        training = {**TINY["training"], **training}
        fields = {**TINY, "output": str(output), "training": training}
        return TrainConfig.model_validate(fields if start == "scratch" else fields | {"network": network})

    whole = train(tiny(tmp_path / "whole"))
    # Stopped between validations; what a later crash would have left half done is the old state file.
    train(tiny(tmp_path / "parts"), stop_after=3)
    parts = train(tiny(tmp_path / "parts"), resume=True)
    states = [load_state(tmp_path / name / "state.npz") for name in ("whole", "parts")]
    assert states[0].step == states[1].step == 4
    for a, b in zip(states[0].arrays, states[1].arrays, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert any(np.abs(array).max() > 0 for array in states[0].arrays[-10:])  # the optimiser's moments are in it
    for name, array in weights(whole.network).items():
        np.testing.assert_allclose(array, weights(parts.network)[name], rtol=1e-3, atol=1e-4)
    assert [entry["step"] for entry in json.loads((tmp_path / "parts" / "curve.json").read_text())] == [2, 4]
    stored = load_checkpoint(tmp_path / "parts" / "best.npz")
    assert stored.notes["config"]["training"]["steps"] == 4
    assert set(stored.notes["miou"]) == {"search"}
    assert {"command", "seed", "versions", "git_commit"} <= set(stored.notes)

    with pytest.raises(UserError, match=r"state\.npz: begun with training\.steps = 4, .* now says 5"):
        train(tiny(tmp_path / "parts", steps=5), resume=True)
    with pytest.raises(UserError, match="go on with --resume"):
        train(tiny(tmp_path / "parts"))
    with pytest.raises(UserError, match="nothing to resume"):
        train(tiny(tmp_path / "fresh"), resume=True)


def test_training_begins_from_a_checkpoint_of_other_classes_and_another_size(tmp_path: Path) -> None:
    """The head starts anew, the rest is kept."""
    from deeplab.checkpoint import save_checkpoint
    from deeplab.training.loop import train

    blocks = (*BLOCKS[:4], (24, 12, 2, 1, False), (24, 12, 1, 1, True))
    stored = random_network(tiny_network(input_height=32, input_width=32, classes=9, blocks=blocks))
    save_checkpoint(stored, tmp_path / "start.npz")
    write_folder(tmp_path / "mine", images=10)
    fields = tiny(tmp_path / "tuned", steps=1, learning_rate=1e-9).model_dump(mode="json")
    fields["network"] = {"start": str(tmp_path / "start.npz"), "input_size": [48, 32], "output_stride": 8}
    fields["data"] = {"name": "folder", "path": str(tmp_path / "mine"), "val": "search"}
    tuned = train(TrainConfig.model_validate(fields)).network
    assert windows(tuned) == windows(with_output_stride(stored, 8)) != windows(stored)
    assert (*input_size(tuned), classes(tuned)) == (48, 32, 3)
    for name, array in weights(tuned).items():
        if not name.startswith("logits/"):
            np.testing.assert_allclose(array, weights(stored)[name], atol=1e-6)


def windows(network: Graph) -> dict[str, tuple[object, object]]:
    """Stride and dilation of each convolution."""
    return {
        operator.name: (operator.attributes["stride"], operator.attributes["dilation"])
        for operator in convolutions(network)
    }


def write_folder(root: Path, images: int) -> None:
    rng = np.random.default_rng(0)
    for below in ("images", "masks"):
        (root / below).mkdir(parents=True)
    for number in range(images):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(rng.integers(0, 3, (20, 30)).astype(np.uint8)).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("a\nb\nc\n")


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    """The command itself, killed in the middle, resumed, against a run that was left alone."""
    from deeplab.checkpoint import load_checkpoint

    for name in ("whole", "parts"):
        data = {**TINY["data"], "score": ["heldout"]}
        training = {**TINY["training"], "steps": 40}
        fields = {**TINY, "output": str(tmp_path / name), "data": data, "training": training}
        write(tmp_path / f"{name}.yaml", fields)

    def command(name: str, *more: str) -> subprocess.Popen:
        arguments = [sys.executable, "-m", "deeplab.train", str(tmp_path / f"{name}.yaml"), *more]
        return subprocess.Popen(arguments, cwd=CONFIGS.parents[1])

    victim = command("parts")
    state = tmp_path / "parts" / "state.npz"

    def six_steps_are_saved() -> bool:
        assert victim.poll() is None, "the training ended before it could be killed"
        return state.exists() and load_state(state).step >= 6

    wait_until(six_steps_are_saved, 500, "six steps are saved")
    victim.kill()
    victim.wait()
    assert 6 <= load_state(state).step < 40
    assert command("parts", "--resume").wait() == 0
    assert command("whole").wait() == 0
    assert set(load_checkpoint(tmp_path / "parts" / "best.npz").notes["miou"]) == {"search", "heldout"}
    for a, b in zip(load_state(state).arrays, load_state(tmp_path / "whole" / "state.npz").arrays, strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-3)
