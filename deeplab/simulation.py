"""Simulated quantization: a network run on images by TensorFlow, in float or on the integer runtime's codes.

One `Simulator` holds two traced functions for one network shape, one in float and one on codes. Weights, scales and
clamps are variables of them, so another bit-width, another mask or other weights of the same shape trace nothing anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import LOGITS, Layer, layers
from deeplab.model import build, load_weights, requantizer_name
from deeplab.quantization import FLOAT_INPUT_ZERO, INPUT_SCALE, INPUT_ZERO_POINT, QuantizedNetwork
from deeplab.spec import NetworkSpec
from deeplab.tensorflow import keras, tf

_PIXELS_PER_BATCH = 1 << 20
_SAMPLED_VALUES_PER_IMAGE = 1024
VALUES_TOGETHER = 1 << 26
"""Of inner tensors, held at a time: 256 MiB."""
_CODE_RESOLUTION = 2.0**12
"""Means and interpolated codes are taken to this fraction before they are rounded: float32 may miss an exact half."""


class Simulator:
    """Runs any network of one spec; built once, and traced once in float and once on codes."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.model = build(spec, requantize=True)
        self.input_zero = tf.Variable(FLOAT_INPUT_ZERO, dtype=tf.float32)
        self.input_scale = tf.Variable(INPUT_SCALE, dtype=tf.float32)
        self.logit_scale = tf.Variable(1.0, dtype=tf.float32)
        self._requantizers = {
            layer.name: self.model.get_layer(requantizer_name(layer.name))
            for layer in layers(spec)
            if layer.kind not in ("input", "concat")
        }
        self._loaded: object = None
        signature = [tf.TensorSpec((None, spec.input_height, spec.input_width, 3), tf.uint8)]
        # No autograph: there is no Python control flow to convert, and looking for some doubles the time of a trace.
        # By whether it runs on codes.
        self._labels, self._probabilities = (
            {on_codes: tf.function(function, input_signature=signature, autograph=False) for on_codes in (False, True)}
            for function in (self._labels_of, self._probabilities_of)
        )

    def _labels_of(self, frames: tf.Tensor) -> tf.Tensor:
        logits = self.model(self.normalise(frames), training=False)
        # Not tf.argmax: among equal logits, which rounding makes common, it takes any; top_k takes the first class, as
        # TFLite does.
        return tf.cast(tf.math.top_k(logits, k=1, sorted=False).indices[..., 0], tf.uint8)

    def _probabilities_of(self, frames: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(self.model(self.normalise(frames), training=False) * self.logit_scale)

    def normalise(self, frames: tf.Tensor) -> tf.Tensor:
        return (tf.cast(frames, tf.float32) - self.input_zero) * self.input_scale

    def load(self, network: Checkpoint | QuantizedNetwork) -> None:
        """Make `network` the one that runs."""
        if network is self._loaded:
            return
        assert network.spec == self.spec
        self._loaded = None
        if isinstance(network, Checkpoint):
            load_weights(self.model, self.spec, network.weights)
            self.input_zero.assign(FLOAT_INPUT_ZERO)
            self.input_scale.assign(INPUT_SCALE)
            self.logit_scale.assign(1.0)
            for requantizer in self._requantizers.values():
                requantizer.active = False
        else:
            self._load_codes(network)
        self._loaded = network

    def _load_codes(self, network: QuantizedNetwork) -> None:
        load_weights(self.model, self.spec, network.quantized_values())
        self.input_zero.assign(float(INPUT_ZERO_POINT))
        self.input_scale.assign(1.0)
        self.logit_scale.assign(network.activations[LOGITS].scale)
        multipliers, grids = network.multipliers(), network.activations
        for layer in layers(self.spec):
            if layer.kind in ("input", "concat"):
                continue
            requantizer, grid = self._requantizers[layer.name], grids[layer.name]
            low, high = network.clamp(layer)
            requantizer.active = True
            requantizer.low.assign(low - grid.zero_point)
            requantizer.high.assign(high - grid.zero_point)
            if layer.kind == "add":
                shifted, heads, guards = network.sum_multipliers(layer)
                requantizer.shifted.assign(shifted)
                for variables, values in ((requantizer.heads, heads), (requantizer.guards, guards)):
                    for variable, value in zip(variables, values, strict=True):
                        variable.assign(value)
                continue
            fine = tf.fill(requantizer.head.shape, tf.constant(_CODE_RESOLUTION, tf.float64))
            head, guard = multipliers.get(layer.name, (fine, fine))
            requantizer.origin.assign(grid.zero_point if layer.kind in ("pool", "resize") else 0)
            requantizer.head.assign(head)
            requantizer.guard.assign(guard)

    @property
    def batch_size(self) -> int:
        """Images run together: about a million pixels, which fills two cores without filling the memory."""
        return max(1, min(32, _PIXELS_PER_BATCH // (self.spec.input_height * self.spec.input_width)))

    def labels(self, network: Checkpoint | QuantizedNetwork, frames: np.ndarray) -> np.ndarray:
        """Class of every pixel: uint8 (N, height, width, 3) at the network's size -> uint8 (N, height, width)."""
        self.load(network)
        size = self.batch_size
        run = self._labels[isinstance(network, QuantizedNetwork)]
        parts = [run(frames[start : start + size]).numpy() for start in range(0, len(frames), size)]
        return np.concatenate(parts)

    def probabilities(self, network: Checkpoint | QuantizedNetwork, frames: np.ndarray) -> tf.Tensor:
        """Class probabilities, float32 (N, height, width, classes)."""
        self.load(network)
        return self._probabilities[isinstance(network, QuantizedNetwork)](frames)

    def observe(
        self, checkpoint: Checkpoint, frames: np.ndarray
    ) -> dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]]:
        """Per layer and image, of the output before any rounding: of each channel minimum and maximum (channels,),
        evenly spaced values (n,), mean of each channel (channels,)."""
        self.load(checkpoint)
        outputs = [requantizer.output for requantizer in self._requantizers.values()]
        found: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in self._requantizers}
        for image in self._values(outputs, frames):
            for seen, value in zip(found.values(), image, strict=True):
                every = _spacing(value.size, value.shape[-1])
                by_channel = value.reshape(-1, value.shape[-1])
                sample = value.reshape(-1)[::every].copy()
                seen.append((by_channel.min(axis=0), by_channel.max(axis=0), sample, _mean(by_channel)))
        return found

    def sample_inputs(
        self, network: Checkpoint | QuantizedNetwork, frames: np.ndarray, pixels: int, names: tuple[str, ...] = ()
    ) -> dict[str, np.ndarray]:
        """What the named convolutions read, or all but depthwise ones: float32 (samples, input channels); codes less
        their zero point where the network is quantized.

        About `pixels` evenly spaced pixels of each image; maps with fewer pixels give all they have.
        """
        self.load(network)
        names = names or tuple(layer.name for layer in layers(self.spec) if layer.kind == "conv")
        found: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for image in self._values([self.model.get_layer(name).input for name in names], frames):
            for seen, value in zip(found.values(), image, strict=True):
                flat = value.reshape(-1, value.shape[-1])
                seen.append(flat[:: max(1, len(flat) // pixels)].copy())
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _values(self, tensors: list[keras.KerasTensor], frames: np.ndarray) -> Iterator[list[np.ndarray]]:
        """Of each image, what tensors inside the model hold: float32 (height, width, channels) each.

        Not traced: a trace of that many outputs takes longer than running them on the images that are asked for.
        """
        inner = keras.Model(self.model.input, tensors)
        each = sum(math.prod(tensor.shape[1:]) for tensor in tensors)
        size = max(1, min(self.batch_size, VALUES_TOGETHER // each))
        for start in range(0, len(frames), size):
            batch = self.normalise(tf.constant(frames[start : start + size]))
            values = [value.numpy() for value in tf.nest.flatten(inner(batch, training=False))]
            yield from ([value[index] for value in values] for index in range(len(batch)))

    def output(self, layer: Layer, sources: list[tf.Tensor]) -> tf.Tensor:
        """What one layer of the loaded network makes of its inputs (N, height, width, channels each; the input layer of
        the images, uint8), rounded if the network is. Not traced."""
        if layer.kind == "input":
            return self.normalise(sources[0])
        if layer.kind == "add":
            return self._requantizers[layer.name](sources)
        value = self.model.get_layer(layer.name)(sources if len(sources) > 1 else sources[0])
        return value if layer.kind == "concat" else self._requantizers[layer.name](value)


class Walk:
    """A network that runs over images a few layers at a time, as far as it is asked to; no layer runs twice.

    What later layers read is held for all images, float32, and nothing else: 64 images of 512 x 512 take about half
    a gigabyte behind the first layer of MobileNetV2, less further on. Layers that were not reached yet may change
    between two calls, which is what learned rounding needs: each chain reads what those rounded before it give.

    Args:
        runner: of the network's spec.
        frames: uint8 (N, height, width, 3) at the network's size.
    """

    def __init__(self, runner: Simulator, frames: np.ndarray) -> None:
        self._runner = runner
        self._order = layers(runner.spec)
        self._reached = 0
        size = runner.batch_size
        self._frames = [frames[start : start + size] for start in range(0, len(frames), size)]
        self._held: list[dict[str, np.ndarray]] = [{} for _ in self._frames]

    @property
    def held(self) -> frozenset[str]:
        """Layers whose outputs are held."""
        return frozenset().union(*self._held)

    def sample_windows(
        self, network: Checkpoint | QuantizedNetwork, source: str, window: Layer, count: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a layer's windows see of another layer's output, which has the size of the layer's input.

        Sources are asked for in the network's order. The places are drawn from `seed` alone, so two networks of one
        spec are seen at the same ones.

        Args:
            network: runs, from where the last call left it to `source`.
            source: the layer whose output is read.
            window: the layer whose kernel, stride and dilation make the window.
            count: windows of each image, with replacement.
            seed: of the places.

        Returns:
            Real values, float32 (N * count, taps, channels), zeros outside the image; and what is inside, float32
            (N * count, taps) of 0 and 1.
        """
        self._go_on(network, source)
        before = next(layer for layer in self._order if layer.name == window.inputs[0])
        size = np.array([before.height, before.width])
        reach = (window.kernel - 1) * window.dilation
        pads = np.maximum(0, (np.array([window.height, window.width]) - 1) * window.stride + reach + 1 - size)
        steps = np.arange(window.kernel) * window.dilation
        taps = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
        random = np.random.default_rng(seed)
        values, inside = [], []
        for value in (image for held in self._held for image in held[source]):
            places = random.integers([window.height, window.width], size=(count, 2))
            rows = places[:, None] * window.stride + taps - pads // 2
            within = ((rows >= 0) & (rows < size)).all(axis=-1)
            clipped = np.clip(rows, 0, size - 1)
            values.append(value[clipped[..., 0], clipped[..., 1]] * within[..., None].astype(np.float32))
            inside.append(within)
        scale = network.activations[source].scale if isinstance(network, QuantizedNetwork) else 1.0
        return np.concatenate(values) * np.float32(scale), np.concatenate(inside).astype(np.float32)

    def _go_on(self, network: Checkpoint | QuantizedNetwork, source: str) -> None:
        """Run all layers up to `source` that have not run yet."""
        end = 1 + next(index for index, layer in enumerate(self._order) if layer.name == source)
        self._runner.load(network)
        new, later = self._order[self._reached : end], self._order[max(end, self._reached) :]
        awaited = {source}.union(*(layer.inputs for layer in later))
        for number, frames in enumerate(self._frames):
            values = {name: tf.constant(value) for name, value in self._held[number].items()}
            for layer in new:
                sources = [values[name] for name in layer.inputs] or [tf.constant(frames)]
                values[layer.name] = self._runner.output(layer, sources)
            self._held[number] = {name: value.numpy() for name, value in values.items() if name in awaited}
        self._reached = max(end, self._reached)


def _mean(values: np.ndarray) -> np.ndarray:
    """Of each column, float32, summed in float64."""
    return values.mean(axis=0, dtype=np.float64).astype(np.float32)


def _spacing(elements: int, channels: int) -> int:
    """Distance between sampled elements, coprime with the channels so that every channel has its turn."""
    every = max(1, elements // _SAMPLED_VALUES_PER_IMAGE)
    while math.gcd(every, channels) > 1:
        every += 1
    return every


@lru_cache(maxsize=8)
def simulator(spec: NetworkSpec) -> Simulator:
    """The simulator of a spec; kept, since building and tracing one costs more than many evaluations."""
    return Simulator(spec)
