"""From a network to the graph that planner, interpreter and C emitter work on, camera frame to label map.

A network that is not trained yet can be lowered too, from its spec and bit-widths alone: the plan needs no values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.compression import FLOAT_BITS, Compression
from deeplab.layers import INPUT, OUTPUT, Layer, layers
from deeplab.quantization import (
    FLOAT_INPUT_ZERO,
    INPUT_BITS,
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    ActivationQuantization,
    BitWidths,
    QuantizedNetwork,
    shared_parameters,
)
from deeplab.sparsity import WeightSparsity
from deeplab.spec import NetworkSpec
from evaluation.graph import Graph, Operator, Quantization, Tensor

_ACTIVATIONS = {"linear": "NONE", "relu": "RELU", "relu6": "RELU6"}
_NO_GRID = ActivationQuantization(1.0, 0, 8)


def lower(network: Checkpoint | QuantizedNetwork, name: str = "deeplab") -> Graph:
    """The graph of a trained network, constants included."""
    if isinstance(network, Checkpoint):
        return _Lowering(network.spec, None, name, network).graph()
    return _Lowering(network.spec, network.bits, name, network).graph()


def lower_untrained(spec: NetworkSpec, compression: Compression, name: str = "deeplab") -> Graph:
    """The graph a network of this spec will have, shapes only: for planning before anything is trained.

    `spec` is that of the network once its channels are pruned; of `compression` only the bits count, and the sparsity
    of methods that leave all channels.
    """
    return _Lowering(spec, compression.bits, name, None, compression.weight_sparsity).graph()


def storage_type(bits: int) -> str:
    """numpy type that values of so many bits compute as."""
    return "float32" if bits == FLOAT_BITS else "int16" if bits == 16 else "int8"


@dataclass
class _Lowering:
    spec: NetworkSpec
    bits: BitWidths | None
    """None: float."""
    name: str
    network: Checkpoint | QuantizedNetwork | None
    weight_sparsity: WeightSparsity | None = None
    """Of convolutions that have no values yet."""

    def __post_init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.values: dict[str, int] = {}
        self.densities = self.weight_sparsity.densities(self.spec) if self.weight_sparsity else {}
        self.widths = (
            {member: self.bits.shared_bits(group) for group in shared_parameters(self.spec) for member in group}
            if self.bits
            else {}
        )

    def graph(self) -> Graph:
        frame = self._frame()
        for layer in layers(self.spec):
            self.values[layer.name] = self._input(frame) if layer.kind == "input" else self._layer(layer)
        labels = self._add(Tensor("labels", (1, self.spec.input_height, self.spec.input_width), "uint8", 8))
        axis = self._add(Tensor("argmax/axis", (), "int32", 32, is_constant=True, data=np.array(3, np.int32)))
        self._operate("ARG_MAX", "argmax", (self.values[OUTPUT], axis), labels, axis=3)
        return Graph(self.name, tuple(self.tensors), tuple(self.operators), (frame,), (labels,))

    def _frame(self) -> int:
        zero = np.array([FLOAT_INPUT_ZERO]) if self.is_float else np.array([INPUT_ZERO_POINT], np.int64)
        quantization = Quantization(np.array([INPUT_SCALE], np.float32), zero)
        shape = (1, self.spec.input_height, self.spec.input_width, 3)
        return self._add(Tensor("frame", shape, "uint8", 8, quantization))

    @property
    def is_float(self) -> bool:
        return self.bits is None

    def _input(self, frame: int) -> int:
        """The frame on the network's own grid. At 8 bits that is the same bytes, shifted by 128, in the same place."""
        bits = FLOAT_BITS if self.bits is None else 16 if self.bits.activations == 16 else INPUT_BITS
        tensor = Tensor(
            INPUT, self.tensors[frame].shape, storage_type(bits), bits, None if self.is_float else self._grid(INPUT)
        )
        return self._operate("DEQUANTIZE" if self.is_float else "QUANTIZE", INPUT, (frame,), self._add(tensor))

    def _grid(self, layer: str) -> Quantization:
        grid = self.network.activations[layer] if isinstance(self.network, QuantizedNetwork) else _NO_GRID
        if self.network is None and layer == INPUT:
            zero = 0 if self.bits is not None and self.bits.activations == 16 else INPUT_ZERO_POINT - 128
            grid = ActivationQuantization(INPUT_SCALE, zero, INPUT_BITS)
        return Quantization(np.array([grid.scale], np.float32), np.array([grid.zero_point], np.int64))

    def _layer(self, layer: Layer) -> int:
        bits = self.widths.get(layer.name, FLOAT_BITS)
        shape = (1, layer.height, layer.width, layer.channels)
        output = self._add(
            Tensor(layer.name, shape, storage_type(bits), bits, None if self.is_float else self._grid(layer.name))
        )
        sources = tuple(self.values[source] for source in layer.inputs)
        if layer.kind in ("conv", "depthwise"):
            return self._convolution(layer, sources[0], output)
        if layer.kind == "add":
            return self._operate("ADD", layer.name, sources, output, activation="NONE")
        if layer.kind == "concat":
            return self._operate("CONCATENATION", layer.name, sources, output, axis=3, activation="NONE")
        if layer.kind == "pool":
            size = self.tensors[sources[0]].shape[1:3]
            window = {"filter": size, "stride": (1, 1), "padding": "VALID", "activation": "NONE"}
            return self._operate("AVERAGE_POOL_2D", layer.name, sources, output, **window)
        size = np.array([layer.height, layer.width], np.int32)
        target = self._add(Tensor(f"{layer.name}/size", (2,), "int32", 32, is_constant=True, data=size))
        return self._operate(
            "RESIZE_BILINEAR",
            layer.name,
            (*sources, target),
            output,
            align_corners=self.spec.resize == "align_corners",
            half_pixel_centers=self.spec.resize == "half_pixel",
        )

    def _convolution(self, layer: Layer, source: int, output: int) -> int:
        geometry = {
            "stride": (layer.stride, layer.stride),
            "dilation": (layer.dilation, layer.dilation),
            "padding": "SAME",
            "activation": _ACTIVATIONS[layer.activation],
        }
        if layer.kind == "depthwise":
            geometry["depth_multiplier"] = 1
        kind = "CONV_2D" if layer.kind == "conv" else "DEPTHWISE_CONV_2D"
        inputs = (source, self._kernel(layer, source), self._bias(layer, source))
        return self._operate(kind, layer.name, inputs, output, **geometry)

    def _kernel(self, layer: Layer, source: int) -> int:
        """Kernel in TFLite's order: (out, h, w, in), depthwise (1, h, w, channels)."""
        inputs = self.tensors[source].shape[3]
        window = (layer.kernel, layer.kernel)
        shape = (layer.channels, *window, inputs) if layer.kind == "conv" else (1, *window, layer.channels)
        data, quantization = None, None
        if isinstance(self.network, Checkpoint):
            data = self.network.weights[f"{layer.name}/kernel"]
        elif isinstance(self.network, QuantizedNetwork):
            data = self.network.kernels[layer.name]
        if data is not None:
            data = np.ascontiguousarray(data.transpose(3, 0, 1, 2))
        if not self.is_float:
            quantization = self._channel_scales(layer, 0 if layer.kind == "conv" else 3)
        density = self.densities.get(f"{layer.name}/kernel", 1.0)
        bits = FLOAT_BITS if self.bits is None else self.bits.weights_of(layer.name)
        return self._add(
            Tensor(f"{layer.name}/kernel", shape, storage_type(bits), bits, quantization, True, data, density)
        )

    def _channel_scales(self, layer: Layer, axis: int) -> Quantization:
        scales = (
            self.network.kernel_scales[layer.name]
            if isinstance(self.network, QuantizedNetwork)
            else np.ones(layer.channels, np.float32)
        )
        return Quantization(scales, np.zeros(scales.size, np.int64), axis)

    def _bias(self, layer: Layer, source: int) -> int:
        data, quantization = None, None
        wide = self.bits is not None and self.bits.activations == 16
        dtype = "float32" if self.is_float else "int64" if wide else "int32"
        if isinstance(self.network, Checkpoint):
            data = self.network.weights[f"{layer.name}/bias"]
        elif isinstance(self.network, QuantizedNetwork):
            data = self.network.biases[layer.name]
        if not self.is_float:
            kernel, grid = self._channel_scales(layer, 0), self.tensors[source].quantization
            assert grid is not None
            quantization = Quantization(kernel.scale * grid.scale[0], kernel.zero_point, 0)
        bits = 64 if dtype == "int64" else 32
        return self._add(Tensor(f"{layer.name}/bias", (layer.channels,), dtype, bits, quantization, True, data))

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _operate(self, kind: str, name: str, inputs: tuple[int, ...], output: int, **attributes: object) -> int:
        self.operators.append(Operator(kind, name, inputs, (output,), attributes))
        return output
