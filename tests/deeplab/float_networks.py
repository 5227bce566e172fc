"""Random float32 networks with every operator that has a float kernel, small enough to be run by the hundred."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation.graph import Graph
from tests.evaluation.plans_by_hand import Network

ACTIVATIONS = ("NONE", "NONE", "NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")
BROADCAST = ("ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "PRELU", "SQUARED_DIFFERENCE")
ELEMENTWISE = ("RELU", "RELU6", "RELU_N1_TO_1", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "TANH", "ELU")
MOVES = ("CONCATENATION", "PAD", "PADV2", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "RESIZE_NEAREST_NEIGHBOR")
WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "TRANSPOSE_CONV")
KINDS = (
    *WINDOWED,
    *WINDOWED,
    *BROADCAST,
    *ELEMENTWISE,
    *MOVES,
    "RESIZE_BILINEAR",
    "SOFTMAX",
    "gate",
    "columns",
    "shortcut",
)
ENDS = ("none", "labels", "resized labels", "vector", "pixels", "mean", "sum", "pool", "class")
STORAGE = ("dense", "dense", "dense", "sparse", "sparse", "very sparse", "half")
CONVENTIONS = ((False, False), (True, False), (False, True))
"""(align_corners, half_pixel_centers)"""


class FloatNetwork(Network):
    """Grows a float network from an image, operator by operator."""

    def __init__(self, seed: int, shape: tuple[int, int, int]) -> None:
        super().__init__(seed)
        self.x = self.tensor((1, *shape))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensors[self.x].shape

    def tensor(self, shape: tuple[int, ...], dtype: str = "float32") -> int:
        return self.activation(f"t{len(self.tensors)}", tuple(map(int, shape)), dtype, 8 * np.dtype(dtype).itemsize)

    def values(self, *shape: int, scale: float = 1.0) -> int:
        data = self.random.normal(0, scale, shape).astype(np.float32)
        return self.constant(f"c{len(self.tensors)}", data)

    def numbers(self, *numbers) -> int:
        return self.constant(f"c{len(self.tensors)}", np.array(numbers, np.int32))

    def put(self, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], dtype="float32", **attributes) -> None:
        self.x = self.operate(kind, inputs, self.tensor(shape, dtype), **attributes)

    def pick(self, choices):
        return choices[self.random.integers(len(choices))]

    def weights(self, *shape: int, storage: str | None = None) -> int:
        """A kernel, stored in one of the ways there are."""
        storage = storage or self.pick(STORAGE)
        index = self.values(*shape, scale=float(2.0 / np.sqrt(np.prod(shape) / shape[0])))
        data = self.tensors[index].data
        if "sparse" in storage:
            data[self.random.random(data.shape) < (0.6 if storage == "sparse" else 0.97)] = 0
        if storage == "half":
            data[...] = data.astype(np.float16)
            self.tensors[index] = replace(self.tensors[index], bits=16)
        return index

    def add(self, kind: str) -> None:
        """Put an operator of a kind after the last, with whatever parameters chance gives; none where it cannot be."""
        if kind in WINDOWED:
            self._windowed(kind)
        elif kind in BROADCAST:
            self._broadcast(kind)
        elif kind in ELEMENTWISE:
            self.put(kind, (self.x,), self.shape, **({"alpha": 0.3} if kind == "LEAKY_RELU" else {}))
        elif kind in MOVES:
            self._move(kind)
        elif kind == "RESIZE_BILINEAR":
            self._resize(kind)
        elif kind == "SOFTMAX":
            self.put(kind, (self.x,), self.shape, beta=float(self.random.uniform(0.5, 2)))
            self._broadcast("SUB")  # or little would be left of it after a few operators
        elif kind == "gate":  # times a value for each channel, made of the channel's mean
            x, shape = self.x, self.shape
            self._mean("MEAN", (1, 2), keeps=True)
            self.put("LOGISTIC", (self.x,), self.shape)
            self.put("MUL", (x, self.x), shape, activation="NONE")
        elif kind == "columns":  # less the mean of each column, of three axes that are matched from the last one
            x, shape = self.x, self.shape
            self._mean("MEAN", (1,), keeps=False)
            self.put("SUB", (x, self.x), shape, activation="NONE")
        else:
            x, shape = self.x, self.shape
            self._windowed("CONV_2D", filters=shape[3], same=True)
            self.put("ADD", (x, self.x), shape, activation=self.pick(ACTIVATIONS))

    def end(self, kind: str) -> None:
        """The network's last operators."""
        _, rows, columns, channels = self.shape
        if kind in ("labels", "resized labels"):
            if kind != "labels":
                self._resize("RESIZE_BILINEAR")
            axis = self.constant("axis", np.array(3, np.int32))
            self.put("ARG_MAX", (self.x, axis), self.shape[:3], "int32", axis=3)
        elif kind == "vector":
            values = rows * columns * channels
            self.put("FULLY_CONNECTED", (self.x, self.weights(19, values), self.values(19)), (1, 19), activation="RELU")
        elif kind == "pixels":
            shape = (1, rows, columns, 7)
            self.put("FULLY_CONNECTED", (self.x, self.weights(7, channels)), shape, activation="NONE")
        elif kind in ("mean", "sum"):
            axes = self.pick([(1, 2), (1,), (2,), (3,), (1, 3), (1, 2, 3)])
            self._mean(kind.upper(), axes, keeps=bool(self.random.integers(2)))
        elif kind == "pool":
            window = {"filter": (rows, columns), "stride": (1, 1), "padding": "VALID", "activation": "RELU6"}
            self.put("AVERAGE_POOL_2D", (self.x,), (1, 1, 1, channels), **window)
        elif kind == "class":
            self._mean("MEAN", (1, 2), keeps=False)
            self.put("SOFTMAX", (self.x,), self.shape, beta=1.0)
            axis = self.constant("axis", np.array(1, np.int32))
            self.put("ARG_MAX", (self.x, axis), (1,), self.pick(["int32", "int64"]), axis=1)

    def _mean(self, kind: str, axes: tuple[int, ...], *, keeps: bool) -> None:
        kept = [1 if axis in axes else size for axis, size in enumerate(self.shape) if keeps or axis not in axes]
        self.put(kind, (self.x, self.numbers(*axes)), tuple(kept), axes=axes, keep_dims=keeps)

    def _windowed(self, kind: str, filters: int | None = None, *, same: bool = False) -> None:
        size, channels = self.shape[1:3], self.shape[3]
        window = tuple(int(self.random.integers(1, 5)) for _ in range(2))
        stride = (1, 1) if same else tuple(int(self.random.integers(1, 3)) for _ in range(2))
        dilated = kind.endswith("CONV_2D") and stride == (1, 1) and self.random.random() < 0.4
        dilation = tuple(int(self.random.integers(1, 4)) for _ in range(2)) if dilated else (1, 1)
        padding = "SAME" if same else self.pick(["SAME", "VALID"])
        reach = [(window[a] - 1) * dilation[a] + 1 for a in (0, 1)]
        filters = filters or int(self.pick([1, 3, 5, 8, 16, 21, 29]))
        common = {"stride": stride, "padding": padding, "activation": self.pick(ACTIVATIONS)}
        if kind == "TRANSPOSE_CONV":
            out = [size[a] * stride[a] + (0 if padding == "SAME" else max(window[a] - stride[a], 0)) for a in (0, 1)]
            if max(out) > 40:
                return
            shape = (1, *out, filters)
            inputs = (self.numbers(*shape), self.weights(filters, *window, channels), self.x, self.values(filters))
            self.put(kind, inputs[: self.pick([3, 4])], shape, **common)
            return
        if padding == "VALID" and any(reach[a] > size[a] for a in (0, 1)):
            return
        out = [-(-(size[a] if padding == "SAME" else size[a] - reach[a] + 1) // stride[a]) for a in (0, 1)]
        if kind.endswith("POOL_2D"):
            self.put(kind, (self.x,), (1, *out, channels), filter=window, **common)
            return
        if kind == "DEPTHWISE_CONV_2D":
            multiple = int(self.pick([1, 1, 2]))
            filters = channels * multiple
            weights = self.weights(1, *window, filters)
            common["depth_multiplier"] = multiple
        else:
            weights = self.weights(filters, *window, channels)
        inputs = (self.x, weights, self.values(filters))[: self.pick([2, 3])]
        self.put(kind, inputs, (1, *out, filters), dilation=dilation, **common)

    def _broadcast(self, kind: str) -> None:
        _, rows, columns, channels = self.shape
        others = [(1, 1, 1, channels), (1, 1, columns, 1), (1, rows, 1, 1), (channels,), (), self.shape]
        other = self.values(*self.pick(others)) if kind != "PRELU" else self.values(1, 1, channels)
        if kind == "DIV":
            self.tensors[other].data[...] = 0.5 + np.abs(self.tensors[other].data)
        inputs = (other, self.x) if kind in ("SUB", "MUL") and self.random.random() < 0.5 else (self.x, other)
        activation = (
            {}
            if kind in ("PRELU", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE")
            else {"activation": self.pick(ACTIVATIONS)}
        )
        self.put(kind, inputs, self.shape, **activation)

    def _move(self, kind: str) -> None:
        _, rows, columns, channels = self.shape
        if kind == "CONCATENATION":
            if channels < 24:
                self.put(kind, (self.x, self.x), (1, rows, columns, 2 * channels), axis=3, activation="NONE")
        elif kind.startswith("PAD"):
            pads = self.random.integers(0, 3, 4).tolist()
            paddings = ((0, 0), tuple(pads[:2]), tuple(pads[2:]), (0, 0))
            inputs = (self.x, self.constant(f"c{len(self.tensors)}", np.array(paddings, np.int32)))
            if kind == "PADV2":
                inputs += (self.constant(f"c{len(self.tensors)}", np.array(-1.5, np.float32)),)
            self.put(kind, inputs, (1, rows + sum(pads[:2]), columns + sum(pads[2:]), channels), paddings=paddings)
        elif kind == "DEPTH_TO_SPACE":
            if channels % 4 == 0 and max(rows, columns) < 20:
                self.put(kind, (self.x,), (1, rows * 2, columns * 2, channels // 4), block_size=2)
        elif kind == "SPACE_TO_DEPTH":
            if rows % 2 == columns % 2 == 0 and channels < 24:
                self.put(kind, (self.x,), (1, rows // 2, columns // 2, channels * 4), block_size=2)
        else:
            self._resize(kind)

    def _resize(self, kind: str) -> None:
        size = [int(self.random.integers(max(n // 2, 1), min(2 * n + 2, 30))) for n in self.shape[1:3]]
        align, half = self.pick(CONVENTIONS)
        convention = {"align_corners": align, "half_pixel_centers": half}
        self.put(kind, (self.x, self.numbers(*size)), (1, *size, self.shape[3]), **convention)


def random_float_network(seed: int, length: int = 12) -> Graph:
    """A chain of `length` operators (some cannot be where they fall) on an image of float32."""
    random = np.random.default_rng(seed)
    made = FloatNetwork(seed + 1, (int(random.integers(5, 20)), int(random.integers(5, 20)), 3))
    for kind in random.choice(KINDS, length):
        made.add(str(kind))
    made.end(str(random.choice(ENDS)))
    if not made.operators:
        made.add("RELU")
    return made.graph(f"random{seed}", (0,), (made.x,))
