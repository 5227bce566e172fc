"""Quantization-aware training of a network from its post-training quantization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeplab.model import build
from deeplab.network import INPUT, convolutions, is_depthwise, kernel, tensor_indices
from deeplab.optimizer_step import Batches, FineTuning, OptimizerStep, Teacher, run_steps
from deeplab.quantization import ActivationQuantization, IntegerWeights, integer_weights, shared_tensors
from deeplab.quantization.activations import has_fixed_parameters
from deeplab.quantization.integers import accumulator_scales, quantize_bias, with_integers
from deeplab.quantization_aware.quantizers import (
    BIAS_STEP,
    ActivationQuantizer,
    ActivationScale,
    BiasUnit,
    KernelQuantizer,
    RoundingConfig,
)
from deeplab.sizes import with_input_size
from deeplab.tensorflow import keras, tf
from evaluation.graph import Graph, Operator

_NEAR = 0.25
"""Largest distance of a weight's start from its quantized value, in steps; at 0.5 it would be rounded to the next."""

QatOptions = FineTuning
"""Steps, rate and loss, as for a float network; but the rate is in steps of the scales."""


def train_qat(
    network: Graph,
    integers: Graph,
    batches: Batches,
    options: QatOptions,
    *,
    teacher: Graph | None = None,
) -> Graph:
    """Quantization-aware training.

    Args:
        network: the float network `integers` was made from; its weights are trained, those that are 0 stay 0.
        integers: the post-training result, whose scales and biases are the start of the learned ones.
        batches: the images of each step.
        options: steps, rate and loss.
        teacher: the network to imitate, for `distill`: `network` itself, or the one it was pruned from.

    Returns:
        The trained integer network with its learned scales.
    """
    if options.steps == 0:
        return integers
    height, width = batches(0)[0].shape[1:3]
    student = QatStudent(network, integers, height, width)
    imitated = Teacher(teacher or network, height, width) if options.loss == "distill" else None
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
        network: in float; its weights are trained, those that are 0 stay 0.
        integers: its post-training result, where weights, biases and scales start.
        height, width: of the images it trains on.
    """

    def __init__(self, network: Graph, integers: Graph, height: int, width: int) -> None:
        from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2

        self.start = integers
        entry = tensor_indices(integers)[INPUT]
        self.scales = {
            tensor: scale
            for members in shared_tensors(integers)
            if entry not in members
            for first in [integers.tensors[members[0]]]
            for scale in [ActivationScale(first.name, ActivationQuantization.of(first))]
            for tensor in members
        }
        self.wrapped: dict[str, _Wrapped] = {}

        def wrap(operator: Operator, part: keras.layers.Layer, *, rounds: bool) -> keras.layers.Layer:
            moves = operator.kind == "CONCATENATION" or operator.outputs[0] not in self.scales
            output = ActivationQuantizer(self.scales[operator.outputs[0]]) if rounds and not moves else None
            quantizer = None
            if isinstance(part, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
                limit = (1 << (integers.tensors[operator.inputs[1]].bits - 1)) - 1
                mask = (kernel(network, operator) != 0.0).astype(np.float32)
                scales = integer_weights(integers, operator).scales
                quantizer = KernelQuantizer(scales, limit, mask, depthwise=is_depthwise(operator))
            if quantizer is None and output is None:
                return part
            step = ActivationQuantization.of(integers.tensors[operator.outputs[0]]).scale
            unit = BiasUnit(BIAS_STEP * step)
            wrapped = QuantizeWrapperV2(part, RoundingConfig(quantizer, output, unit))
            if quantizer is not None:
                self.wrapped[operator.name] = _Wrapped(quantizer, unit, wrapped)
            return wrapped

        self.model = build(with_input_size(network, height, width), wrap=wrap)
        for operator in convolutions(network):
            self._start(network, operator)
        exponents = {
            id(scale): scale.exponent
            for tensor, scale in self.scales.items()
            if not has_fixed_parameters(integers, tensor)
        }
        trained = [*self.model.trainable_variables, *exponents.values()]
        self.optimizer_step = OptimizerStep(self.model, trained, integers)

    def _start(self, network: Graph, operator: Operator) -> None:
        """Start each weight at its quantized value, moved towards its real value but well within half a step: AdaRound
        leaves many at the edge, and the first small steps of training would undo its decisions."""
        wrapped, own = self.wrapped[operator.name], integer_weights(self.start, operator)
        variable, bias = wrapped.variables()
        real = kernel(network, operator) / wrapped.kernel.start
        quantized = own.kernel.astype(np.float32)
        variable.assign(np.clip(real, quantized - _NEAR, quantized + _NEAR) * wrapped.kernel.mask)
        bias.assign((own.bias * accumulator_scales(self.start, operator) / wrapped.bias.step).astype(np.float32))

    def network(self) -> Graph:
        """The integer network with its learned weights, biases and scales."""
        learned = {tensor: scale.learned() for tensor, scale in self.scales.items()}
        weights = {}
        for operator in convolutions(self.start):
            wrapped, own = self.wrapped[operator.name], integer_weights(self.start, operator)
            variable, bias = wrapped.variables()
            scales = wrapped.kernel.scales()
            quantized = wrapped.kernel.quantized_values(variable.numpy()).astype(own.kernel.dtype)
            given = learned.get(operator.inputs[0])
            read = given.scale if given else ActivationQuantization.of(self.start.tensors[operator.inputs[0]]).scale
            real = bias.numpy() * wrapped.bias.step
            integer_bias = quantize_bias(real, np.float64(read) * scales, str(own.bias.dtype))
            weights[operator.name] = IntegerWeights(quantized, scales, integer_bias)
        return with_integers(self.start, weights, learned)
