"""Networks run on images by their C programs, in this process: labels, class probabilities, inner activations.

What is computed here is what the exported program computes: the same kernels by the same tables, in an arena that the
planner laid out. No TensorFlow is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

from deeplab.network import INPUT, convolutions, is_depthwise, is_float, logits, window, without_stated_parameters
from deeplab.runtime.kernel_library import kernel_library
from deeplab.runtime.loaded_program import LoadedProgram
from deeplab.threads import threads
from evaluation.graph import Graph, Operator
from evaluation.graph.geometry import padding_before
from evaluation.planner import Plan
from evaluation.planner.plan import plan_in_order

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_SAMPLED_VALUES_PER_IMAGE = 1024


class Runner:
    """A network's program, on several images at a time."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        """Load the program.

        Raises:
            UserError: there is no compiler, or no kernel for an operator.
        """
        self.program = LoadedProgram(graph, plan, kernel_library())
        self._programs: SimpleQueue[LoadedProgram] = SimpleQueue()
        self.threads = threads()
        for number in range(self.threads):
            self._programs.put(self.program.twin() if number else self.program)

    def map(self, function: Callable[[LoadedProgram, ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
        """The results of a function of the program and each item, in order; it must not keep the program."""

        def one(item: ItemT) -> ResultT:
            program = self._programs.get()
            try:
                return function(program, item)
            finally:
                self._programs.put(program)

        with ThreadPoolExecutor(self.threads) as pool:
            yield from pool.map(one, items)

    def labels(self, frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Class of every pixel: uint8 (N, height, width, 3) at the network's size -> uint8 (N, height, width)."""
        return np.stack(list(self.map(LoadedProgram.labels, frames))).astype(np.uint8)


def runner_of(network: Graph) -> Runner:
    """The program of a network, untiled."""
    network = without_stated_parameters(network)
    return Runner(network, plan_in_order(network))


class Classifier:
    """Class probabilities of a network."""

    def __init__(self, network: Graph) -> None:
        network = without_stated_parameters(network)
        self._output = logits(network)
        self._runner = runner_of(_until(network, self._output))
        parameters = network.tensors[self._output].quantization
        self._scale = np.float32(1.0 if parameters is None else parameters.scale[0])

    def probabilities(self, frames: np.ndarray) -> np.ndarray:
        """Class probabilities of images, uint8 (N, height, width, 3): float32 (N, height, width, classes)."""
        return np.stack(list(self._runner.map(self._of_one, frames)))

    def _of_one(self, program: LoadedProgram, frame: np.ndarray) -> np.ndarray:
        program.start(frame)
        (logits,) = (value for _, value in program.advance(range(len(program.calls)), {self._output}))
        return _softmax(logits.astype(np.float32) * self._scale)


def labels(network: Graph, frames: np.ndarray) -> np.ndarray:
    """Class of every pixel: uint8 (N, height, width, 3) at the network's size -> uint8 (N, height, width)."""
    return runner_of(network).labels(frames)


def probabilities(network: Graph, frames: np.ndarray) -> np.ndarray:
    """Class probabilities of images, uint8 (N, height, width, 3): float32 (N, height, width, classes)."""
    return Classifier(network).probabilities(frames)


Seen = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def observe(network: Graph, frames: np.ndarray) -> dict[str, list[Seen]]:
    """Ranges of a float network's activations.

    Args:
        network: in float.
        frames: uint8 (N, height, width, 3) at the network's size.

    Returns:
        Of each activation but the input and concatenations and of each image: least and largest value of each channel
        (channels,), evenly spaced values (n,), mean of each channel (channels,).
    """
    graph = _until(network, logits(network))
    names = {
        operator.outputs[0]: operator.name
        for operator in graph.operators
        if operator.name != INPUT and operator.kind != "CONCATENATION"
    }

    def seen(program: LoadedProgram, frame: np.ndarray) -> dict[int, Seen]:
        program.start(frame)
        calls = range(len(program.calls))
        return {number: _seen(value) for number, value in program.advance(calls, names)}

    found: dict[str, list[Seen]] = {name: [] for name in names.values()}
    for image in runner_of(graph).map(seen, frames):
        for number, one in image.items():
            found[names[number]].append(one)
    return found


def sample_inputs(
    network: Graph, frames: np.ndarray, pixels: int, names: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Inputs of convolutions of a float network.

    Args:
        network: in float.
        frames: uint8 (N, height, width, 3) at the network's size.
        pixels: of each image, about, evenly spaced; maps with fewer give all that they have.
        names: of the convolutions; all but depthwise ones, if empty.

    Returns:
        By convolution, float32 (samples, input channels).
    """
    found: dict[str, list[np.ndarray]] = {}
    chosen = [
        operator
        for operator in convolutions(network)
        if (operator.name in names if names else not is_depthwise(operator))
    ]
    graph = _until(network, chosen[-1].outputs[0])
    wanted = {operator.inputs[0] for operator in chosen}

    def sampled(program: LoadedProgram, frame: np.ndarray) -> dict[int, np.ndarray]:
        program.start(frame)
        flat = (
            (number, value.reshape(-1, value.shape[-1]))
            for number, value in program.advance(range(len(program.calls)), wanted)
        )
        return {number: value[:: max(1, len(value) // pixels)].copy() for number, value in flat}

    for image in runner_of(graph).map(sampled, frames):
        for operator in chosen:
            found.setdefault(operator.name, []).append(image[operator.inputs[0]])
    return {name: np.concatenate(parts) for name, parts in found.items()}


class Walk:
    """A network that runs over images a few layers at a time, as far as it is asked to; no layer runs twice.

    The arena of each image is held, which holds what later layers read and nothing else that counts. Layers that were
    not reached yet may change between two calls, which is what AdaRound needs: each chain reads the outputs of those
    that were rounded before it.

    Args:
        network: one of the networks that run, which all have its shape.
        frames: uint8 (N, height, width, 3) at the network's size.
    """

    def __init__(self, network: Graph, frames: np.ndarray) -> None:
        self._plan = plan_in_order(without_stated_parameters(network))
        self._frames, self._reached = frames, 0
        self._arenas: dict[int, np.ndarray] = {}

    def sample_windows(
        self, network: Graph, source: int, reader: Operator, count: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a convolution's windows see of an activation, which has the size of the convolution's input.

        Activations are asked for in the network's order. The positions are drawn from `seed` alone, so two networks of
        one shape are seen at the same ones.

        Args:
            network: runs, from where the last call left it to `source`.
            source: the activation that is read.
            reader: the convolution whose kernel, stride and dilation make the window.
            count: windows of each image, with replacement.
            seed: of the positions.

        Returns:
            Real values, float32 (N * count, taps, channels), zeros outside the image; and what is inside, float32
            (N * count, taps) of 0 and 1.
        """
        size, outputs = (np.array(network.tensors[index].shape[1:3]) for index in (reader.inputs[0], reader.outputs[0]))
        stride, dilation = (np.array(reader.attributes[name]) for name in ("stride", "dilation"))
        reach, before = (np.array(window(network, reader)) - 1) * dilation, padding_before(network, reader)
        steps = [np.arange(0, ends + 1, step) for ends, step in zip(reach, dilation, strict=True)]
        taps = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 2)
        random = np.random.default_rng(seed)
        values, inside = [], []
        for value in self._outputs(network, source):
            positions = random.integers(outputs, size=(count, 2))
            rows = positions[:, None] * stride + taps - before
            within = ((rows >= 0) & (rows < size)).all(axis=-1)
            clipped = np.clip(rows, 0, size - 1)
            values.append(value[clipped[..., 0], clipped[..., 1]] * within[..., None].astype(np.float32))
            inside.append(within)
        return np.concatenate(values), np.concatenate(inside).astype(np.float32)

    def _outputs(self, network: Graph, tensor: int) -> list[np.ndarray]:
        """Real values of an activation on each image, float32 (height, width, channels)."""
        runner = Runner(without_stated_parameters(network), self._plan)
        calls = runner.program.calls
        reader = next(
            number
            for number in range(self._reached, len(calls))
            if any(tensor in network.operators[index].inputs for index in calls[number])
        )
        end = _written_by(network, calls, tensor) + 1
        while end < reader and not calls[end]:  # a copy of an input into its place in a concatenation
            end += 1
        begin, self._reached = self._reached, max(self._reached, end)

        def advanced(program: LoadedProgram, number: int) -> np.ndarray:
            if begin:
                program.arena[...] = self._arenas[number]
            else:
                program.start(self._frames[number])
            for _ in program.advance(range(begin, self._reached)):
                pass
            self._arenas[number] = program.arena.copy()
            return program.read(reader, tensor)

        found = runner.map(advanced, range(len(self._frames)))
        if is_float(network):
            return list(found)
        parameters = network.tensors[tensor].required_quantization
        zero, scale = parameters.zero_point.astype(np.float32), parameters.scale.astype(np.float32)
        return [np.asarray((value - zero) * scale) for value in found]


def _written_by(graph: Graph, calls: Sequence[tuple[int, ...]], tensor: int) -> int:
    """The call after which a tensor is whole; a concatenation that is no call of its own is written by its inputs'."""
    producer = next(index for index, operator in enumerate(graph.operators) if tensor in operator.outputs)
    found = [number for number, operators in enumerate(calls) if producer in operators]
    return found[0] if found else max(_written_by(graph, calls, one) for one in graph.operators[producer].inputs)


def _until(graph: Graph, output: int) -> Graph:
    """The graph whose output is this tensor."""
    end = next(number for number, operator in enumerate(graph.operators) if output in operator.outputs)
    return replace(graph, operators=graph.operators[: end + 1], outputs=(output,))


def _seen(value: np.ndarray) -> Seen:
    by_channel = value.reshape(-1, value.shape[-1])
    sample = value.reshape(-1)[:: _spacing(value.size, value.shape[-1])].copy()
    mean = by_channel.mean(axis=0, dtype=np.float64).astype(np.float32)
    return by_channel.min(axis=0), by_channel.max(axis=0), sample, mean


def _spacing(elements: int, channels: int) -> int:
    """Distance between sampled elements, coprime with the channels so that every channel has its turn."""
    every = max(1, elements // _SAMPLED_VALUES_PER_IMAGE)
    while math.gcd(every, channels) > 1:
        every += 1
    return every


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
