"""A TensorFlow checkpoint of `tensorflow/models`' DeepLab, or of its MobileNetV2 classifier as a backbone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from deeplab.architectures import SkipTap
from deeplab.architectures.mobilenet_v2 import SKIP_BLOCK, windows
from deeplab.importing import slim
from deeplab.importing.backbone import Backbone
from deeplab.importing.slim import Geometry
from deeplab.importing.slim_names import count, kernel_name
from deeplab.importing.unstated import Unstated
from deeplab.network import convolutions, with_weights
from evaluation.errors import UserError
from evaluation.graph import Graph

_PUBLISHED_SIZE = (513, 513)
_AVERAGE = "/ExponentialMovingAverage"
_TRAINED = re.compile(r"(^|/)(weights|depthwise_weights|biases|gamma|beta|moving_mean|moving_variance)$")


def checkpoint_prefix(path: Path) -> Path | None:
    """The prefix (`model.ckpt-30000`) that a path stands for: itself, its `.index` or `.data-...` file, or its folder.

    Raises:
        UserError: a folder holds several checkpoints and no file `checkpoint` that says which is the last.
    """
    name = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name)
    if path.with_name(f"{name}.index").is_file():
        return path.with_name(name)
    if not path.is_dir():
        return None
    state = path / "checkpoint"  # tf.train.get_checkpoint_state, whose paths may be those of another machine
    if state.is_file():
        last = re.search(r'^model_checkpoint_path: "(.*)"', state.read_text(errors="replace"), re.MULTILINE)
        if last and (path / f"{Path(last[1]).name}.index").is_file():
            return path / Path(last[1]).name
    found = sorted(path.glob("*.index"))
    if len(found) > 1:
        names = ", ".join(file.stem for file in found[:3])
        raise UserError(f"{path}: holds {len(found)} checkpoints ({names}, ...); name one of them, such as {found[-1]}")
    return found[0].with_suffix("") if found else None


def import_checkpoint(path: Path, unstated: Unstated | None = None) -> Graph | Backbone:
    """Read a checkpoint with the variables of research/deeplab; without a head it is a `Backbone`.

    Moving averages (`.../ExponentialMovingAverage`) are taken where there are some, as for evaluation in
    `tensorflow/models`; the optimiser's and the fake quantization's variables are left aside.

    Args:
        path: anything `checkpoint_prefix` takes.
        unstated: properties that a checkpoint does not state.

    Raises:
        UserError: no checkpoint or a damaged one, not MobileNetV2, or a variable that is missing, of another shape or
            of a layer that no DeepLab has.
    """
    prefix = checkpoint_prefix(path)
    if prefix is None:
        raise UserError(f"{path}: no TensorFlow checkpoint there; expected {path.name}.index, or a folder holding one")
    variables = _read(prefix)
    if not slim.has_head(variables):
        return slim.backbone_of(variables, str(path))
    geometry = _geometry(variables, unstated or Unstated(), str(path))
    graph = slim.graph_of(variables, geometry, str(path))
    return with_weights(graph, slim.folded_weights(graph, convolutions(graph), variables, str(path)))


def _read(prefix: Path) -> dict[str, np.ndarray]:
    from deeplab.tensorflow import tf

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        stored = reader.get_variable_to_shape_map()
        names = {name.removesuffix(_AVERAGE): name for name in sorted(stored, key=lambda name: name.endswith(_AVERAGE))}
        names = {name: source for name, source in names.items() if _TRAINED.search(name)}
        slim.check_backbone(names, str(prefix))  # before hundreds of megabytes are read
        return {name: reader.get_tensor(source) for name, source in names.items()}
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "message", error)).split())
        raise UserError(f"{prefix}: no readable TensorFlow checkpoint ({reason}); copy all its files again") from None


def _geometry(variables: slim.Variables, unstated: Unstated, path: str) -> Geometry:
    slim.check_depth(variables, path)
    stride = unstated.output_stride
    branches = count(variables, "aspp/atrous_{}/depthwise")
    rates = unstated.atrous_rates
    if rates is None:
        rates = (6, 12, 18) if stride == 16 else (12, 24, 36)
        rates = rates if branches == len(rates) else ()
    if len(rates) != branches:
        raise UserError(f"{path}: has {branches} atrous branches; give network.atrous_rates with {branches} rates")
    size = unstated.input_size or _PUBLISHED_SIZE
    return Geometry(size, windows(stride), rates, _skip(variables, path), unstated.resize or "align_corners")


def _skip(variables: slim.Variables, path: str) -> tuple[int, SkipTap] | None:
    """The published decoder takes its skip after the depthwise of block 2; where widths say so, after its end."""
    name = kernel_name("decoder/skip")
    if name not in variables:
        return None
    channels = variables[name].shape[2]
    depthwise, project = (
        slim.taken(variables, kernel_name(f"block_{SKIP_BLOCK}/{tap}"), path) for tap in ("depthwise", "project")
    )
    taps: dict[SkipTap, int] = {"depthwise": depthwise.shape[2], "project": project.shape[3]}
    for tap, width in taps.items():
        if width == channels:
            return SKIP_BLOCK, tap
    raise UserError(
        f"{path}: variable {name} takes {channels} channels, expected the {taps['depthwise']} of block {SKIP_BLOCK}'s "
        "depthwise convolution (decoder_output_stride 4); give the frozen graph, which tells where the skip is taken"
    )
