"""Quantization parameters that TFLite forbids, found where a file is read.

TFLite's 8-bit quantization specification (ai.google.dev/edge/litert/models/quantization_spec; Jacob et al., arXiv
1712.05877) says which zero points and scales each operator takes. Its kernels rest on them: they add in int32, and
multiply by a 31-bit mantissa and a shift (`tensorflow/lite/kernels/internal/common.h`). A file that breaks the rules
would be computed with overflows and shifts that C does not define; it is refused by tensor and value.

Multipliers below 2^-31 are allowed, as in TFLite: they are 0, which the scales of unused channels lead to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from evaluation.graph.flatbuffer import RefusedError
from evaluation.graph.types import ABSENT, Graph, Operator, Tensor

_SPECIFICATION = "by TFLite's quantization specification"
WEIGHTED = {"CONV_2D": (0, 1, 2), "DEPTHWISE_CONV_2D": (0, 1, 2), "FULLY_CONNECTED": (0, 1, 2),
             "TRANSPOSE_CONV": (2, 1, 3)}  # fmt: skip
"""Positions of the activation, the weights and the bias among the inputs."""
_LARGEST_SUM = {8: (1 << 31) - 1, 16: (1 << 47) - 1}
"""Largest value of the accumulator, by the bits of the activations."""
_LARGEST_EXPONENT = {8: 30, 16: 7}
"""Largest exponent of a multiplier (`MultiplyByQuantizedMultiplier` of int32 and of int64 sums)."""
_BIAS_TOLERANCE = 0.02
"""Share of the output's scale by which s_input * s_weights and the bias's scale may differ (`kernel_util.cc`)."""
_ROUNDING = 1e-4
"""Share by which the two may differ however small the output's scale, as they are stored in float32."""
_RAISED_BITS = {8: 20, 16: 15}
"""Bits by which ADD and SUB shift their operands to the left (`add.cc`)."""
_SOFTMAX_BITS = 26
"""Fraction bits of SOFTMAX's differences (`softmax.cc`: kScaledDiffIntegerBits is 5)."""
_UNFUSED = ("TANH", "SIGN_BIT")
"""Fused activations that the schema names and no kernel computes."""
_RECURRENT = ("LSTM", "RNN", "SVDF")

Where = Callable[[int], str]
"""From a tensor's index to its name in a message."""


def check_quantization(graph: Graph) -> None:
    """Raise RefusedError, naming operator, tensor and value, at the first parameter that TFLite forbids."""

    def where(index: int) -> str:
        return f'tensor {index} "{graph.tensors[index].name[:60]}"'

    touched = {i for operator in graph.operators for i in (*operator.inputs, *operator.outputs) if i != ABSENT}
    for index in sorted(touched):
        _check_tensor(graph.tensors[index], where(index))
    for index, operator in enumerate(graph.operators):
        try:
            _check_operator(graph, operator, where)
        except RefusedError as refusal:
            raise RefusedError(f"operator {index} ({operator.kind}): {refusal}") from None


def fixed_output(kind: str, bits: int) -> tuple[float, int] | None:
    """(scale, zero point) that the output of an operator has whatever its values are, of a signed type of `bits`.

    Those of 8 and 16 bits are TFLite's; other widths follow 8 bits: the values reach over the operator's range.

    Returns:
        None for an operator whose output has any scale.
    """
    if kind in ("LOGISTIC", "TANH") and bits == 16:
        return 2.0**-15, 0
    if kind == "LOGISTIC" or (kind == "SOFTMAX" and bits <= 8):
        return 2.0**-bits, -(1 << (bits - 1))
    return (2.0 ** (1 - bits), 0) if kind == "TANH" else None


def exponent_of(real: float) -> int:
    """The power of two of a multiplier: real = fraction * 2^exponent, fraction in [1/2, 1) when rounded to 31 bits."""
    fraction, exponent = math.frexp(real)
    return exponent + (math.floor(fraction * (1 << 31) + 0.5) == 1 << 31)


def _check_tensor(tensor: Tensor, where: str) -> None:
    quantization, is_activation_type = tensor.quantization, tensor.dtype in ("int8", "uint8", "int16")
    if quantization is None or not (is_activation_type or tensor.dtype in ("int32", "int64")):
        return
    wrong = quantization.scale[~(np.isfinite(quantization.scale) & (quantization.scale > 0))]
    if wrong.size:
        raise RefusedError(f"{where} has the scale {wrong[0]:g}; {_SPECIFICATION} scales are finite and above 0")
    if not is_activation_type:
        return
    limits = np.iinfo(tensor.dtype)
    points = quantization.zero_point
    outside = points[(points < limits.min) | (points > limits.max)]
    if outside.size:
        raise RefusedError(
            f"{where} has the zero point {outside[0]}; {_SPECIFICATION} one of {tensor.dtype} is within "
            f"[{limits.min}, {limits.max}]"
        )
    if tensor.is_constant:
        return
    if quantization.scale.size > 1:
        raise RefusedError(
            f"{where} has {quantization.scale.size} scales; {_SPECIFICATION} activations have one, only weights have "
            "one for each channel"
        )
    if tensor.dtype == "int16" and points[0] != 0:
        raise RefusedError(f"{where} has the zero point {points[0]}; {_SPECIFICATION} one of int16 is 0")
    scale, info = float(quantization.scale[0]), np.finfo(np.float32)
    if not float(info.tiny) <= scale <= float(info.max) / (1 << tensor.bits):
        raise RefusedError(
            f"{where} has the scale {scale:g}, so that its real values are beyond float32; quantize the network again"
        )


def _check_operator(graph: Graph, operator: Operator, where: Where) -> None:
    activation = operator.attributes.get("activation", "NONE")
    if activation in _UNFUSED and not any(name in operator.kind for name in _RECURRENT):
        raise RefusedError(
            f"the fused activation {activation}, which no TFLite kernel computes; convert with it as an operator"
        )
    output = graph.tensors[operator.outputs[0]]
    if operator.kind == "CONCATENATION" and activation != "NONE":
        raise RefusedError(f"the fused activation {activation}, which TFLite's CONCATENATION refuses; convert without")
    if operator.kind == "SOFTMAX":
        _check_softmax(graph, operator, where)
    if operator.kind in WEIGHTED:
        _check_weighted(graph, operator, where)
    elif _is_quantized(output):
        for what, real, reach in _multipliers(graph, operator):
            _check_multiplier(what, real, reach, output)


def _is_quantized(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dtype in ("int8", "uint8", "int16") and tensor.quantization is not None


def _scale(tensor: Tensor) -> float:
    return float(tensor.required_quantization.scale[0])


def _width(tensor: Tensor) -> int:
    return 16 if tensor.dtype == "int16" else 8


def _reach(tensor: Tensor) -> int:
    """The largest magnitude of a quantized value less its zero point."""
    limits = np.iinfo(tensor.dtype)
    zero = int(tensor.required_quantization.zero_point[0])
    return max(zero - int(limits.min), int(limits.max) - zero)


def _check_multiplier(what: str, real: float, reach: int, output: Tensor) -> None:
    """Refuse a multiplier that overflows on values up to `reach`, in the arithmetic of the output's width."""
    if not 0 <= real < math.inf:
        raise RefusedError(f"{what} is {real:g}; multipliers are finite and at least 0")
    if real == 0:
        return
    exponent = exponent_of(real)
    if exponent > _LARGEST_EXPONENT[8] or reach << max(exponent, 0) > _LARGEST_SUM[8]:
        raise RefusedError(
            f"{what} is {real:g} for values up to {reach}, beyond the 32 bits of TFLite's fixed-point multiplication; "
            "quantize the network again"
        )


def _multipliers(graph: Graph, operator: Operator) -> Iterator[tuple[str, float, int]]:
    """(description, multiplier, largest value that it multiplies) of a quantized operator without weights."""
    kind, output = operator.kind, graph.tensors[operator.outputs[0]]
    inputs = [graph.tensors[index] for index in operator.inputs if index != ABSENT]
    quantized = [tensor for tensor in inputs if _is_quantized(tensor)]
    if not quantized:
        return
    first = quantized[0]
    ratio, shown = _scale(first) / _scale(output), "the ratio of its input's and output's scales"
    if kind in ("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "MEAN", "LEAKY_RELU", "PRELU"):
        yield shown, ratio, 2 * _reach(first)
    if kind == "LEAKY_RELU":
        yield "its slope times that ratio", ratio * operator.attributes["alpha"], 2 * _reach(first)
    if kind == "PRELU" and len(quantized) > 1:
        product = _scale(first) * _scale(quantized[1]) / _scale(output)
        yield "the product of its scales", product, _reach(first) * _reach(quantized[1])
    if kind == "MUL" and len(quantized) > 1:
        product = _scale(first) * _scale(quantized[1]) / _scale(output)
        yield "the product of its scales", product, _reach(first) * _reach(quantized[1])
    if kind in ("ADD", "SUB") and len(quantized) > 1:
        twice_largest = 2.0 * max(_scale(first), _scale(quantized[1]))
        result = twice_largest / ((1 << _RAISED_BITS[_width(output)]) * _scale(output))
        if result >= 1:  # QuantizeMultiplierSmallerThanOneExp
            raise RefusedError(
                f"its output's scale {_scale(output):g} is too small for its inputs' {_scale(first):g} and "
                f"{_scale(quantized[1]):g}; TFLite's multiplier is below 1 here"
            )
    if kind == "SQUARED_DIFFERENCE" and len(quantized) > 1:
        twice_largest = 2.0 * max(_scale(first), _scale(quantized[1]))
        if twice_largest * twice_largest >= (1 << 14) * _scale(output):  # QuantizeMultiplierSmallerThanOneExp
            raise RefusedError(
                f"its output's scale {_scale(output):g} is too small for its inputs' {_scale(first):g} and "
                f"{_scale(quantized[1]):g}; TFLite's multiplier is below 1 here"
            )
    if kind == "SUM":
        yield shown, ratio, 2 * _reach(first) * (first.elements // output.elements)
    if kind == "CONCATENATION":
        for tensor in quantized:
            yield "the ratio of an input's and its output's scales", _scale(tensor) / _scale(output), 2 * _reach(tensor)
    if kind == "HARD_SWISH" and exponent_of(ratio / (1 << 7)) > 0:
        raise RefusedError(f"{shown} is {ratio:g}; TFLite's HARD_SWISH takes ratios below 128")


def _check_softmax(graph: Graph, operator: Operator, where: Where) -> None:
    source, index = graph.tensors[operator.inputs[0]], operator.outputs[0]
    output, beta = graph.tensors[index], operator.attributes.get("beta", 1.0)
    if not math.isfinite(beta) or beta <= 0:
        raise RefusedError(f"its beta is {beta:g}; expected a number above 0")
    if not _is_quantized(source) or not _is_quantized(output) or output.dtype == "int16":
        return
    lowest = int(np.iinfo(output.dtype).min)
    scale, zero = _scale(output), int(output.required_quantization.zero_point[0])
    if zero != lowest or abs(scale * 256 - 1) > 1e-3:
        raise RefusedError(
            f"{where(index)} has the scale {scale:g} and zero point {zero}; {_SPECIFICATION} those of a SOFTMAX are "
            f"1/256 and {lowest}"
        )
    if beta * _scale(source) * (1 << _SOFTMAX_BITS) <= 1:  # QuantizeMultiplierGreaterThanOne
        raise RefusedError(
            f"{where(operator.inputs[0])} has the scale {_scale(source):g}, too small for TFLite's SOFTMAX: all values "
            "would be one"
        )


def _check_weighted(graph: Graph, operator: Operator, where: Where) -> None:
    """Check a quantized convolution or FULLY_CONNECTED: zero points, scales of each channel, and its largest sums."""
    at = [
        operator.inputs[position] if position < len(operator.inputs) else ABSENT for position in WEIGHTED[operator.kind]
    ]
    source, weights = graph.tensors[at[0]], graph.tensors[at[1]]
    output = graph.tensors[operator.outputs[0]]
    if source.dtype != output.dtype:
        raise RefusedError(
            f"takes {source.dtype} and gives {output.dtype}; TFLite's kernel gives the type that it takes"
        )
    if not _is_quantized(source) or not _is_quantized(output) or not _is_quantized(weights):
        return
    points = weights.required_quantization.zero_point
    if weights.dtype != "uint8" and points.any():
        raise RefusedError(
            f"its weights, {where(at[1])}, have the zero point {points[points != 0][0]}; {_SPECIFICATION} that of "
            f"{weights.dtype} weights is 0"
        )
    axis = len(weights.shape) - 1 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    if weights.required_quantization.axis not in (None, axis):
        raise RefusedError(
            f"its weights, {where(at[1])}, have scales along quantized_dimension {weights.required_quantization.axis}; "
            f"{_SPECIFICATION} it is {axis}"
        )
    products = float(source.required_quantization.scale[0]) * weights.required_quantization.scale.astype(np.float64)
    bias = None if at[2] == ABSENT else graph.tensors[at[2]]
    if bias is not None and bias.quantization is not None:
        # TFLite compares them where one scale serves all channels in its kernels; the others do not read the bias's.
        compared = operator.kind == "FULLY_CONNECTED" or weights.dtype == "uint8"
        _check_bias(bias, where(at[2]), products, _scale(output), scales_count=compared and products.size == 1)
    if weights.data is not None:
        _check_sums(source, weights, axis, bias, products / _scale(output))


def _check_bias(
    bias: Tensor, where: str, products: npt.NDArray[np.float64], scale_out: float, *, scales_count: bool
) -> None:
    points = bias.required_quantization.zero_point
    if points.any():
        raise RefusedError(
            f"its bias, {where}, has the zero point {points[points != 0][0]}; {_SPECIFICATION} that of a bias is 0"
        )
    if bias.required_quantization.scale.size not in (1, products.size) and products.size != 1:
        raise RefusedError(
            f"its bias, {where}, has {bias.required_quantization.scale.size} scales and its weights {products.size}"
        )
    misfit = bias_misfit(bias, products, scale_out) if scales_count else None
    if misfit is not None:
        raise RefusedError(
            f"its bias, {where}, has the scale {misfit[0]:g}; {_SPECIFICATION} it is that of the input times that of "
            f"the weights, {misfit[1]:g}"
        )


def bias_misfit(bias: Tensor, products: npt.NDArray[np.float64], scale_out: float) -> tuple[float, float] | None:
    """The first scale of a bias that is not s_input * s_weights (`products`), and the product; None if all are."""
    scales = bias.required_quantization.scale.astype(np.float64)
    difference = np.abs(products - scales)
    misfit = (difference > _BIAS_TOLERANCE * scale_out) & (difference > _ROUNDING * products)
    if not misfit.any():
        return None
    scale, product = (np.broadcast_to(each, misfit.shape)[np.argmax(misfit)] for each in (scales, products))
    return float(scale), float(product)


def _check_sums(
    source: Tensor, weights: Tensor, axis: int, bias: Tensor | None, multipliers: npt.NDArray[np.float64]
) -> None:
    """Refuse a channel whose sum, or its product with the multiplier's power of two, overflows the accumulator."""
    width = _width(source)
    centred = np.abs(weights.required_data.astype(np.int64) - int(weights.required_quantization.zero_point[0]))
    largest = np.moveaxis(centred, axis, 0).reshape(weights.shape[axis], -1).sum(axis=1)
    limits = np.iinfo(source.dtype)
    largest_input = max(-int(limits.min), int(limits.max)) + abs(int(source.required_quantization.zero_point[0]))
    sums = [largest_input * int(each) for each in largest]
    if bias is not None and bias.data is not None and bias.data.size == len(sums):
        sums = [each + abs(int(value)) for each, value in zip(sums, bias.data.reshape(-1), strict=True)]
    for channel, reach in enumerate(sums):
        real = float(multipliers[channel if multipliers.size > 1 else 0])
        exponent = exponent_of(real) if real < math.inf else 1 << 10
        if reach > _LARGEST_SUM[width]:
            raise RefusedError(
                f"the sums of output channel {channel} can reach {reach}, beyond TFLite's "
                f"{32 if width == 8 else 48}-bit accumulator; quantize the network again"
            )
        if exponent > _LARGEST_EXPONENT[width] or (width == 8 and reach << max(exponent, 0) > _LARGEST_SUM[8]):
            raise RefusedError(
                f"output channel {channel} is multiplied by {real:g} (scales of input times weights by output's), a "
                "shift beyond TFLite's fixed-point arithmetic; quantize the network again"
            )
