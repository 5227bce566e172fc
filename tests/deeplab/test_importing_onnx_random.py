"""Random networks of the operators that are imported compute what onnxruntime does, in whatever order they meet."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from tests.deeplab.onnx_models import compared, model, node

STEPS = 9


class RandomNetwork:
    """A network in the making: each step appends an operator, or a few that belong together, that fits the shape."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.value, self.shape = "x", (1, 3, int(self.rng.integers(4, 10)), int(self.rng.integers(4, 10)))
        self.size = self.shape[2:]
        self.is_nhwc = False

    def constant(self, array: np.ndarray) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = array
        return name

    def real(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape).astype(np.float32) * np.float32(0.5))

    def append(self, kind: str, inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(kind, inputs, name, **attributes))
        return name

    def channels(self) -> int:
        return self.shape[3 if self.is_nhwc else 1]

    def to_nchw(self) -> None:
        if self.is_nhwc:
            self.flip()

    def flip(self) -> None:
        """A transposition to the other layout."""
        order = (0, 3, 1, 2) if self.is_nhwc else (0, 2, 3, 1)
        self.value = self.append("Transpose", self.value, perm=order)
        self.shape = tuple(self.shape[axis] for axis in order)
        self.is_nhwc = not self.is_nhwc

    def activate(self) -> None:
        kind = self.rng.choice(["Relu", "Sigmoid", "HardSwish", "Tanh", "LeakyRelu", "HardSigmoid", "Identity"])
        self.value = self.append(str(kind), self.value)

    def scale(self) -> None:
        kind = str(self.rng.choice(["Mul", "Add", "Sub"]))
        wide = (self.channels(),) if self.is_nhwc else (self.channels(), 1, 1)
        shape = [(), wide, (1, *wide) if self.is_nhwc else wide, self.shape][self.rng.integers(4)]
        self.value = self.append(kind, f"{self.value} {self.real(*shape)}")

    def convolve(self) -> None:
        self.to_nchw()
        groups = self.channels() if self.rng.random() < 0.4 else 1
        filters = groups if groups > 1 else int(self.rng.integers(2, 6))
        dilation, stride = ((1, 1), (2, 1), (1, 2))[self.rng.integers(3)]
        kernel = self.real(filters, self.channels() // groups, 3, 3)
        inputs = f"{self.value} {kernel} {self.real(filters)}"
        both = {"dilations": (dilation,) * 2, "strides": (stride,) * 2, "pads": (dilation,) * 4}
        self.value = self.append("Conv", inputs, group=groups, **both)
        self.shape = (1, filters, *(-(-size // stride) for size in self.shape[2:]))

    def excite(self) -> None:
        self.to_nchw()
        pooled = self.append("GlobalAveragePool", self.value)
        gate = self.append("Gemm", f"{self.append('Flatten', pooled)} {self.real(self.channels(), self.channels())}")
        gate = self.append("Reshape", f"{gate} {self.constant(np.array((1, -1, 1, 1)))}")
        self.value = self.append("Mul", f"{self.value} {gate}")

    def resize(self) -> None:
        self.to_nchw()
        sizes = tuple(int(size) for size in self.rng.integers(2, 12, 2))
        stated = self.constant(np.array((1, self.channels(), *sizes)))
        mode = str(self.rng.choice(["half_pixel", "align_corners", "asymmetric"]))
        self.value = self.append(
            "Resize", f"{self.value} - - {stated}", mode="linear", coordinate_transformation_mode=mode
        )
        self.shape = (1, self.channels(), *sizes)

    def branch(self) -> None:
        axis = 3 if self.is_nhwc else 1
        other = self.append("Relu", self.value)
        if self.rng.random() < 0.5:
            self.value = self.append("Add", f"{other} {self.value}")
            return
        self.value = self.append("Concat", f"{self.value} {other}", axis=axis)
        self.shape = tuple(size * 2 if place == axis else size for place, size in enumerate(self.shape))

    def take(self) -> None:
        axis = int(self.rng.integers(1, 4))
        if self.shape[axis] < 3:
            return
        bounds = [self.constant(np.array([value])) for value in (1, self.shape[axis], axis)]
        self.value = self.append("Slice", f"{self.value} {' '.join(bounds)}")
        self.shape = tuple(size - (place == axis) for place, size in enumerate(self.shape))

    def average(self) -> None:
        axis = int(self.rng.integers(1, 4))
        mean = self.append("ReduceMean", self.value, axes=(axis,), keepdims=1)
        self.value = self.append("Sub", f"{self.value} {mean}")

    def rows(self) -> None:
        """The pixels as rows and back, by reshapes."""
        shape = np.array(self.shape)
        joined = (1, -1, self.shape[3]) if self.is_nhwc else (1, self.shape[1], -1)
        flat = self.append("Reshape", f"{self.value} {self.constant(np.array(joined))}")
        flat = self.append("Softmax", flat, axis=int(self.rng.integers(1, 3)))
        last = self.shape[3] if self.is_nhwc else self.shape[2] * self.shape[3]
        flat = self.append("Mul", f"{flat} {self.real(last)}")
        self.value = self.append("Reshape", f"{flat} {self.constant(shape)}")

    def model(self) -> onnx.ModelProto:
        steps: list[Callable[[], None]] = [
            self.activate, self.scale, self.convolve, self.convolve, self.excite, self.resize, self.branch, self.take,
            self.average, self.rows, self.flip,
        ]  # fmt: skip
        for _ in range(STEPS):
            steps[self.rng.integers(len(steps))]()
        self.to_nchw()
        self.nodes.append(node("Relu", self.value, "y"))
        return model(self.nodes, self.constants, shape=(1, 3, *self.size))


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(tmp_path, seed):
    compared(RandomNetwork(seed).model(), tmp_path, tolerance=2e-4, is_nchw=True)
