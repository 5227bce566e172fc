"""Networks as `.tflite` files: read, planned in two tiles, and run by the interpreter where that is quick."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from deeplab.runtime.inputs import random_input
from evaluation.graph import Graph, Operator, Quantization, Tensor, graph_macs, read_tflite, write_tflite
from evaluation.interpreter import execute
from evaluation.interpreter.whole import run_whole
from evaluation.planner import plan
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited

MOST_OPERATORS, MOST_ELEMENTS, MOST_MACS = 40, 1 << 20, 1 << 22
"""Of what is planned and run: a changed shape may ask for hours, and rightly so."""


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    networks = [write_tflite(small_network(dtype)) for dtype in ("int8", "uint8", "float32")]
    if shared is not None:
        # No weights to speak of: most edits fall on the structure.
        networks += [(shared / "planner_cases" / "networks" / "mlperf_tiny__kws_ref_model.tflite").read_bytes()]
    return edited(networks, most_edits=3)


def run(data: bytes, folder: Path) -> None:
    path = folder / "network.tflite"
    path.write_bytes(data)
    graph = read_tflite(path)
    if len(graph.operators) > MOST_OPERATORS or max(tensor.elements for tensor in graph.tensors) > MOST_ELEMENTS:
        return
    made = plan(graph, 2)
    if made.lower_bound_bytes > made.arena_bytes:
        raise WrongResultError(f"an arena of {made.arena_bytes} bytes below its bound of {made.lower_bound_bytes}")
    if graph_macs(graph) > MOST_MACS or len(graph.inputs) > 1:
        return
    values = random_input(graph)
    with np.errstate(all="ignore"):
        planned, whole = execute(graph, made, values).outputs, run_whole(graph, values)
    for tensor, found in planned.items():
        if found.tobytes() != whole[tensor].astype(found.dtype).tobytes():
            raise WrongResultError(f"output {tensor} is another in tiles than as a whole")


def small_network(dtype: str) -> Graph:
    """Two convolutions, a pool, a resize and labels over an image of 8 x 8."""
    is_float = dtype == "float32"
    rng = np.random.default_rng(1)
    tensors: list[Tensor] = []
    operators: list[Operator] = []

    def tensor(
        name: str, shape: tuple[int, ...], kind: str, data: np.ndarray | None = None, scale: float = 0.05
    ) -> int:
        zero = 128 if kind == "uint8" else 0
        quantization = None
        if not is_float and kind in (dtype, "int32") and scale:
            quantization = Quantization(np.full(1, scale, np.float32), np.full(1, zero, np.int64))
        bits = 8 * np.dtype(kind).itemsize
        tensors.append(Tensor(name, shape, kind, bits, quantization, data is not None, data))
        return len(tensors) - 1

    def convolution(source: int, channels: int, size: int, stride: int) -> int:
        depth = tensors[source].shape[3]
        shape = (channels, size, size, depth)
        weights = rng.normal(0, 1, shape) if is_float else rng.integers(1 if dtype == "uint8" else -99, 99, shape)
        kernel = tensor(f"kernel{len(tensors)}", shape, dtype, weights.astype(dtype), 0.01)
        bias_type = "float32" if is_float else "int32"
        bias = tensor(f"bias{len(tensors)}", (channels,), bias_type, np.arange(channels).astype(bias_type), 0.05 * 0.01)
        side = tensors[source].shape[1] // stride
        output = tensor(f"conv{len(tensors)}", (1, side, side, channels), dtype)
        window = {"stride": (stride, stride), "dilation": (1, 1), "padding": "SAME", "activation": "RELU6"}
        operators.append(Operator("CONV_2D", f"conv{len(tensors)}", (source, kernel, bias), (output,), window))
        return output

    image = tensor("image", (1, 8, 8, 3), dtype)
    x = convolution(convolution(image, 4, 3, 2), 4, 1, 1)
    pooled = tensor("pool", (1, 2, 2, 4), dtype)
    window = {"filter": (2, 2), "stride": (2, 2), "padding": "VALID", "activation": "NONE"}
    operators.append(Operator("AVERAGE_POOL_2D", "pool", (x,), (pooled,), window))
    size = tensor("size", (2,), "int32", np.array([8, 8], np.int32), 0)
    resized = tensor("resized", (1, 8, 8, 4), dtype)
    flags = {"align_corners": False, "half_pixel_centers": True}
    operators.append(Operator("RESIZE_BILINEAR", "resized", (pooled, size), (resized,), flags))
    axis = tensor("axis", (), "int32", np.array(3, np.int32), 0)
    labels = tensor("labels", (1, 8, 8), "int32", None, 0)
    operators.append(Operator("ARG_MAX", "labels", (resized, axis), (labels,), {"axis": 3}))
    return Graph("small", tuple(tensors), tuple(operators), (image,), (labels,))


TARGET = FuzzTarget(name="network", kind=".tflite", inputs=inputs, run=run)
