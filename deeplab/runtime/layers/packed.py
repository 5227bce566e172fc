"""CONV_2D, FULLY_CONNECTED and DEPTHWISE_CONV_2D on codes of up to 16 bits, with weights of 2 to 16 bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.runtime.layer import Constant, KernelDescriptor, KernelSite, Makers, Value
from deeplab.runtime.layers.convolution import blocked, padding_of, rescaling_fields, window_fields
from deeplab.runtime.layers.weight_formats import PLAIN, stored_fields
from evaluation.graph import Tensor
from evaluation.graph.regions import extent
from evaluation.interpreter.convolution import effective_scales
from evaluation.interpreter.requantize import activation_range, quantize_multipliers, zero_point_of
from evaluation.kernels.weights import multiplies_bytes

ROUND_TWICE, ROUND_ONCE, ROUND_WIDE = range(3)
"""`enum rounding` of `c/low_bit/rescale.h`."""
MOST_TAPS = 256
"""Of a depthwise kernel, as in `c/low_bit/depthwise.c`."""


def convolution(site: KernelSite) -> KernelDescriptor | None:
    """CONV_2D or FULLY_CONNECTED of signed codes."""
    if not _is_signed(site):
        return None
    weights = site.required_constant(1)
    kernel = weights if weights.ndim == 4 else weights.reshape(weights.shape[0], 1, 1, weights.shape[1])
    own: dict[str, Value] = {"round_once": site.operator.kind == "FULLY_CONNECTED", "padding": None}
    if site.operator.kind == "FULLY_CONNECTED":
        if site.source.elements != kernel.shape[3] or (site.source.bits < 8 and extent(site.source)[0] > 1):
            return None  # several results at once; or rows of the source that do not join, each begins on a byte
        geometry = {
            **dict.fromkeys(("in_rows", "in_columns", "stride_rows", "stride_columns"), 1),
            **dict.fromkeys(("dilation_rows", "dilation_columns"), 1),
            "in_channels": kernel.shape[3],
        }
    else:
        geometry = window_fields(site)
        own["padding"] = padding_of(site, geometry, kernel.shape[1:3])
        if kernel.shape[3] != geometry["in_channels"]:
            raise site.refused("grouped convolution cannot be run; split it into one for each group")
    rows = kernel.reshape(len(kernel), -1)
    if multiplies_bytes(site.graph, site.number):
        return _layer_of_bytes(site, "packed_convolution", rows, {**geometry, **own}, kernel.shape[1:3])
    return _layer(site, "low_bit_convolution", rows, geometry, kernel.shape[1:3])


def depthwise(site: KernelSite) -> KernelDescriptor | None:
    """DEPTHWISE_CONV_2D of signed codes."""
    if not _is_signed(site):
        return None
    weights = site.required_constant(1)
    rows = np.ascontiguousarray(weights.reshape(-1, weights.shape[3]).T)
    if rows.shape[1] > MOST_TAPS:
        raise site.refused(f"its filter has {rows.shape[1]} taps; the C program has room for {MOST_TAPS}")
    if site.is_packed and multiplies_bytes(site.graph, site.number):
        own: dict[str, Value] = {**window_fields(site), "in_zero": zero_point_of(site.source)}
        return _layer_of_bytes(site, "packed_depthwise", rows, own, weights.shape[1:3])
    return _layer(site, "low_bit_depthwise", rows, window_fields(site), weights.shape[1:3])


LAYERS: Makers = {("CONV_2D",): convolution, ("FULLY_CONNECTED",): convolution, ("DEPTHWISE_CONV_2D",): depthwise}


def is_signed_code(tensor: Tensor) -> bool:
    """Whether a tensor holds signed codes of at most 16 bits."""
    return tensor.dtype in ("int8", "int16") and tensor.quantization is not None


def _is_signed(site: KernelSite) -> bool:
    """Whether input, weights and output are signed codes, the weights without zero points."""
    weights = site.required_tensor(1)
    tensors = (site.source, weights, site.output)
    if not all(is_signed_code(tensor) for tensor in tensors) or not weights.is_constant:
        return False
    return not weights.required_quantization.zero_point.any()


def _layer(
    site: KernelSite, kernel: str, rows: np.ndarray, geometry: Mapping[str, int], filter_size: tuple[int, int]
) -> KernelDescriptor:
    """The layer of kernels `rows` (output channels, values)."""
    mantissas, exponents = quantize_multipliers(
        effective_scales(site.operator.kind, site.source, site.required_tensor(1), site.output)
    )
    lowest, highest = activation_range(site.operator.attributes.get("activation", "NONE"), site.output)
    bias = _bias(site, rows)
    fields: dict[str, Value] = {
        **stored_fields(site, rows),
        "bias": Constant(f"bias_{site.number}", bias),
        "multipliers": Constant(f"multipliers_{site.number}", mantissas.astype(np.int32)),
        "shifts": Constant(f"shifts_{site.number}", exponents.astype(np.int8)),
        **geometry,
        "out_channels": len(rows),
        "filter_rows": filter_size[0],
        "filter_columns": filter_size[1],
        "in_zero": zero_point_of(site.source),
        "out_zero": zero_point_of(site.output),
        "lowest": lowest,
        "highest": highest,
        "wide_bias": bias.dtype == np.int64,
        "per_channel": mantissas.size > 1,
        "rounding": _rounding(site),
    }
    return KernelDescriptor(f"low_bit/{kernel.removeprefix('low_bit_')}", kernel, f"{kernel}_layer", fields)


def _layer_of_bytes(
    site: KernelSite, kernel: str, rows: np.ndarray, own: dict[str, Value], filter_size: tuple[int, int]
) -> KernelDescriptor:
    """The layer of kernels `rows` (output channels, values) that a kernel for bytes multiplies, once they are unpacked.

    Args:
        own: what is particular to the kernel for bytes.
    """
    stored = stored_fields(site, rows)
    if stored["format"] == PLAIN:
        stored["weights"] = Constant(site.name_of("weights", 1), blocked(rows))
    plain: dict[str, Value] = {
        "weights": stored["weights"],
        **rescaling_fields(site, rows),
        **own,
        "out_channels": len(rows),
        "filter_rows": filter_size[0],
        "filter_columns": filter_size[1],
    }
    fields: dict[str, Value] = {f"plain.{name}": value for name, value in plain.items()}
    fields |= {name: stored[name] for name in ("entries", "format", "weight_bits")}
    return KernelDescriptor(f"low_bit/{kernel.removeprefix('low_bit_')}", kernel, f"{kernel}_layer", fields)


def _rounding(site: KernelSite) -> int:
    """As the interpreter rounds (`evaluation.interpreter.convolution`)."""
    if site.source.dtype == "int16":
        return ROUND_WIDE
    return ROUND_ONCE if site.operator.kind == "FULLY_CONNECTED" else ROUND_TWICE


def _bias(site: KernelSite, rows: np.ndarray) -> np.ndarray:
    """Bias less the input's zero point times each kernel's sum, so that codes are multiplied as they are; int64 with
    16-bit activations, and where 16-bit weights would carry it beyond int32."""
    bias = site.constant(2)
    folded = (0 if bias is None else bias.astype(np.int64)) - zero_point_of(site.source) * rows.astype(np.int64).sum(1)
    wide = site.output.dtype == "int16" or np.abs(folded).max() > np.iinfo(np.int32).max
    return folded.astype(np.int64 if wide else np.int32)
