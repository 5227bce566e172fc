"""Opening the float network and the images of a study.

TensorFlow is loaded only to read a frozen graph or a TensorFlow checkpoint. The planner is not imported, so that cached
results of code that only reads images do not depend on it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from deeplab.checkpoint import load_checkpoint
from deeplab.importing import Unstated, load_network, network_file
from deeplab.network import classes
from deeplab.stages import STAGES, has_stage
from evaluation.errors import UserError
from evaluation.graph import Graph
from sweeps.config.schema import SweepConfig
from sweeps.inputs.splits import Images, open_images

STAGE_NAMES = {"backbone": "backbone", "aspp": "ASPP", "decoder": "decoder"}


def open_inputs(config: SweepConfig) -> tuple[Graph, Images]:
    """The float network and the images of a study. Raises `UserError` where they do not match."""
    baseline = open_network(config.network.source, config.network.unstated())
    for stage in STAGES:
        if not has_stage(baseline, stage):
            for name in config.space.space().stage_levels:
                if name.startswith(f"{stage}_"):
                    raise UserError(
                        f"space.{name}: the network {config.network.source} has no {STAGE_NAMES[stage]}; remove the key"
                    )
    images = open_images(config.data)
    dataset = images.dataset
    if len(dataset.class_names) != classes(baseline):
        raise UserError(
            f"the network {config.network.source} has {classes(baseline)} classes, the data set {dataset.name} has "
            f"{len(dataset.class_names)}; choose images, or data.options, that fit the network"
        )
    return baseline, images


def open_network(source: str, unstated: Unstated | None = None) -> Graph:
    """The float network of `network.source`: the shipped one, or that of a file of any supported format."""
    if source == "streets":
        return load_checkpoint(Path(str(files("deeplab") / "pretrained" / "streets.npz"))).network
    path = Path(source)
    if network_file(path) is None:
        raise UserError(f"{path}: no such file; network.source must be 'streets' or the path of a network file")
    return load_network(path, unstated)
