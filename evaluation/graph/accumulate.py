"""The type in which a global pool, a MEAN or a SUM adds its elements.

The planner counts it, the interpreter and the C program add in it. Quantized values are added as they are; zero points
enter after the last element. So the sum can at most be the number of elements times the extreme value, and the
narrowest type that holds this can never overflow, at any element.
"""

from __future__ import annotations

from evaluation.graph.types import Tensor

_WIDTHS = {16: "int16", 32: "int32", 64: "int64"}


def accumulator_dtype(tensor: Tensor, count: int) -> str:
    """numpy name of the type that holds the sum of any `count` elements of a tensor.

    int16, int32 or int64, the first that is wide enough for `count` times the quantized value of largest magnitude;
    float32 for a float tensor, whatever the count.
    """
    if tensor.dtype.startswith("float"):
        return "float32"
    extreme = (1 << tensor.bits) - 1 if tensor.dtype.startswith("u") else 1 << (tensor.bits - 1)
    return next((name for width, name in _WIDTHS.items() if count * extreme <= (1 << (width - 1)) - 1), "int64")
