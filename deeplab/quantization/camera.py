"""The camera's pixels in an integer network: one scale and one whole zero point, whatever the float network reads.

An integer network reads the frame's bytes p as the int8 p - 128, so that nothing is computed of them. A float network
may read scale_c (p - zero_c), with other parameters for each channel, or a zero between two bytes. What differs is
folded into the kernels and biases that read the input, exactly but at the edges: padding has the one zero point there,
not zero_c.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deeplab.network import (
    CONVOLUTIONS,
    FLOAT_INPUT_ZERO,
    FRAME,
    INPUT,
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    bias,
    is_depthwise,
    kernel,
    pixel_parameters,
    tensor_indices,
    with_tensors,
    with_weights,
)
from evaluation.graph import Graph, Quantization

_MOST = 255


def whole_pixels(network: Graph) -> Quantization:
    """Scale, float32 (1,), and zero point, int64 (1,), of a network's pixels in integers."""
    scale, zero = pixel_parameters(network)
    if scale.size > 1:
        scale = np.array([INPUT_SCALE], np.float32)
    # Networks trained on [-1, 1] take 127 for 127.5, as TFLite's converter does; nothing is folded for them.
    whole = INPUT_ZERO_POINT if _is_symmetric(network) else int(np.clip(np.rint(zero.mean()), 0, _MOST))
    return Quantization(scale, np.array([whole], np.int64))


def reads_whole_pixels(network: Graph) -> bool:
    """Whether a float network's pixels have parameters that integers can have, or those of [-1, 1]."""
    scale, zero = pixel_parameters(network)
    return scale.size == 1 and (_is_symmetric(network) or (float(zero[0]).is_integer() and 0 <= zero[0] <= _MOST))


def with_whole_pixels(network: Graph) -> Graph:
    """The float network whose pixels have the parameters `whole_pixels`, the difference folded into what reads them.

    Raises:
        ValueError: an operator that is no convolution reads them; names it.
    """
    if reads_whole_pixels(network):
        return network
    pixels, entry = whole_pixels(network), tensor_indices(network)[INPUT]
    scale, zero = (np.broadcast_to(one.astype(np.float64), (3,)) for one in pixel_parameters(network))
    whole = float(pixels.zero_point[0])
    changed = {}
    for operator in network.operators:
        if entry not in operator.inputs:
            continue
        if operator.kind not in CONVOLUTIONS or kernel(network, operator).shape[2] != len(scale):
            raise ValueError(f"{operator.kind} {operator.name!r} reads the image")
        own = kernel(network, operator).astype(np.float64)
        by_channel = own * scale[:, None]
        shift = (by_channel * (whole - zero)[:, None]).sum(axis=(0, 1, 3) if is_depthwise(operator) else (0, 1, 2))
        changed[f"{operator.name}/kernel"] = (by_channel / float(pixels.scale[0])).astype(np.float32)
        changed[f"{operator.name}/bias"] = (bias(network, operator) + shift).astype(np.float32)
    frame = tensor_indices(network)[FRAME]
    camera = Quantization(pixels.scale, pixels.zero_point.astype(np.float64))
    network = with_tensors(network, {frame: replace(network.tensors[frame], quantization=camera)})
    return with_weights(network, changed)


def _is_symmetric(network: Graph) -> bool:
    """Whether a float network reads values in [-1, 1]."""
    _, zero = pixel_parameters(network)
    return zero.size == 1 and float(zero[0]) == FLOAT_INPUT_ZERO
