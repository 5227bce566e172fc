"""A network from a frozen TensorFlow graph, converted by TensorFlow's own converter to TFLite."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from deeplab.importing.converter_errors import converter_reason
from deeplab.importing.float_network import float_network
from deeplab.importing.frozen_graph import CONVOLUTIONS, FrozenGraph
from deeplab.importing.unstated import Unstated
from deeplab.network import MOST_EXTENT
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.graph.tflite import read_tflite


def import_frozen_graph(path: Path, unstated: Unstated | None = None) -> Graph:
    """Read a frozen inference graph as a float graph: from the input of its first convolution, which must be an image
    in [-1, 1], to its logits, the input of its ArgMax.

    Args:
        path: the file.
        unstated: what the graph leaves open.

    Raises:
        UserError: no such graph; names the first node or operator that does not fit.
    """
    graph = FrozenGraph(path)
    logits = _logits(graph)
    image = _image(graph, logits)
    _check_scaling(graph, image)
    size = (unstated or Unstated()).input_size or _input_size(graph, image, logits)
    if not all(1 <= side <= MOST_EXTENT for side in size):
        raise UserError(f"{path}: takes images of {size[0]} x {size[1]}, expected sides of 1 to {MOST_EXTENT:,}")
    content = _converted(graph, image, logits, size)
    return float_network(read_tflite(content, str(path)), str(path), unstated)


def _logits(graph: FrozenGraph) -> str:
    """The input of the ArgMax over channels; without one, the end of the graph."""
    found = set()
    for name in graph.nodes:
        if graph.kind(name) == "ArgMax":
            source, axis = graph.inputs(name)
            if (value := graph.constant(axis)) is None or value.tolist() not in (3, -1):
                graph.refuse(name, "ArgMax over the channels")
            found.add(graph.handed_on(source))
    if not found:
        used = {source for name in graph.nodes for source in graph.inputs(name)}
        ends = [name for name in graph.nodes if name not in used]
        found = {end for end in ends if any(graph.kind(name) in CONVOLUTIONS for name in graph.before(end))}
    if len(found) != 1:
        names = f" ({', '.join(sorted(found)[:2])})" if found else ""
        raise UserError(
            f"{graph.path}: no network that can be imported: {len(found)} outputs of convolutions{names}, expected one"
        )
    return found.pop()


def _image(graph: FrozenGraph, logits: str) -> str:
    """The input of the first convolution, before SpaceToBatchND."""
    found = set()
    for name in graph.before(logits):
        if graph.kind(name) in CONVOLUTIONS:
            source = graph.inputs(name)[0]
            if graph.kind(spaced := graph.handed_on(source)) == "SpaceToBatchND":
                source = graph.inputs(spaced)[0]
            if not any(graph.kind(before) in CONVOLUTIONS for before in graph.before(source)):
                found.add(source)
    if len(found) != 1:
        raise UserError(
            f"{graph.path}: no network that can be imported: {len(found)} tensors are read by first convolutions, "
            "expected one, the image"
        )
    return found.pop()


def _check_scaling(graph: FrozenGraph, image: str) -> None:
    """Images must come to the first convolution in [-1, 1]: 2 / 255 of a byte less 1 (core/feature_extractor.py)."""
    name, scale, offset, steps = graph.handed_on(image), 1.0, 0.0, 0
    while (kind := graph.kind(name)) in ("Sub", "Add", "AddV2", "Mul", "RealDiv") and steps < len(graph.nodes):
        sources = graph.inputs(name)
        known = [graph.constant(source) for source in sources]
        values = [None if one is None or np.unique(one).size != 1 else float(one.flat[0]) for one in known]
        place = next((index for index, value in enumerate(values) if value is not None), None)
        if place is None or len(sources) != 2 or (kind in ("Sub", "RealDiv") and place == 0):
            graph.refuse(name, "one constant for all channels, in the scaling of the image to [-1, 1]")
        value = values[place] or 0.0
        if kind in ("Mul", "RealDiv"):  # the steps are met last first: what came after is applied to this one's result
            scale *= value if kind == "Mul" else 1.0 / value
        else:
            offset += scale * (-value if kind == "Sub" else value)
        name, steps = graph.handed_on(sources[1 - place]), steps + 1
    fits = abs(scale * 127.5 - 1.0) < 0.02 and abs(offset + 1.0) < 0.02
    if not (fits or (steps == 0 and kind.startswith("Placeholder"))):
        graph.refuse(name, "images scaled to [-1, 1] by 2 / 255 and -1 before the first convolution")


def _input_size(graph: FrozenGraph, image: str, logits: str) -> tuple[int, int]:
    """Size of the image at the first convolution: its static shape, else the size that makes the pooling global."""
    from deeplab.tensorflow import tf

    try:
        with tf.Graph().as_default():
            (tensor,) = tf.import_graph_def(graph.part(image), return_elements=[f"{image}:0"], name="")
        if tensor.shape.rank == 4 and None not in tensor.shape[1:3]:
            return tensor.shape[1], tensor.shape[2]
    except (ValueError, KeyError, tf.errors.OpError):  # an operation this TensorFlow does not have: use the pooling
        pass
    for name in graph.before(logits, [image]):
        if graph.kind(name) == "AvgPool":
            _, rows, columns, _ = graph.node(name).attr["ksize"].list.i
            stride = _stride(graph, image, name)
            return (rows - 1) * stride + 1, (columns - 1) * stride + 1  # model.py: scale_dimension, backwards
    raise UserError(f"{graph.path}: takes images of any size; give network.input_size, such as [513, 513]")


def _stride(graph: FrozenGraph, image: str, name: str) -> int:
    """Rows of the image between two rows of the input of a node, along one of the paths."""
    stride = 1
    for _ in graph.nodes:
        sources = graph.inputs(name)
        name = next((source for source in sources if image in graph.before(source)), image)
        if name == image:
            break
        if graph.kind(name) in CONVOLUTIONS:
            stride *= graph.node(name).attr["strides"].list.i[1]
    return stride


def _converted(graph: FrozenGraph, image: str, logits: str, size: tuple[int, int]) -> bytes:
    """The part from the image to the logits as a float `.tflite` file."""
    from deeplab.tensorflow import tf, without_notices

    until = [image]
    end = graph.handed_on(logits)
    if graph.kind(end) == "ResizeBilinear" and graph.constant(target := graph.inputs(end)[1]) is None:
        until.append(target)  # computed from the size of the image that is given at run time
    for name in graph.before(logits, until):
        if graph.kind(name).startswith("Placeholder"):
            graph.refuse(name, f"{image} as the only input")
    try:
        with tf.Graph().as_default() as own, without_notices(re.compile(b"")):
            frame = tf.compat.v1.placeholder(tf.float32, (1, *size, 3), name=image)
            values = {image: frame, **{name: tf.constant(size, tf.int32, name=name) for name in until[1:]}}
            part = graph.part(logits, until)
            (output,) = tf.import_graph_def(part, input_map=values, return_elements=[f"{logits}:0"], name="")
            with tf.compat.v1.Session(graph=own) as session:
                return tf.compat.v1.lite.TFLiteConverter.from_session(session, [frame], [output]).convert()
    except Exception as error:  # the converter raises errors of every kind
        reason = converter_reason(error)
        raise UserError(f"{graph.path}: no network that can be imported: {reason}; export it for inference") from None
