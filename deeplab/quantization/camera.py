"""The camera's pixels in an integer network: whole zero points and one scale, or a table for each channel.

An integer network reads the frame's bytes p as the int8 p - 128, so that nothing is computed of them. A float network
may read scale_c (p - zero_c), with other parameters for each channel, and a zero between two bytes. The scales are
folded into the kernels that read the input, and what rounding moves a zero by into their biases. Zero points may differ
by channel in front of dense convolutions, of which padding is a pixel of its own; in front of others all channels have
one, and padding differs from that of the float network by what is left.

Where the network's file states parameters of the input, and with 16-bit activations, each pixel value of a channel is
quantized by a table instead, and nothing is folded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deeplab.network import (
    CONVOLUTIONS,
    FLOAT_INPUT_ZERO,
    FRAME,
    INPUT,
    INPUT_BITS,
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    bias,
    groups,
    is_depthwise,
    kernel,
    pixel_parameters,
    tensor_indices,
    with_tensors,
    with_weights,
)
from evaluation.graph import Graph, Quantization

_MOST = 255


def read_by_table(network: Graph, activation_bits: int) -> bool:
    """Whether the integer network's input is quantized from the frame by tables."""
    stated = network.tensors[tensor_indices(network)[INPUT]].quantization is not None
    if activation_bits == 16:
        scale, zero = pixel_parameters(network)
        return scale.size > 1 or not (_is_symmetric(network) or float(zero[0]).is_integer())
    return stated and activation_bits == INPUT_BITS


def whole_pixels(network: Graph) -> Quantization:
    """Parameters of a network's pixels in integers: scale, float32, and zero point, int64, each (1,) or (3,).

    Args:
        network: in float.
    """
    scale, zero = pixel_parameters(network)
    if _is_symmetric(network):  # 127 is taken for 127.5, as by TFLite's converter; nothing is folded
        return Quantization(scale, np.array([INPUT_ZERO_POINT], np.int64))
    if scale.size > 1:
        scale = scale if np.ptp(scale) == 0.0 else np.full(3, INPUT_SCALE, np.float32)
    if scale.size > 1 and not _is_read_by_dense_convolutions(network):
        scale, zero = scale[:1], zero.mean(keepdims=True)
    whole = np.clip(np.rint(zero), 0, _MOST).astype(np.int64)
    return Quantization(scale, whole, 3 if scale.size > 1 else None)


def for_integers(network: Graph, activation_bits: int) -> Graph:
    """The float network that an integer one is made of."""
    return network if read_by_table(network, activation_bits) else with_whole_pixels(network)


def with_whole_pixels(network: Graph) -> Graph:
    """The float network whose pixels have the parameters `whole_pixels`, the difference folded into what reads them.

    Raises:
        ValueError: an operator that is no convolution reads them; names it.
    """
    pixels, entry = whole_pixels(network), tensor_indices(network)[INPUT]
    scale, zero = pixel_parameters(network)
    if _is_symmetric(network) or (np.array_equal(scale, pixels.scale) and np.array_equal(zero, pixels.zero_point)):
        return network
    changed = {}
    for operator in network.operators:
        if entry not in operator.inputs:
            continue
        if operator.kind not in CONVOLUTIONS or kernel(network, operator).shape[2] != 3:
            raise ValueError(f"{operator.kind} {operator.name!r} reads the image")
        own = kernel(network, operator).astype(np.float64)
        by_channel_scaled = own * np.broadcast_to(scale.astype(np.float64), (3,))[:, None]
        moved = np.broadcast_to(pixels.zero_point - zero.astype(np.float64), (3,))
        shift = (by_channel_scaled * moved[:, None]).sum(axis=(0, 1, 3) if is_depthwise(operator) else (0, 1, 2))
        changed[f"{operator.name}/kernel"] = (by_channel_scaled / np.float64(pixels.scale[0])).astype(np.float32)
        changed[f"{operator.name}/bias"] = (bias(network, operator) + shift).astype(np.float32)
    frame = tensor_indices(network)[FRAME]
    camera = replace(pixels, zero_point=pixels.zero_point.astype(np.float64))
    read = replace(network.tensors[entry], quantization=None)  # what a file states is of other values
    network = with_tensors(network, {frame: replace(network.tensors[frame], quantization=camera), entry: read})
    return with_weights(network, changed)


def _is_symmetric(network: Graph) -> bool:
    """Whether a float network reads values in [-1, 1]."""
    _, zero = pixel_parameters(network)
    return zero.size == 1 and float(zero[0]) == FLOAT_INPUT_ZERO


def _is_read_by_dense_convolutions(network: Graph) -> bool:
    entry = tensor_indices(network)[INPUT]
    readers = [operator for operator in network.operators if entry in operator.inputs]
    return all(operator.kind == "CONV_2D" and groups(network, operator) == 1 for operator in readers)
