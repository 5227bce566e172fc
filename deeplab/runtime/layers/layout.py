"""Descriptors of data-movement operators on elements of any whole number of bytes, and on sub-byte ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from evaluation.graph import Tensor
from evaluation.graph.regions import extent
from evaluation.interpreter.requantize import integer_range, quantize_multiplier, scale_of, zero_point_of
from evaluation.kernels.arrays import differ_in_quantization, moved_axes, moved_parts
from evaluation.kernels.constants import MOST_AXES
from evaluation.kernels.descriptors import int8, low_bit


def moved(site: KernelSite) -> Fields:
    """RESHAPE, SQUEEZE, EXPAND_DIMS, TRANSPOSE, SLICE, STRIDED_SLICE and SPLIT, as strided reads."""
    source, operator = site.source, site.operator
    numbers = np.arange(source.elements, dtype=np.int64).reshape(source.shape)
    parts = moved_parts(operator, numbers)
    axes = moved_axes(parts[0])
    if len(axes) > MOST_AXES:
        raise site.refused(
            f"it moves values along {len(axes)} axes, but at most {MOST_AXES} can be run; split it in two"
        )
    table = np.array([size for size, _ in axes] + [step for _, step in axes], np.int32)
    fields: Fields = {
        "axes": Constant(f"axes_{site.number}", table),
        "first": int(parts[0].flat[0]),
        "next": int(parts[1].flat[0]) if len(parts) > 1 else 0,
        "in_channels": extent(source)[2],
        "out_channels": extent(site.output)[2],
        "rank": len(axes),
        "outputs": len(operator.outputs),
    }
    return fields


def low_bit_moved(site: KernelSite) -> Fields:
    """The same of sub-byte elements, whose rows begin on whole bytes."""
    fields: Fields = {f"plain.{name}": value for name, value in moved(site).items()}
    return fields | {"in_columns": extent(site.source)[1], "out_columns": extent(site.output)[1]}


def copy(site: KernelSite) -> Fields:
    """Copies of rows into a row cache."""
    return {"channels": extent(site.source)[2]}


def mirror_pad(site: KernelSite) -> Fields:
    """MIRROR_PAD."""
    source, output = site.source, site.output
    paddings = ((0, 0),) * 3 + tuple(site.operator.attributes["paddings"])
    sizes = (1,) * 3 + source.shape
    if any(before or after for before, after in paddings[:-3]) or max(sizes[:-3]) > 1:
        raise site.refused("padding of more than the last three axes cannot be run")
    is_symmetric = site.operator.attributes["mode"] == "SYMMETRIC"
    for size, pair in zip(sizes[-3:], paddings[-3:], strict=True):
        if max(pair) > size - (not is_symmetric):
            raise site.refused(f"a mirrored border of {max(pair)} needs an axis as long, not of {size}")
    fields: Fields = {
        "in_size": sizes[-3:],
        "out_size": ((1,) * 3 + output.shape)[-3:],
        "before": tuple(before for before, _ in paddings[-3:]),
        "in_channels": extent(source)[2],
        "out_channels": extent(output)[2],
        "repeats_border": is_symmetric,
    }
    return fields


def pad(site: KernelSite) -> Fields:
    """PAD and PADV2 of rows and columns."""
    source, output, operator = site.source, site.output, site.operator
    if source.bits > 32:
        raise site.refused(f"elements of {source.bits} bits cannot be padded")
    paddings = operator.attributes["paddings"]
    if len(output.shape) != 4 or any(paddings[0]) or any(paddings[3]):
        raise site.refused("only rows and columns of an image can be padded")
    fill = np.dtype(output.dtype).type(0 if output.dtype == "float32" else zero_point_of(output))
    if operator.kind == "PADV2":
        fill = site.required_constant(2).reshape(-1)[0]
    rows, columns, channels = extent(source)
    fields: Fields = {
        "fill": int.from_bytes(fill.tobytes(), "little"),
        "in_rows": rows,
        "in_columns": columns,
        "channels": channels,
        "top": paddings[1][0],
        "left": paddings[2][0],
    }
    return fields


def blocks(site: KernelSite) -> Fields:
    """DEPTH_TO_SPACE and SPACE_TO_DEPTH."""
    kind = site.operator.kind
    shallow = site.output if kind == "DEPTH_TO_SPACE" else site.source
    fields: Fields = {"block": site.operator.attributes["block_size"], "channels": extent(shallow)[2]}
    return fields


def resize_nearest(site: KernelSite) -> Fields:
    """RESIZE_NEAREST_NEIGHBOR."""
    source, output, attributes = site.source, site.output, site.operator.attributes
    rows, columns, channels = extent(source)
    fields: Fields = {"in_rows": rows, "in_columns": columns, "channels": channels}
    fields["offset"] = 0.5 if attributes.get("half_pixel_centers", False) else 0.0
    for axis, name in enumerate(("rows", "columns")):
        size_in, size_out = extent(source)[axis], extent(output)[axis]
        aligned = attributes.get("align_corners", False) and size_out > 1
        fields[f"step_{name}"] = np.float32(size_in - aligned) / np.float32(size_out - aligned)
        fields[f"rounds_{name}"] = aligned
    return fields


def join(site: KernelSite) -> Fields:
    """CONCATENATION along the channels that is not elided."""
    output, operator = site.output, site.operator
    inputs = [site.graph.tensors[operand.tensor] for operand in site.call.reads]
    if len(inputs) != len(operator.inputs):
        raise site.refused("a constant input cannot be run; fold it into the operators that follow")
    if operator.attributes["axis"] % len(output.shape) != len(output.shape) - 1 or any(
        extent(tensor)[2] != tensor.shape[-1] for tensor in (*inputs, output)
    ):
        raise site.refused("only channels of images of shape (1, rows, columns, channels) can be joined")
    lowest, highest, zero = 0, 0, 0
    if output.quantization is not None and output.dtype != "float32":
        (lowest, highest), zero = integer_range(output), zero_point_of(output)
    fields: Fields = {
        "channels": Constant(f"channels_{site.number}", np.array([extent(t)[2] for t in inputs], np.uint16)),
        **_requantization(site, inputs),
        "out_zero": zero,
        "lowest": lowest,
        "highest": highest,
        "inputs": len(inputs),
    }
    return fields


FILLERS: Fillers = {
    int8.STRIDED: moved,
    low_bit.STRIDED: low_bit_moved,
    int8.MIRROR_PAD: mirror_pad,
    int8.PAD: pad,
    low_bit.PAD: pad,
    int8.DEPTH_TO_SPACE: blocks,
    int8.SPACE_TO_DEPTH: blocks,
    int8.RESIZE_NEAREST: resize_nearest,
    low_bit.RESIZE_NEAREST: resize_nearest,
    int8.JOIN: join,
    int8.COPY: copy,
}


def _requantization(site: KernelSite, inputs: Sequence[Tensor]) -> Fields:
    """Arrays with the requantization of each input; none where all inputs have the output's quantization."""
    output, number = site.output, site.number
    if output.dtype == "float32" or output.quantization is None:
        return {}
    zeros = [zero_point_of(t) for t in inputs]
    differ = differ_in_quantization(inputs, output)
    if not any(differ):
        return {}
    if any(t.bits != 8 or t.dtype != output.dtype for t in (*inputs, output)):
        raise site.refused("inputs of several quantizations can be joined as int8 or uint8 only; quantize them alike")
    if output.dtype == "uint8":
        scales = [scale_of(t) * (np.float32(1.0) / scale_of(output)) for t in inputs]
        offsets = [np.float32(-zero) * scale for zero, scale in zip(zeros, scales, strict=True)]
        used = [scale if is_other else np.float32(0) for scale, is_other in zip(scales, differ, strict=True)]
        return {
            "scales": Constant(f"scales_{number}", np.array(used, np.float32)),
            "offsets": Constant(f"offsets_{number}", np.array(offsets, np.float32)),
        }
    pairs = [quantize_multiplier(float(scale_of(t)) / float(scale_of(output))) for t in inputs]
    mantissas = [pair[0] if is_other else 0 for pair, is_other in zip(pairs, differ, strict=True)]
    return {
        "multipliers": Constant(f"multipliers_{number}", np.array(mantissas, np.int32)),
        "shifts": Constant(f"shifts_{number}", np.array([exponent for _, exponent in pairs], np.int8)),
        "zeros": Constant(f"zeros_{number}", np.array(zeros, np.int16)),
    }
