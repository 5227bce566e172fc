"""Random small networks for the planner's property tests."""

import random

from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.padding import padding_along
from evaluation.graph.shapes import window_outputs


class _Sketch:
    """Grows a graph of int8 operators with constants that have no values."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def tensor(self, shape: tuple[int, ...], dtype: str = "int8", *, bits: int = 8, constant: bool = False) -> int:
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, dtype, bits, is_constant=constant))
        return len(self.tensors) - 1

    def operator(self, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], **attributes) -> int:
        output = self.tensor(shape, "int32" if kind == "ARG_MAX" else "int8", bits=32 if kind == "ARG_MAX" else 8)
        self.operators.append(Operator(kind, f"{kind}_{len(self.operators)}", inputs, (output,), attributes))
        return output

    def window(self, source: int) -> int:
        """A convolution, depthwise convolution or pool with random geometry."""
        _, rows, columns, channels = self.tensors[source].shape
        kind = self.random.choice(["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D"])
        kernel = self.random.choice([1, 3, 3, 5])
        stride, padding = self.random.choice([1, 1, 2]), self.random.choice(["SAME", "SAME", "VALID", "EXPLICIT"])
        dilation = 1 if kind == "AVERAGE_POOL_2D" else self.random.choice([1, 1, 2])
        reach = (kernel - 1) * dilation
        if (padding == "VALID" and reach + 1 > min(rows, columns)) or (
            kind == "AVERAGE_POOL_2D" and padding == "EXPLICIT"
        ):
            padding = "SAME"
        common = {"stride": (stride, stride), "padding": padding, "activation": "NONE"}
        if padding == "EXPLICIT":
            common["pads"] = tuple(self.pads(size, reach) for size in (rows, columns))
        outputs = channels if kind != "CONV_2D" else self.random.choice([4, 8, 16])
        sizes = (
            window_outputs(size, kernel, stride, dilation, padding_along(common, axis))
            for axis, size in enumerate((rows, columns))
        )
        shape = (1, *sizes, outputs)
        if kind == "AVERAGE_POOL_2D":
            return self.operator(kind, (source,), shape, filter=(kernel, kernel), **common)
        kernel_shape = (outputs, kernel, kernel, channels) if kind == "CONV_2D" else (1, kernel, kernel, channels)
        weights = self.tensor(kernel_shape, bits=self.random.choice([4, 8]), constant=True)
        return self.operator(kind, (source, weights), shape, dilation=(dilation, dilation), **common)

    def pads(self, size: int, reach: int) -> tuple[int, int]:
        """Elements before and behind an axis, together enough for one window at least."""
        before = self.random.randint(0, reach)
        return before, self.random.randint(min(max(0, reach + 1 - size - before), reach), reach)

    def resize(self, source: int, rows: int, columns: int) -> int:
        convention = self.random.choice([(False, False), (True, False), (False, True)])
        size = self.tensor((2,), "int32", bits=32, constant=True)
        shape = (1, rows, columns, self.tensors[source].shape[3])
        flags = {"align_corners": convention[0], "half_pixel_centers": convention[1]}
        return self.operator("RESIZE_BILINEAR", (source, size), shape, **flags)


def random_graph(seed: int) -> Graph:
    """A small segmentation-like network without weight values."""
    sketch = _Sketch(seed)
    rng = sketch.random
    frame = sketch.tensor((1, rng.randint(6, 24), rng.randint(4, 10), 3), "uint8")
    shape = sketch.tensors[frame].shape
    values = [sketch.operator("QUANTIZE", (frame,), shape)] if rng.random() < 0.7 else [frame]
    for _ in range(rng.randint(2, 9)):
        source = rng.choice(values[-3:])
        shape = sketch.tensors[source].shape
        kin = [v for v in values if sketch.tensors[v].shape[:3] == shape[:3] and v != source]
        same = [v for v in kin if sketch.tensors[v].shape == shape]
        choice = rng.random()
        if same and choice < 0.25:
            values.append(sketch.operator("ADD", (source, rng.choice(same)), shape, activation="NONE"))
        elif kin and choice < 0.45:
            other = rng.choice(kin)
            joined = (*shape[:3], shape[3] + sketch.tensors[other].shape[3])
            values.append(sketch.operator("CONCATENATION", (source, other), joined, axis=3, activation="NONE"))
        elif choice < 0.55:
            axes = sketch.tensor((2,), "int32", bits=32, constant=True)
            pooled = sketch.operator("MEAN", (source, axes), (1, 1, 1, shape[3]), axes=(1, 2), keep_dims=True)
            values.append(sketch.resize(pooled, shape[1], shape[2]))
        elif choice < 0.65:
            values.append(sketch.resize(source, rng.randint(shape[1], 2 * shape[1]), rng.randint(1, 2 * shape[2])))
        else:
            values.append(sketch.window(source))
    outputs = [values[-1]]
    if rng.random() < 0.6:
        _, rows, columns, _ = sketch.tensors[values[-1]].shape
        logits = sketch.resize(values[-1], 2 * rows, 2 * columns)
        outputs = [sketch.operator("ARG_MAX", (logits,), (1, 2 * rows, 2 * columns), axis=3)]
    if rng.random() < 0.2 and values[-2] != frame:
        outputs.append(values[-2])
    return Graph(f"random_{seed}", tuple(sketch.tensors), tuple(sketch.operators), (frame,), tuple(outputs))
