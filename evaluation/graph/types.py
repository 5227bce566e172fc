"""The network as the planner, the interpreter and the C emitter see it: tensors and operators, nothing else.

Operator kinds and attribute names are those of the TFLite schema (`schema.fbs`), so that a graph read from a file and
one built or quantized here are the same thing. Activations are NHWC with N = 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

ABSENT = -1
"""Index of an optional operator input that is not there (as in the TFLite format)."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization, `real = scale * (q - zero_point)` (TFLite quantization specification)."""

    scale: npt.NDArray[np.float32]
    """float32, shape (1,) per tensor or (channels,) per channel."""
    zero_point: npt.NDArray[np.int64 | np.float64]
    """int64, same shape as `scale`. Float64 only for a camera frame whose zero is between two quantized values
    (127.5)."""
    axis: int | None = None
    """Axis the channels run along; None = per tensor."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """One value of the graph: an activation, or a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy name of the type it computes as: float32, int8, uint8, int16, int32, int64, bool."""
    bits: int
    """Bits one element takes where it is stored; below 8 the elements are packed densely by row. 16 for a float32
    constant that is stored as float16."""
    quantization: Quantization | None = None
    is_constant: bool = False
    data: np.ndarray | None = None
    """Values of a constant, `shape` and `dtype`. None for activations, and for constants of a network that is planned
    before it is trained."""
    density: float = 1.0
    """Share of non-zero values a constant without `data` will have (magnitude pruning sets it before training)."""
    stored_dense: bool = False
    """Whether a constant is stored dense even where a sparse format is smaller."""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def required_quantization(self) -> Quantization:
        """`quantization`, for code that works on quantized tensors only.

        Raises:
            ValueError: the tensor has none.
        """
        if self.quantization is None:
            raise ValueError(f"{self.name} is {self.dtype} without quantization parameters")
        return self.quantization

    @property
    def required_data(self) -> np.ndarray:
        """`data`, for code that computes with the values of constants.

        Raises:
            ValueError: the tensor has none, as it is an activation, or a constant of a network for plans only.
        """
        if self.data is None:
            raise ValueError(f"{self.name} has no values")
        return self.data


@dataclass(frozen=True, eq=False)
class Operator:
    """One operation. `kind` is the TFLite BuiltinOperator name, e.g. `CONV_2D`."""

    kind: str
    name: str
    inputs: tuple[int, ...]
    """Tensor indices in the operator's TFLite order (activation, weights, bias, ...), `ABSENT` where left out."""
    outputs: tuple[int, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes by kind:
    CONV_2D, DEPTHWISE_CONV_2D: stride (h, w), dilation (h, w), padding "SAME" | "VALID" | "EXPLICIT", with
        the last pads ((above, below), (left, right)), activation "NONE" | "RELU" | "RELU6" | "RELU_N1_TO_1";
        DEPTHWISE_CONV_2D also depth_multiplier.
    AVERAGE_POOL_2D, MAX_POOL_2D: filter (h, w), stride, padding, activation.
    ADD, SUB, MUL, FULLY_CONNECTED: activation.  CONCATENATION: axis, activation.
    RESIZE_BILINEAR: align_corners, half_pixel_centers (both False = TFLite's legacy convention).
    MEAN: axes, keep_dims.  ARG_MAX: axis.  SOFTMAX: beta.  RESHAPE, SQUEEZE: none (the output shape says it all).
    PAD, PADV2, MIRROR_PAD: paddings ((before, after), ...) by axis.  TRANSPOSE: permutation.
    STRIDED_SLICE: begin, end, strides, and the schema's masks.  SLICE: begin, size.  SPLIT, EXPAND_DIMS, CUMSUM: axis.
    SPLIT_V: sizes, axis.  GATHER, PACK, UNPACK, ONE_HOT: axis.  TOPK_V2: k.  SUM, REDUCE_*: axes, keep_dims.
    SPACE_TO_BATCH_ND: block_shape, paddings.  BATCH_TO_SPACE_ND: block_shape, crops.  TRANSPOSE_CONV: stride, padding,
        activation.  CONV_3D: as CONV_2D, with (depth, height, width).  MIRROR_PAD also mode "REFLECT" | "SYMMETRIC".
    DEPTH_TO_SPACE, SPACE_TO_DEPTH: block_size.  LEAKY_RELU: alpha.
    Any other kind: the numbers of its option table, named as in the schema, in snake case.
    Axes count from the front. Constant inputs that hold these values stay among the inputs.
    """


@dataclass(frozen=True, eq=False)
class Graph:
    """A single-subgraph network. Operators are in an executable (topological) order."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
