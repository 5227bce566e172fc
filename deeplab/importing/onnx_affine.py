"""Arithmetic by constants and orders of channels, which a convolution before them takes over as other weights.

Batch normalization is folded so (Jacob et al. 2018, section 3.2), whether a file has it as one operator or as MUL and
ADD.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_edit import CONVOLUTIONS, GraphEdit, without_unused
from evaluation.graph import Graph, Operator


def with_affine_folded(graph: Graph) -> Graph:
    """MUL, DIV, ADD and SUB by a constant for each channel, as weights and bias of the convolution before them."""
    edit = GraphEdit(graph)
    for index, own in enumerate(graph.operators):
        if own.kind not in ("MUL", "DIV", "ADD", "SUB"):
            continue
        for place in (0,) if own.kind in ("DIV", "SUB") else (0, 1):
            found = edit.writer(own.inputs[place], CONVOLUTIONS)
            constant = edit.constant(own.inputs[1 - place])
            if found is None or constant is None or edit.tensors[own.inputs[place]].quantization is not None:
                continue
            if _fold(edit, found, own, constant):
                edit.remove(index)
                break
    return without_unused(edit.finished())


def _fold(edit: GraphEdit, found: tuple[int, Operator], own: Operator, constant: np.ndarray) -> bool:
    """Fold `own` into the convolution `found`, if its constant is one for each channel."""
    index, convolution = found
    at = 1, 3 if convolution.kind == "TRANSPOSE_CONV" else 2
    kernel, bias = edit.tensors[convolution.inputs[at[0]]], edit.tensors[convolution.inputs[at[1]]]
    is_scale = own.kind in ("MUL", "DIV")
    output = edit.tensors[convolution.outputs[0]]
    channels = output.shape[3]
    is_by_channel = constant.size == 1 or constant.shape[-1] == constant.size == channels
    if convolution.attributes["activation"] != "NONE" or not is_by_channel:
        return False
    if edit.tensors[own.outputs[0]].shape != output.shape or (is_scale and kernel.quantization is not None):
        return False
    values = np.broadcast_to(constant.reshape(-1).astype(np.float64), (channels,))
    scale, shift = np.ones_like(values), values
    if is_scale:
        with np.errstate(all="ignore"):  # values that are not finite are refused by name where the network is read
            scale, shift = (values if own.kind == "MUL" else 1.0 / values), np.zeros_like(values)
    elif own.kind == "SUB":
        shift = -values
    along = (1, 1, 1, -1) if convolution.kind == "DEPTHWISE_CONV_2D" else (-1, 1, 1, 1)
    inputs = list(convolution.inputs)
    with np.errstate(all="ignore"):
        new_kernel = kernel.required_data * scale.reshape(along) if is_scale else kernel.required_data
        inputs[at[0]] = edit.added(kernel, new_kernel)
        inputs[at[1]] = edit.added(bias, bias.required_data * scale + shift)
    activation = own.attributes.get("activation", "NONE")
    attributes: dict[str, Any] = {**convolution.attributes, "activation": activation}
    edit.replace(index, replace(convolution, inputs=tuple(inputs), outputs=own.outputs, attributes=attributes))
    return True


def with_orders_folded(graph: Graph) -> Graph:
    """A 1 x 1 convolution that only reorders channels, as another order of the filters of the one before it."""
    edit = GraphEdit(graph)
    for index, own in enumerate(graph.operators):
        order = _order(edit, own)
        found = None if order is None else edit.writer(own.inputs[0], ("CONV_2D",))
        if order is None or found is None or edit.tensors[own.inputs[0]].quantization is not None:
            continue
        place, convolution = found
        source, *constants = convolution.inputs
        if edit.tensors[constants[0]].quantization is None:
            moved = [edit.added(edit.tensors[own], edit.tensors[own].required_data[order]) for own in constants]
            edit.replace(place, replace(convolution, inputs=(source, *moved), outputs=own.outputs))
            edit.remove(index)
    return edit.finished()


def _order(edit: GraphEdit, own: Operator) -> np.ndarray | None:
    """The input channel of each output channel, if a convolution does no more than that."""
    if own.kind != "CONV_2D" or own.attributes["activation"] != "NONE" or own.attributes["stride"] != (1, 1):
        return None
    kernel, bias = (edit.tensors[index].required_data for index in own.inputs[1:3])
    if kernel.shape[1:3] != (1, 1) or kernel.shape[0] != kernel.shape[3] or bias.any():
        return None
    order = kernel[:, 0, 0].argmax(axis=1)
    is_order = np.array_equal(kernel[:, 0, 0], np.eye(len(kernel), dtype=np.float32)[order])
    return order if is_order and len(set(order.tolist())) == len(order) else None
