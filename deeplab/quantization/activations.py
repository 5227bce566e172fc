"""Quantization parameters of the activations: the range at which values are clipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deeplab.network import INPUT, INPUT_BITS, pixel_parameters, tensor_indices
from deeplab.quantization.camera import read_by_table, whole_pixels
from deeplab.quantization.shared import moves_values, shared_tensors
from deeplab.quantization.types import ActivationQuantization, BitWidths, Range
from evaluation.graph import Graph

_CLIPPING_FACTORS = np.linspace(1.0, 0.3, 36)


@dataclass(frozen=True)
class Clipping:
    """The rule for the range at which an activation is clipped."""

    rule: Literal["mse", "percentile", "range"] = "mse"
    """`mse`: the share of the seen range that minimises the squared error of rounding and clipping; `percentile`: the
    range that holds `percentile` of the values on either side; `range`: the whole seen range."""
    percentile: float = 99.99
    """Per cent, for `percentile`."""


def input_parameters(network: Graph, bits: BitWidths) -> ActivationQuantization:
    """The quantization of the network's input, which the camera fixes. At 8 bits it is the frame's bytes less 128; with
    16-bit activations it has 16 bits."""
    if read_by_table(network, bits.activations):
        stated = network.tensors[tensor_indices(network)[INPUT]].quantization
        if stated is not None and bits.activations == INPUT_BITS:
            return ActivationQuantization(float(stated.scale[0]), int(stated.zero_point[0]), INPUT_BITS)
        factor, zero = pixel_parameters(network)
        most = float(np.abs(factor * (np.array([0.0, 255.0])[:, None] - zero)).max())
        return spanning(-most, most, bits.activations)
    pixels = whole_pixels(network)
    scale = float(pixels.scale[0])  # zero points by channel are those of the graph (`integer_graph`)
    if bits.activations == 16:
        return ActivationQuantization(scale, 0, 16)
    return ActivationQuantization(scale, int(pixels.zero_point[0]) - 128, INPUT_BITS)


def activation_parameters(
    network: Graph, ranges: Mapping[str, Range], bits: BitWidths, clipping: Clipping | None = None
) -> dict[int, ActivationQuantization]:
    """The quantization of each activation of a float network; tensors whose values are only moved share one."""
    parameters: dict[int, ActivationQuantization] = {}
    widths, entry = bits.by_activation(network), tensor_indices(network)[INPUT]
    for members in shared_tensors(network):
        if entry in members:
            shared = input_parameters(network, bits)
        elif (stated := _stated_parameters(network, members, widths[members[0]])) is not None:
            shared = stated
        elif (fixed := fixed_parameters(network, members, widths[members[0]])) is not None:
            shared = fixed
        else:
            names = (network.tensors[member].name for member in members)
            seen = [ranges[name] for name in names if name in ranges]
            shared = clipped_parameters(seen, widths[members[0]], clipping or Clipping())
        parameters.update(dict.fromkeys(members, shared))
    return parameters


def _stated_parameters(network: Graph, members: tuple[int, ...], bits: int) -> ActivationQuantization | None:
    """The parameters of 8 bits that the network's file states for an activation, or those of what it states for all
    that share them; None where it states nothing for one of them."""
    parameters = [
        network.tensors[member].quantization
        for member in members
        if network.tensors[member].dtype == "float32" and not _only_moves(network, member)
    ]
    stated = [one for one in parameters if one is not None]
    if bits != INPUT_BITS or not stated or len(stated) < len(parameters):
        return None
    found = {(float(one.scale[0]), int(one.zero_point[0])) for one in stated}
    if len(found) == 1:
        (scale, zero_point), *_ = found
        return ActivationQuantization(scale, zero_point, bits)
    lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    ends = [(scale * (lowest - zero_point), scale * (highest - zero_point)) for scale, zero_point in found]
    return spanning(min(low for low, _ in ends), max(high for _, high in ends), bits)


def _only_moves(network: Graph, tensor: int) -> bool:
    operator = next(operator for operator in network.operators if tensor in operator.outputs)
    return moves_values(network, operator)


def fixed_parameters(network: Graph, members: tuple[int, ...], bits: int) -> ActivationQuantization | None:
    """The parameters that TFLite's specification fixes for LOGISTIC and TANH, whose values are in (0, 1) and (-1, 1);
    None where tensors of other operators share them."""
    kinds = {
        operator.kind
        for operator in network.operators
        if operator.outputs[0] in members and not moves_values(network, operator)
    }
    if kinds == {"LOGISTIC"}:
        scale, zero_point = (2.0**-15, 0) if bits == 16 else (2.0**-bits, -(1 << (bits - 1)))
        return ActivationQuantization(scale, zero_point, bits)
    return ActivationQuantization(2.0 ** (1 - bits), 0, bits) if kinds == {"TANH"} else None


def has_fixed_parameters(network: Graph, tensor: int) -> bool:
    """Whether TFLite's specification fixes the parameters of an activation."""
    members = next(members for members in shared_tensors(network) if tensor in members)
    return fixed_parameters(network, members, network.tensors[tensor].bits) is not None


def clipped_parameters(ranges: list[Range], bits: int, clipping: Clipping) -> ActivationQuantization:
    """The quantization of values that were seen to span `ranges`."""
    low = min(0.0, *(seen.low for seen in ranges))
    high = max(0.0, *(seen.high for seen in ranges))
    sample = np.concatenate([seen.sample for seen in ranges]).astype(np.float64)
    if clipping.rule == "range" or not sample.size:
        return spanning(low, high, bits)
    if clipping.rule == "percentile":
        tails = np.percentile(sample, [100.0 - clipping.percentile, clipping.percentile])
        return spanning(max(low, min(0.0, tails[0])), min(high, max(0.0, tails[1])), bits)
    best: tuple[float, ActivationQuantization] | None = None
    rounded = np.empty_like(sample)  # written in place: fresh arrays of this size cost more than the arithmetic
    for factor in _CLIPPING_FACTORS:
        tried = spanning(low * factor, high * factor, bits)
        np.divide(sample, tried.scale, out=rounded)
        np.rint(rounded, out=rounded)
        np.clip(rounded, tried.low - tried.zero_point, tried.high - tried.zero_point, out=rounded)
        rounded *= tried.scale
        rounded -= sample
        error = float(np.square(rounded, out=rounded).sum())
        if best is None or error < best[0]:
            best = error, tried
    assert best is not None
    return best[1]


def spanning(low: float, high: float, bits: int) -> ActivationQuantization:
    """The quantization of values from `low`, at most 0, to `high`, at least 0."""
    lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if high - low == 0.0:
        return ActivationQuantization(1.0, 0, bits)
    if bits == 16:
        return ActivationQuantization(float(np.float32(max(-low, high) / highest)), 0, bits)
    scale = float(np.float32((high - low) / (highest - lowest)))
    zero_point = int(np.clip(np.rint(lowest - low / scale), lowest, highest))
    return ActivationQuantization(scale, zero_point, bits)
