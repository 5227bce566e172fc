"""Interpreter functions by operator: one for each entry of `evaluation.kernels.registry` with kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evaluation.errors import UserError
from evaluation.interpreter.convolution import convolution, depthwise_convolution, fully_connected
from evaluation.interpreter.elementwise import (
    activation,
    add,
    dequantize,
    larger,
    prelu,
    product,
    quantize,
    quotient,
    smaller,
    squared_difference,
    subtract,
)
from evaluation.interpreter.layout import (
    argmax,
    concatenation,
    depth_to_space,
    mirror_pad,
    pad,
    part,
    reshape,
    space_to_depth,
    transpose,
)
from evaluation.interpreter.patch import PatchCall, Values
from evaluation.interpreter.pooling import average_pool, max_pool, mean, total
from evaluation.interpreter.resize import resize_argmax, resize_bilinear, resize_nearest
from evaluation.interpreter.softmax import softmax
from evaluation.interpreter.split import split
from evaluation.interpreter.table import elu, hard_swish, leaky_relu, logistic, tanh
from evaluation.interpreter.transposed import transposed_convolution
from evaluation.kernels.registry import Kinds
from evaluation.listing import listed, shortened

KernelFunction = Callable[[PatchCall], Values | tuple[Values, ...]]
"""Computes a region of an operator's output; a tuple for several outputs."""

FUNCTIONS: Mapping[Kinds, KernelFunction] = {
    ("ADD",): add,
    ("ARG_MAX",): argmax,
    ("AVERAGE_POOL_2D",): average_pool,
    ("CONCATENATION",): concatenation,
    ("CONV_2D",): convolution,
    ("DEPTHWISE_CONV_2D",): depthwise_convolution,
    ("DEPTH_TO_SPACE",): depth_to_space,
    ("DEQUANTIZE",): dequantize,
    ("DIV",): quotient,
    ("ELU",): elu,
    ("EXPAND_DIMS",): reshape,
    ("FULLY_CONNECTED",): fully_connected,
    ("HARD_SWISH",): hard_swish,
    ("LEAKY_RELU",): leaky_relu,
    ("LOGISTIC",): logistic,
    ("MAXIMUM",): larger,
    ("MAX_POOL_2D",): max_pool,
    ("MEAN",): mean,
    ("MINIMUM",): smaller,
    ("MIRROR_PAD",): mirror_pad,
    ("MUL",): product,
    ("PAD",): pad,
    ("PADV2",): pad,
    ("PRELU",): prelu,
    ("QUANTIZE",): quantize,
    ("RELU",): activation,
    ("RELU6",): activation,
    ("RELU_N1_TO_1",): activation,
    ("RESHAPE",): reshape,
    ("RESIZE_BILINEAR",): resize_bilinear,
    ("RESIZE_BILINEAR", "ARG_MAX"): resize_argmax,
    ("RESIZE_NEAREST_NEIGHBOR",): resize_nearest,
    ("SLICE",): part,
    ("SOFTMAX",): softmax,
    ("SPACE_TO_DEPTH",): space_to_depth,
    ("SPLIT",): split,
    ("SQUARED_DIFFERENCE",): squared_difference,
    ("SQUEEZE",): reshape,
    ("STRIDED_SLICE",): part,
    ("SUB",): subtract,
    ("SUM",): total,
    ("TANH",): tanh,
    ("TRANSPOSE",): transpose,
    ("TRANSPOSE_CONV",): transposed_convolution,
}
"""Function by the TFLite names of the operators of a call, several if fused."""


def function_of(kinds: Kinds, name: str) -> KernelFunction:
    """The function of an operator, or of a fused sequence of operators.

    Raises:
        UserError: there is none; names the operator.
    """
    function = FUNCTIONS.get(kinds)
    if function is None:
        raise UserError(
            f"{shortened(name)}: the interpreter has no kernel for {' + '.join(kinds)}; "
            f"it knows {listed(sorted(kinds[0] for kinds in FUNCTIONS if len(kinds) == 1))}"
        )
    return function
