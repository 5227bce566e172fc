"""Resize, by its sampling positions: of TFLite's three conventions the one that has ONNX's positions is taken.

ONNX states how positions follow from sizes by `coordinate_transformation_mode`, and how they are rounded by
`nearest_mode` (ONNX operators, Resize). Comparing the positions for the sizes at hand, not the names, accepts whatever
is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_values import NHWC, Activation, Value
from evaluation.graph.geometry import bilinear_taps, nearest_tap

Positions = npt.NDArray[np.float64]
_CONVENTIONS: dict[str, dict[str, Any]] = {
    "align_corners": {"align_corners": True, "half_pixel_centers": False},
    "half_pixel": {"align_corners": False, "half_pixel_centers": True},
    "legacy": {"align_corners": False, "half_pixel_centers": False},
}
"""Attributes of RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR."""
_PREFERRED = {"align_corners": "align_corners", "asymmetric": "legacy"}
"""By ONNX's mode: what is tried first, where several are the same; half_pixel for the others."""
_ROUNDED: dict[str, Callable[[Positions], Positions]] = {
    "round_prefer_floor": lambda position: np.ceil(position - 0.5),
    "round_prefer_ceil": lambda position: np.floor(position + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(call: Call) -> Value:
    """Resize of rows and columns: RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR."""
    image = call.image()
    mode = call.node.attribute("mode", "nearest")
    if mode not in ("nearest", "linear"):
        call.refuse(f"mode linear or nearest, not {mode}")
    outputs, scales = _sizes(call, image)
    if call.node.attribute("antialias", 0) and min(scales) < 1:
        call.refuse("a resize without antialias, or to a larger size")
    shape = (1, image.shape[1], *outputs)
    if outputs == image.shape[2:] and scales == (1.0, 1.0):
        return image
    flags = _convention(call, image.shape[2:], outputs, scales, mode)
    size = call.graph.integers(f"{call.node.name}/size", outputs)
    kind = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    result = Activation(0, shape, NHWC)
    return replace(result, tensor=call.operate(kind, (image.tensor, size), result.physical_shape, **flags))


def _sizes(call: Call, image: Activation) -> tuple[tuple[int, int], tuple[float, float]]:
    """(output size, scales) of rows and columns."""
    stated_scales, stated_sizes = call.optional(2, "scales"), call.optional(3, "sizes")
    axes = call.node.attribute("axes", tuple(range(4)))
    axes = tuple(call.axis(axis, 4) for axis in axes)
    scales, sizes = [1.0] * 4, list(image.shape)
    if stated_sizes is not None and stated_sizes.size:
        if call.node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
            call.refuse("keep_aspect_ratio_policy stretch")
        for axis, size in zip(axes, stated_sizes.reshape(-1).tolist(), strict=True):
            sizes[axis], scales[axis] = int(size), size / image.shape[axis]
    elif stated_scales is not None and stated_scales.size:
        for axis, scale in zip(axes, stated_scales.reshape(-1).tolist(), strict=True):
            sizes[axis], scales[axis] = int(np.floor(image.shape[axis] * scale)), scale
    else:
        call.refuse("constant sizes or scales")
    if min(scales) <= 0 or min(sizes) < 1 or sizes[:2] != list(image.shape[:2]):
        call.refuse(f"a resize of rows and columns, not {list(image.shape)} to {sizes}")
    return (sizes[2], sizes[3]), (scales[2], scales[3])


def _convention(
    call: Call, inputs: tuple[int, ...], outputs: tuple[int, int], scales: tuple[float, float], mode: str
) -> dict[str, Any]:
    transformation = call.node.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = call.node.attribute("nearest_mode", "round_prefer_floor")
    if rounding not in _ROUNDED:
        call.refuse(f"a nearest_mode of {', '.join(_ROUNDED)}, not {rounding}")
    preferred = _PREFERRED.get(transformation, "half_pixel")
    for name in sorted(_CONVENTIONS, key=lambda name: name != preferred):
        flags = _CONVENTIONS[name]
        if all(
            _is_same(_positions(call, transformation, *axis), axis[0], axis[1], mode, rounding, flags)
            for axis in zip(inputs, outputs, scales, strict=True)
        ):
            return flags
    how = f"{transformation}, {rounding}" if mode == "nearest" else transformation
    call.refuse(
        f"a {mode} resize that TFLite has (align_corners, half_pixel, or asymmetric); its samples of {list(inputs)} to "
        f"{list(outputs)} by {how} are others"
    )


def _positions(call: Call, transformation: str, size: int, outputs: int, scale: float) -> Positions:
    """The input position of each output position along one axis."""
    out = np.arange(outputs, dtype=np.float64)
    match transformation:
        case "half_pixel":
            return (out + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (out + 0.5) / scale - 0.5 if outputs > 1 else np.zeros(1)
        case "half_pixel_symmetric":
            offset = size / 2 * (1 - outputs / (scale * size))
            return offset + (out + 0.5) / scale - 0.5
        case "align_corners":
            return out * (size - 1) / (outputs - 1) if outputs > 1 else np.zeros(1)
        case "asymmetric":
            return out / scale
        case "tf_half_pixel_for_nn":
            return (out + 0.5) / scale
    call.refuse(f"a coordinate_transformation_mode of a whole image, not {transformation}")


def _is_same(positions: Positions, size: int, outputs: int, mode: str, rounding: str, flags: dict[str, Any]) -> bool:
    """Whether TFLite samples the same positions. Interpolation is that of the border beyond it, in both."""
    if mode == "nearest":
        # As float32: runtimes compute so, and a position is often half way between two.
        nearest = _ROUNDED[rounding](positions.astype(np.float32).astype(np.float64))
        return np.array_equal(np.clip(nearest, 0, size - 1), nearest_tap(size, outputs, flags))
    _, _, own = bilinear_taps(size, outputs, flags, fixed_point=False)
    tolerance = 1e-5 + size * 2.0**-20  # of positions in float32
    return bool(np.abs(np.clip(positions, 0, size - 1) - np.clip(own, 0, size - 1)).max() <= tolerance)
