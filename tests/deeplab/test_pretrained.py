"""The network that ships with the package is what its notes say."""

from pathlib import Path

import pytest

import deeplab
from deeplab.checkpoint import load_checkpoint
from deeplab.datasets import open_dataset
from deeplab.network import classes, input_size, parameters
from deeplab.scoring import score
from deeplab.training.config import TrainConfig, read_config
from evaluation.former_keys import OF_STREETS, rename_former_keys

PACKAGE = Path(deeplab.__file__).parent
STREETS = PACKAGE / "pretrained" / "streets.npz"


def test_it_is_small_and_says_where_it_comes_from() -> None:
    checkpoint = load_checkpoint(STREETS)
    assert STREETS.stat().st_size <= 2_000_000
    assert parameters(checkpoint.network) <= 450_000
    assert (input_size(checkpoint.network), classes(checkpoint.network)) == ((96, 128), 11)
    assert checkpoint.notes["command"] == "python -m deeplab.train deeplab/training/streets.yaml"
    assert checkpoint.notes["class_names"] == list(open_dataset("streets").class_names)
    # Size, seed, stream and count; that the generator has not changed since is tested with its images.
    drawn = open_dataset("streets").split("val").fingerprint().split("-", 2)[2]
    assert checkpoint.notes["data"]["val"].split("-", 2)[2] == drawn == "96x128-seed0-stream1-200"


def test_the_configuration_beside_it_is_the_one_it_was_trained_with() -> None:
    config = read_config(PACKAGE / "training" / "streets.yaml")
    notes = load_checkpoint(STREETS).notes["config"] | {"output": config.output}
    rename_former_keys(notes, OF_STREETS)
    assert TrainConfig.model_validate(notes) == config


@pytest.mark.slow
@pytest.mark.parametrize("name", ["search", "heldout"])
def test_it_scores_what_its_notes_say(name: str) -> None:
    dataset, checkpoint = open_dataset("streets"), load_checkpoint(STREETS)
    scores = score(checkpoint.network, dataset, dataset.split(name))
    assert scores.miou == pytest.approx(checkpoint.notes["miou"][name], abs=2e-3)
