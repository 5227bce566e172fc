"""Whether a frozen graph computes what a spec says: every layer, its window, activation and sources."""

from __future__ import annotations

from deeplab.importing.frozen_graph import FrozenGraph
from deeplab.importing.slim_names import kernel_name
from deeplab.layers import LOGITS, OUTPUT, Layer, layers
from deeplab.spec import NetworkSpec, ResizeConvention

_ACTIVATIONS = {"linear": set(), "relu": {"Relu"}, "relu6": {"Relu6"}}


class Structure:
    """Walks from the resized logits back to the image, graph and layers side by side."""

    def __init__(self, graph: FrozenGraph, spec: NetworkSpec) -> None:
        self.graph, self.spec = graph, spec
        self.layers = {layer.name: layer for layer in layers(spec)}
        self._seen: set[tuple[str, str]] = set()
        self._convention: ResizeConvention | None = None

    def check(self) -> ResizeConvention:
        """Returns how the graph resizes. Raises `UserError` for the first node that does not fit."""
        self._compare(self._end(), self.layers[OUTPUT])
        return self._convention or "align_corners"

    def _end(self) -> str:
        """The last resize after the logits."""
        name = end = self.graph.convolution(kernel_name(LOGITS))
        for _ in self.graph.nodes:  # more steps than nodes are a cycle, which the comparison refuses
            follow = ("BiasAdd", "Identity", "AddN", "ResizeBilinear", "FakeQuantWithMinMaxVars")
            users = [user for user in self.graph.consumers[name] if self.graph.kind(user) in follow]
            if not users:
                break
            name = users[0]
            end = name if self.graph.kind(name) == "ResizeBilinear" else end
        if self.graph.kind(end) != "ResizeBilinear":
            self.graph.refuse(end, "logits that are resized to the image's size (ResizeBilinear) before their argmax")
        return end

    def _compare(self, name: str, layer: Layer) -> None:
        """The value `name` must be the output of `layer`."""
        if (name, layer.name) in self._seen:
            return
        self._seen.add((name, layer.name))
        if layer.kind == "input":
            return
        node, activations = self.graph.back(name)
        if layer.kind == "resize":
            source = self.layers[layer.inputs[0]]
            same_size = (source.height, source.width) == (layer.height, layer.width)
            if self.graph.kind(node) != "ResizeBilinear":
                if not same_size:
                    self.graph.refuse(node, f"ResizeBilinear for layer {layer.name}")
                return self._compare(name, source)
            self._take_resize(node, layer)
            return self._compare(self.graph.inputs(node)[0], source)
        for _ in self.graph.nodes:
            if self.graph.kind(node) != "ResizeBilinear":  # to the size it has already
                break
            self._take_resize(node, layer)
            node, before = self.graph.back(self.graph.inputs(node)[0])
            activations |= before
        if activations != _ACTIVATIONS[layer.activation]:
            found = ", ".join(sorted(activations)) or "none"
            self.graph.refuse(node, f"the activation {layer.activation} for layer {layer.name}, not {found}")
        {
            "conv": self._convolution,
            "depthwise": self._convolution,
            "add": self._sum,
            "pool": self._pool,
            "concat": self._concat,
        }[layer.kind](node, layer)

    def _source(self, layer: Layer, index: int = 0) -> Layer:
        return self.layers[layer.inputs[index]]

    def _convolution(self, node: str, layer: Layer) -> None:
        if node != self.graph.convolution(kernel_name(layer.name)):
            self.graph.refuse(node, f"the convolution with {kernel_name(layer.name)}, for layer {layer.name}")
        if self.graph.window(node) != (layer.stride, layer.dilation):
            self.graph.refuse(node, f"stride {layer.stride} and dilation {layer.dilation} for layer {layer.name}")
        if layer.kernel > 1 and not self.graph.is_padded(node):
            self.graph.refuse(node, f"SAME padding for layer {layer.name}")
        self._compare(self.graph.source(node), self._source(layer))

    def _sum(self, node: str, layer: Layer) -> None:
        inputs = self.graph.inputs(node)
        if self.graph.kind(node) not in ("Add", "AddV2") or len(inputs) != 2:
            self.graph.refuse(node, f"a sum for layer {layer.name}")
        projection = self.graph.convolution(kernel_name(layer.inputs[0]))
        first = next((name for name in inputs if self.graph.back(name)[0] == projection), None)
        if first is None:
            self.graph.refuse(node, f"{kernel_name(layer.inputs[0])} in the sum for layer {layer.name}")
        self._compare(first, self._source(layer))
        self._compare(inputs[1 - inputs.index(first)], self._source(layer, 1))

    def _pool(self, node: str, layer: Layer) -> None:
        before = self._source(layer)
        if self.graph.kind(node) == "AvgPool":
            fits = tuple(self.graph.attribute(node, "ksize").list.i) == (1, before.height, before.width, 1)
            fits = fits and self.graph.attribute(node, "padding").s == b"VALID"
        elif self.graph.kind(node) == "Mean":
            axes = self.graph.constant(self.graph.inputs(node)[1])
            fits = axes is not None and sorted(axes.reshape(-1).tolist()) == [1, 2]
            fits = fits and self.graph.attribute(node, "keep_dims").b
        else:
            fits = False
        if not fits:
            self.graph.refuse(node, f"an average over all {before.height} x {before.width} for layer {layer.name}")
        self._compare(self.graph.inputs(node)[0], before)

    def _concat(self, node: str, layer: Layer) -> None:
        inputs = self.graph.inputs(node)
        axis = self.graph.constant(inputs[-1]) if self.graph.kind(node) == "ConcatV2" else None
        if axis is None or int(axis) not in (3, -1) or len(inputs) - 1 != len(layer.inputs):
            self.graph.refuse(node, f"a concatenation of {len(layer.inputs)} over channels for layer {layer.name}")
        for index, name in enumerate(inputs[:-1]):
            self._compare(name, self._source(layer, index))

    def _take_resize(self, node: str, layer: Layer) -> None:
        """A resize to the size of `layer`; a size the graph computes (the image's) can only be the last one."""
        size = self.graph.constant(self.graph.inputs(node)[1])
        if size is not None and tuple(size.tolist()) != (layer.height, layer.width):
            self.graph.refuse(node, f"a resize to {layer.height} x {layer.width} for layer {layer.name}")
        if size is None and layer.name != OUTPUT:
            self.graph.refuse(node, f"a resize to a constant size for layer {layer.name}")
        if layer.name != OUTPUT and self._is_from_one_pixel(layer):
            return  # all conventions agree
        convention: ResizeConvention = "legacy"
        if self.graph.attribute(node, "align_corners").b:
            convention = "align_corners"
        elif self.graph.attribute(node, "half_pixel_centers").b:
            convention = "half_pixel"
        if layer.kind == "resize":
            if self._convention not in (None, convention):
                self.graph.refuse(node, f"the convention {self._convention}, as in the other resizes")
            self._convention = convention

    def _is_from_one_pixel(self, layer: Layer) -> bool:
        return layer.kind == "resize" and (self._source(layer).height, self._source(layer).width) == (1, 1)
