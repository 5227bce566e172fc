"""What a study starts from, network and images, opened and checked before anything is started.

No TensorFlow here, but to read a frozen graph or a TensorFlow checkpoint.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from deeplab.checkpoint import Checkpoint, load_checkpoint
from deeplab.importing import Unstated, load_network, network_file
from evaluation.errors import UserError
from evaluation.planner import load_target
from sweeps.config import SweepConfig
from sweeps.config_file import check_files
from sweeps.fingerprints import Inputs, fingerprint
from sweeps.image_checks import checked
from sweeps.levels import check_levels
from sweeps.pictures import Pictures, open_pictures


def check_inputs(config: SweepConfig, console: Console | None = None) -> Inputs:
    """Check everything that a study reads: network, target, levels of the space, every image and every mask.

    A study is only begun after this, so that a mistake leaves no half-made study behind, and costs no ranking and no
    trial. What was checked before and has not changed is not read again.

    Args:
        console: shows how far the images are; None: nothing is shown.

    Returns:
        What was found, hashed.

    Raises:
        UserError: for anything wrong.
    """
    check_files(config)
    if config.search.sampler == "gp" and find_spec("torch") is None:
        raise UserError("search.sampler: gp needs PyTorch, which is not installed; pip install torch, or choose ehvi")
    target = load_target(config.target)
    baseline, pictures = open_inputs(config)
    check_levels(config, baseline, target)
    checked(config, pictures, console)
    return fingerprint(config, baseline, pictures, target)


def open_inputs(config: SweepConfig) -> tuple[Checkpoint, Pictures]:
    """The float network and the pictures. Raises `UserError` for what does not fit together."""
    baseline = open_network(config.network.source, config.network.unstated())
    if baseline.spec.decoder is None:
        for name in config.space.space().stage_levels:
            if name.startswith("decoder_"):
                raise UserError(
                    f"space.{name}: the network {config.network.source} is a DeepLab v3, which has no decoder; "
                    f"remove the key"
                )
    pictures = open_pictures(config.data)
    dataset = pictures.dataset
    if len(dataset.class_names) != baseline.spec.classes:
        raise UserError(
            f"the network {config.network.source} has {baseline.spec.classes} classes, the data set {dataset.name} has "
            f"{len(dataset.class_names)}; choose pictures, or data.options, that fit the network"
        )
    return baseline, pictures


def open_network(source: str, unstated: Unstated | None = None) -> Checkpoint:
    """The float network of `network.source`: the shipped one, or a file of any kind that holds a whole network."""
    if source == "streets":
        return load_checkpoint(Path(str(files("deeplab") / "pretrained" / "streets.npz")))
    path = Path(source)
    if network_file(path) is None:
        raise UserError(f"{path}: no such file; network.source must be 'streets' or the path of a network file")
    return load_network(path, unstated)
