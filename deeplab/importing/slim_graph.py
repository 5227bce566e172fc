"""A frozen inference graph of `tensorflow/models`' DeepLab: weights by name, the rest from its operations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.importing import slim
from deeplab.importing.frozen_graph import FrozenGraph
from deeplab.importing.slim import Geometry, Unstated
from deeplab.importing.slim_names import count, default_epsilon, kernel_name, scope_of
from deeplab.importing.slim_structure import Structure
from deeplab.spec import SkipTap
from evaluation.errors import UserError


def import_frozen_graph(path: Path, unstated: Unstated | None = None) -> Checkpoint:
    """Read `frozen_inference_graph.pb`: weights by the names of research/deeplab, strides, dilations, the skip, the
    resize convention and the input size from the operations, each of which is checked against the spec.

    Args:
        path: the file.
        unstated: only `input_size` is used, for a graph that fixes none.

    Raises:
        UserError: no such graph, not MobileNetV2, or the node or variable that does not fit.
    """
    graph = FrozenGraph(path)
    variables = graph.trained()
    slim.check_backbone(variables, graph.path)
    if not slim.has_head(variables):
        raise UserError(f"{path}: a MobileNetV2 without a head; as a start of a training give its checkpoint")
    spec = slim.spec_of(variables, _geometry(graph, variables, unstated or Unstated()), graph.path)
    spec = replace(spec, resize=Structure(graph, spec).check())
    _check_scaling(graph)

    def epsilon(layer: str) -> float:
        return graph.epsilon(f"{scope_of(layer)}/BatchNorm/gamma") or default_epsilon(layer)

    weights = slim.folded_weights(slim.kernel_shapes(spec), variables, graph.path, epsilon)
    return Checkpoint(spec, weights, {"source": path.name})


def _geometry(graph: FrozenGraph, variables: slim.Variables, unstated: Unstated) -> Geometry:
    def window(layer: str) -> tuple[int, int]:
        return graph.window(graph.convolution(kernel_name(layer)))

    blocks, branches = (count(variables, name) for name in ("block_{}/project", "aspp/atrous_{}/depthwise"))
    windows = tuple(window(f"block_{i}/depthwise") for i in range(blocks))
    rates = tuple(window(f"aspp/atrous_{i}/depthwise")[1] for i in range(branches))
    stride = int(np.prod([stride for stride, _ in windows])) * window("stem")[0]
    size = unstated.input_size or _input_size(graph, stride)
    return Geometry(size, windows, rates, _skip(graph, variables, blocks), "legacy")


def _input_size(graph: FrozenGraph, stride: int) -> tuple[int, int]:
    """Size of the image at the first convolution: its static shape, else the size that makes the pooling global."""
    from deeplab.tensorflow import tf

    source = graph.source(graph.convolution(kernel_name("stem")))
    definition = tf.compat.v1.GraphDef()
    for name in graph.before(source):
        node = definition.node.add()
        node.CopyFrom(graph.nodes[name])
        node.input[:] = [text for text in node.input if not text.startswith("^")]
    try:
        with tf.Graph().as_default() as before:
            tf.import_graph_def(definition, name="")
            shape = before.get_operation_by_name(source).outputs[0].shape
        if shape.rank == 4 and None not in shape[1:3]:
            return shape[1], shape[2]
    except (ValueError, KeyError, tf.errors.OpError):  # an operation this TensorFlow does not have: use the pooling
        pass
    for name in graph.nodes:
        if graph.kind(name) == "AvgPool":
            _, rows, columns, _ = graph.attribute(name, "ksize").list.i
            return (rows - 1) * stride + 1, (columns - 1) * stride + 1  # model.py: scale_dimension, backwards
    raise UserError(f"{graph.path}: takes images of any size; give network.input_size, such as [513, 513]")


def _skip(graph: FrozenGraph, variables: slim.Variables, blocks: int) -> tuple[int, SkipTap] | None:
    kernel = kernel_name("decoder/skip")
    if kernel not in variables:
        return None
    made_by: dict[str, tuple[int, SkipTap]] = {}
    for block in range(blocks):
        for tap in ("expand", "depthwise", "project"):
            if (name := kernel_name(f"block_{block}/{tap}")) in variables:
                made_by[graph.convolution(name)] = (block, tap)
    node, _ = graph.back(graph.source(graph.convolution(kernel)))
    if node in made_by:
        return made_by[node]
    ends = [graph.back(source)[0] for source in graph.inputs(node)]
    projections = [made_by[end] for end in ends if end in made_by and made_by[end][1] == "project"]
    if graph.kind(node) not in ("Add", "AddV2") or not projections:
        graph.refuse(node, f"a convolution or sum of a block as the source of {kernel}")
    return max(projections)  # the other, if there is one, is the block before it


def _check_scaling(graph: FrozenGraph) -> None:
    """Images must come to the first convolution in [-1, 1]: 2 / 255 of a byte less 1 (core/feature_extractor.py)."""
    name = graph.source(graph.convolution(kernel_name("stem")))
    scale, offset, steps = 1.0, 0.0, 0
    for _ in graph.nodes:
        if (kind := graph.kind(name)) not in ("Identity", "Sub", "Add", "AddV2", "Mul", "RealDiv"):
            break
        sources = graph.inputs(name)
        values = [graph.constant(source) for source in sources]
        if kind == "Identity":
            name = sources[0]
            continue
        place = next((i for i, value in enumerate(values) if value is not None and np.unique(value).size == 1), None)
        if place is None or (kind in ("Sub", "RealDiv") and place == 0):
            graph.refuse(name, "one constant for all channels, in the scaling of the image to [-1, 1]")
        value = float(np.unique(values[place])[0])
        if kind in ("Mul", "RealDiv"):  # the steps are met last first: what came after is applied to this one's result
            scale *= value if kind == "Mul" else 1.0 / value
        else:
            offset += scale * (-value if kind == "Sub" else value)
        name, steps = sources[1 - place], steps + 1
    fits = abs(scale * 127.5 - 1.0) < 0.02 and abs(offset + 1.0) < 0.02
    if not (fits or (steps == 0 and kind.startswith("Placeholder"))):
        graph.refuse(name, "images scaled to [-1, 1] by 2 / 255 and -1 before the first convolution")
