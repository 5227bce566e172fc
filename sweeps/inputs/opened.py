"""Opening the float network and the images of a study.

TensorFlow is loaded only to read a frozen graph or a TensorFlow checkpoint. The planner is not imported, so that cached
results of code that only reads images do not depend on it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from deeplab.checkpoint import Checkpoint, load_checkpoint
from deeplab.importing import Unstated, load_network, network_file
from evaluation.errors import UserError
from sweeps.config.schema import SweepConfig
from sweeps.inputs.splits import Images, open_images


def open_inputs(config: SweepConfig) -> tuple[Checkpoint, Images]:
    """The float network and the images of a study. Raises `UserError` where they do not match."""
    baseline = open_network(config.network.source, config.network.unstated())
    if baseline.spec.decoder is None:
        for name in config.space.space().stage_levels:
            if name.startswith("decoder_"):
                raise UserError(
                    f"space.{name}: the network {config.network.source} is a DeepLab v3, which has no decoder; "
                    f"remove the key"
                )
    images = open_images(config.data)
    dataset = images.dataset
    if len(dataset.class_names) != baseline.spec.classes:
        raise UserError(
            f"the network {config.network.source} has {baseline.spec.classes} classes, the data set {dataset.name} has "
            f"{len(dataset.class_names)}; choose images, or data.options, that fit the network"
        )
    return baseline, images


def open_network(source: str, unstated: Unstated | None = None) -> Checkpoint:
    """The float network of `network.source`: the shipped one, or that of a file of any supported format."""
    if source == "streets":
        return load_checkpoint(Path(str(files("deeplab") / "pretrained" / "streets.npz")))
    path = Path(source)
    if network_file(path) is None:
        raise UserError(f"{path}: no such file; network.source must be 'streets' or the path of a network file")
    return load_network(path, unstated)
