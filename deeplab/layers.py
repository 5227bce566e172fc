"""What a spec unfolds to: the list of layers, with names, shapes and connections.

The Keras model, the planner's graph, the weight import, pruning groups and calibration all walk this one list, so they
cannot disagree about the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from deeplab.spec import NetworkSpec

LayerKind = Literal["input", "conv", "depthwise", "add", "pool", "resize", "concat"]
Activation = Literal["linear", "relu", "relu6"]

INPUT = "input"
LOGITS = "logits"
OUTPUT = "logits/resize"
"""Name of the last layer: logits at the size of the image."""


@dataclass(frozen=True)
class Layer:
    """One layer; its output is `(height, width, channels)`. Windows are SAME-padded; `pool` is the global average."""

    name: str
    kind: LayerKind
    inputs: tuple[str, ...]
    height: int
    width: int
    channels: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    activation: Activation = "linear"

    @property
    def has_weights(self) -> bool:
        return self.kind in ("conv", "depthwise")


class _Builder:
    """Appends layers and keeps track of shapes."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.layers = {INPUT: Layer(INPUT, "input", (), spec.input_height, spec.input_width, 3)}

    def _add(self, layer: Layer) -> str:
        self.layers[layer.name] = layer
        return layer.name

    def conv(
        self, name: str, source: str, channels: int, activation: Activation, kernel: int = 1, stride: int = 1
    ) -> str:
        before = self.layers[source]
        height, width = -(-before.height // stride), -(-before.width // stride)
        return self._add(Layer(name, "conv", (source,), height, width, channels, kernel, stride, activation=activation))

    def depthwise(self, name: str, source: str, activation: Activation, stride: int = 1, dilation: int = 1) -> str:
        before = self.layers[source]
        height, width = -(-before.height // stride), -(-before.width // stride)
        return self._add(
            Layer(name, "depthwise", (source,), height, width, before.channels, 3, stride, dilation, activation)
        )

    def add(self, name: str, first: str, second: str) -> str:
        shape = self.layers[first]
        return self._add(Layer(name, "add", (first, second), shape.height, shape.width, shape.channels))

    def pool(self, name: str, source: str) -> str:
        return self._add(Layer(name, "pool", (source,), 1, 1, self.layers[source].channels))

    def resize(self, name: str, source: str, height: int, width: int) -> str:
        return self._add(Layer(name, "resize", (source,), height, width, self.layers[source].channels))

    def concat(self, name: str, sources: tuple[str, ...]) -> str:
        shape = self.layers[sources[0]]
        channels = sum(self.layers[source].channels for source in sources)
        return self._add(Layer(name, "concat", sources, shape.height, shape.width, channels))


@lru_cache(maxsize=64)
def layers(spec: NetworkSpec) -> tuple[Layer, ...]:
    """The layers of a network in execution order, from `input` to `logits/resize`."""
    net = _Builder(spec)
    x = net.conv("stem", INPUT, spec.stem, "relu6", kernel=3, stride=2)
    skip = None
    for index, block in enumerate(spec.blocks):
        taps, name, source = {}, f"block_{index}", x
        if block.expand:
            x = net.conv(f"{name}/expand", x, block.expand, "relu6")
        taps["expand"] = x
        x = taps["depthwise"] = net.depthwise(f"{name}/depthwise", x, "relu6", block.stride, block.dilation)
        x = net.conv(f"{name}/project", x, block.project, "linear")
        if block.residual:
            x = net.add(f"{name}/add", x, source)
        taps["project"] = x
        if spec.decoder and spec.decoder.skip_block == index:
            skip = taps[spec.decoder.skip_tap]
    x = _aspp(net, spec, x)
    if spec.decoder:
        assert skip is not None, f"skip_block {spec.decoder.skip_block} is not a block of this network"
        skip = net.conv("decoder/skip", skip, spec.decoder.skip, "relu")
        shape = net.layers[skip]
        x = net.resize("decoder/resize", x, shape.height, shape.width)
        x = net.concat("decoder/concat", (x, skip))
        for index, width in enumerate(spec.decoder.refine):
            x = net.depthwise(f"decoder/refine_{index}/depthwise", x, "relu")
            x = net.conv(f"decoder/refine_{index}/pointwise", x, width, "relu")
    x = net.conv(LOGITS, x, spec.classes, "linear")
    net.resize(OUTPUT, x, spec.input_height, spec.input_width)
    return tuple(net.layers.values())


def _aspp(net: _Builder, spec: NetworkSpec, features: str) -> str:
    shape, branches = net.layers[features], []
    if spec.aspp.pool:
        x = net.pool("aspp/pool", features)
        x = net.conv("aspp/pool/pointwise", x, spec.aspp.pool, "relu")
        branches.append(net.resize("aspp/pool/resize", x, shape.height, shape.width))
    branches.append(net.conv("aspp/pointwise", features, spec.aspp.pointwise, "relu"))
    for index, branch in enumerate(spec.aspp.atrous):
        x = net.depthwise(f"aspp/atrous_{index}/depthwise", features, "relu", dilation=branch.rate)
        branches.append(net.conv(f"aspp/atrous_{index}/pointwise", x, branch.width, "relu"))
    x = net.concat("aspp/concat", tuple(branches)) if len(branches) > 1 else branches[0]
    return net.conv("aspp/project", x, spec.aspp.project, "relu")


def weight_shapes(spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Name to shape of every weight, as tf_keras has them.

    `<layer>/kernel` is (h, w, in, out), depthwise (h, w, channels, 1); `<layer>/bias` is (out,).
    """
    by_name = {layer.name: layer for layer in layers(spec)}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in by_name.values():
        if layer.kind == "conv":
            shapes[f"{layer.name}/kernel"] = (
                layer.kernel, layer.kernel, by_name[layer.inputs[0]].channels, layer.channels,
            )  # fmt: skip
        elif layer.kind == "depthwise":
            shapes[f"{layer.name}/kernel"] = (layer.kernel, layer.kernel, layer.channels, 1)
        if layer.has_weights:
            shapes[f"{layer.name}/bias"] = (layer.channels,)
    return shapes
