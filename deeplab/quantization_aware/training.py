"""Quantization-aware training of a network from its post-training quantization."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import INPUT, Layer, layers
from deeplab.model import build
from deeplab.optimizer_step import Batches, FineTuning, OptimizerStep, Teacher, run_steps
from deeplab.quantization import INPUT_ZERO_POINT, QuantizedNetwork, shared_parameters
from deeplab.quantization.post_training import quantize_bias
from deeplab.quantization_aware.quantizers import (
    BIAS_STEP,
    ActivationQuantizer,
    ActivationScale,
    BiasUnit,
    KernelQuantizer,
    RoundingConfig,
)
from deeplab.tensorflow import keras, tf

_NEAR = 0.25
"""Largest distance of a weight's start from its quantized value, in steps; at 0.5 it would be rounded to the next."""

QatOptions = FineTuning
"""Steps, rate and loss, as for a float network; but the rate is in steps of the scales."""


def train_qat(
    checkpoint: Checkpoint,
    network: QuantizedNetwork,
    batches: Batches,
    options: QatOptions,
    *,
    teacher: Checkpoint | None = None,
) -> QuantizedNetwork:
    """Quantization-aware training.

    Args:
        checkpoint: the float network `network` was made from; its weights are trained, those that are 0 stay 0.
        network: the post-training result, whose scales and biases are the start of the learned ones.
        batches: the images of each step.
        options: steps, rate and loss.
        teacher: the network to imitate, for `distill`: `checkpoint` itself, or the network it was pruned from.

    Returns:
        The trained network with its learned scales.
    """
    if options.steps == 0:
        return network
    height, width = batches(0)[0].shape[1:3]
    student = QatStudent(checkpoint, network, height, width)
    imitated = Teacher(teacher or checkpoint, height, width) if options.loss == "distill" else None
    run_steps(student.optimizer_step, batches, options, imitated)
    return student.network()


@dataclass(frozen=True)
class _Wrapped:
    """A layer with weights in tfmot's wrapper, and the quantizers of kernel and bias."""

    kernel: KernelQuantizer
    bias: BiasUnit
    layer: keras.layers.Layer

    def variables(self) -> tuple[tf.Variable, tf.Variable]:
        """The variables that are trained: kernel and bias, each in its unit."""
        kernel, bias = (variable for variable, _, _ in self.layer._weight_vars)
        return kernel, bias


class QatStudent:
    """The network with tfmot's wrappers around every layer that rounds; `optimizer_step` trains it.

    Args:
        checkpoint: the float network; its weights are trained, those that are 0 stay 0.
        network: its post-training result, where weights, biases and scales start.
        height, width: of the images it trains on.
    """

    def __init__(self, checkpoint: Checkpoint, network: QuantizedNetwork, height: int, width: int) -> None:
        from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2

        self.start = network
        self.scales = {
            name: scale
            for members in shared_parameters(network.spec)
            if INPUT not in members
            for scale in [ActivationScale(members[0], network.activations[members[0]])]
            for name in members
        }
        self.wrapped: dict[str, _Wrapped] = {}

        def wrap(layer: Layer, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
            output = ActivationQuantizer(self.scales[layer.name]) if rounds and layer.kind != "concat" else None
            kernel = None
            if isinstance(part, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
                weights = checkpoint.weights[f"{layer.name}/kernel"]
                limit = (1 << (network.bits.weights_of(layer.name) - 1)) - 1
                mask = (weights != 0.0).astype(np.float32)
                depthwise = layer.kind == "depthwise"
                kernel = KernelQuantizer(network.kernel_scales[layer.name], limit, mask, depthwise=depthwise)
            if kernel is None and output is None:
                return part
            unit = BiasUnit(BIAS_STEP * network.activations[layer.name].scale)
            wrapped = QuantizeWrapperV2(part, RoundingConfig(kernel, output, unit))
            if kernel is not None:
                self.wrapped[layer.name] = _Wrapped(kernel, unit, wrapped)
            return wrapped

        self.model = build(network.spec.with_input_size(height, width), wrap=wrap)
        for layer in layers(network.spec):
            if layer.has_weights:
                self._start(checkpoint, layer)
        exponents = {id(scale): scale.exponent for scale in self.scales.values()}
        trained = [*self.model.trainable_variables, *exponents.values()]
        self.optimizer_step = OptimizerStep(self.model, trained, INPUT_ZERO_POINT)

    def _start(self, checkpoint: Checkpoint, layer: Layer) -> None:
        """Start each weight at its quantized value, moved towards its real value but well within half a step: AdaRound
        leaves many at the edge, and the first small steps of training would undo its decisions."""
        wrapped = self.wrapped[layer.name]
        kernel, bias = wrapped.variables()
        real = checkpoint.weights[f"{layer.name}/kernel"] / wrapped.kernel.start
        quantized = self.start.kernels[layer.name].astype(np.float32)
        kernel.assign(np.clip(real, quantized - _NEAR, quantized + _NEAR) * wrapped.kernel.mask)
        accumulator = np.float64(self.start.activations[layer.inputs[0]].scale) * self.start.kernel_scales[layer.name]
        bias.assign((self.start.biases[layer.name] * accumulator / wrapped.bias.step).astype(np.float32))

    def network(self) -> QuantizedNetwork:
        """The network with its learned weights, biases and scales."""
        activations = {
            name: self.scales[name].learned() if name in self.scales else fixed
            for name, fixed in self.start.activations.items()
        }
        kernels, scales, biases = {}, {}, {}
        for layer in layers(self.start.spec):
            if not layer.has_weights:
                continue
            wrapped = self.wrapped[layer.name]
            kernel, bias = wrapped.variables()
            scales[layer.name] = wrapped.kernel.scales()
            dtype = self.start.kernels[layer.name].dtype
            kernels[layer.name] = wrapped.kernel.quantized_values(kernel.numpy()).astype(dtype)
            accumulator = np.float64(activations[layer.inputs[0]].scale) * scales[layer.name]
            biases[layer.name] = quantize_bias(bias.numpy() * wrapped.bias.step, accumulator, self.start.bits)
        return replace(self.start, kernels=kernels, kernel_scales=scales, biases=biases, activations=activations)
