"""tfmot quantizers and quantize configurations with this project's quantization parameters.

tfmot's own n-bit scheme has the parameters that TFLite's converter knows. Ours are those of an integer network here:
one symmetric scale per output channel for weights, one scale and zero point for all tensors that must share them. A
scale starts where post-training quantization left it and is learned: scale = start * exp(factor * t), the zero point
stays.

Trained variables are counted in steps of these scales, weights and biases too: folded kernels differ by orders of
magnitude, and one learning rate for real values would move some of them by many steps before others move by one. A
weight must move a quarter of a step or more before it is rounded otherwise; a bias or a scale, which moves many values
at once, is learned more slowly, or it diverges before the first weight has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_model_optimization.python.core.quantization.keras.quantize_config import QuantizeConfig
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import Quantizer

from deeplab.quantization import ActivationQuantization
from deeplab.tensorflow import keras, tf

BIAS_STEP = 0.1
"""Unit of a bias, in steps of the layer's output."""
_KERNEL_GROWTH, _ACTIVATION_GROWTH = 0.1, 0.01
"""Unit of a learned scale: its relative change."""


class ActivationScale:
    """Learned scale of activations, and their zero point: a variable that several layers' quantizers share."""

    def __init__(self, name: str, start: ActivationQuantization) -> None:
        self.start = start
        self.exponent = tf.Variable(0.0, name=f"{name}/scale")
        self._low = np.float32((start.low - start.zero_point) * start.scale)
        self._high = np.float32((start.high - start.zero_point) * start.scale)

    def round(self, values: tf.Tensor) -> tf.Tensor:
        factor = tf.exp(_ACTIVATION_GROWTH * self.exponent)
        return tf.quantization.fake_quant_with_min_max_vars(
            values, self._low * factor, self._high * factor, num_bits=self.start.bits
        )

    def learned(self) -> ActivationQuantization:
        scale = float(np.float32(self.start.scale * np.exp(_ACTIVATION_GROWTH * np.float64(self.exponent.numpy()))))
        return ActivationQuantization(scale, self.start.zero_point, self.start.bits)


class ActivationQuantizer(Quantizer):
    """Rounds a layer's output to quantized values; gradients pass where nothing is clipped."""

    def __init__(self, scale: ActivationScale) -> None:
        self.scale = scale

    def build(self, tensor_shape: Any, name: str, layer: keras.layers.Layer) -> dict[str, tf.Variable]:
        return {}

    def __call__(self, inputs: tf.Tensor, training: Any, weights: Any, **kwargs: Any) -> tf.Tensor:
        return self.scale.round(inputs)

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale.start.scale,
            "zero_point": self.scale.start.zero_point,
            "bits": self.scale.start.bits,
        }


class KernelQuantizer(Quantizer):
    """Learned step size (Esser et al. 2020, LSQ), per output channel, symmetric; pruned weights stay pruned.

    The layer's variable holds the kernel in units of the steps it starts with.

    Args:
        scales: float32 (out channels,), where the steps start.
        limit: largest quantized value.
        mask: 0 and 1, shaped as the kernel (tfmot's pruning-preserving quantization does the same).
        depthwise: whether the kernel is (h, w, channels, 1).
    """

    def __init__(self, scales: np.ndarray, limit: int, mask: np.ndarray, *, depthwise: bool) -> None:
        self.start = scales[:, None] if depthwise else scales
        self.limit, self.mask, self.depthwise = float(limit), mask, depthwise
        self.exponent: tf.Variable | None = None

    def build(self, tensor_shape: Any, name: str, layer: keras.layers.Layer) -> dict[str, tf.Variable]:
        initial = keras.initializers.Zeros()
        self.exponent = layer.add_weight(f"{name}_step", shape=self.start.shape, initializer=initial, trainable=True)
        return {"step": self.exponent}

    def __call__(self, inputs: tf.Tensor, training: Any, weights: Mapping[str, Any], **kwargs: Any) -> tf.Tensor:
        # LSQ scales the gradient of the step down (section 2.2); Adam, which divides by its size, makes that needless.
        growth = tf.exp(_KERNEL_GROWTH * weights["step"])
        quantized = tf.clip_by_value(inputs / growth, -self.limit, self.limit)
        rounded = quantized + tf.stop_gradient(tf.round(quantized) - quantized)
        return rounded * (growth * self.start) * self.mask

    def quantized_values(self, kernel: np.ndarray) -> np.ndarray:
        """Quantized values of a kernel that is given in units of the first steps, as float32."""
        assert self.exponent is not None
        growth = np.exp(np.float32(_KERNEL_GROWTH) * self.exponent.numpy())
        return np.clip(np.rint(kernel / growth), -self.limit, self.limit) * self.mask

    def scales(self) -> np.ndarray:
        """The learned scales, float32 (out channels,)."""
        assert self.exponent is not None
        return (self.start * np.exp(np.float32(_KERNEL_GROWTH) * self.exponent.numpy())).astype(np.float32).reshape(-1)

    def get_config(self) -> dict[str, Any]:
        return {"limit": self.limit, "depthwise": self.depthwise}


class BiasUnit(Quantizer):
    """Turns a bias counted in steps into real values. int32 needs no rounding to be simulated."""

    def __init__(self, step: float) -> None:
        self.step = step

    def build(self, tensor_shape: Any, name: str, layer: keras.layers.Layer) -> dict[str, tf.Variable]:
        return {}

    def __call__(self, inputs: tf.Tensor, training: Any, weights: Any, **kwargs: Any) -> tf.Tensor:
        return inputs * self.step

    def get_config(self) -> dict[str, Any]:
        return {"step": self.step}


class RoundingConfig(QuantizeConfig):
    """The parts of one layer that are rounded: its kernel (and then its bias has a unit), its output, or both."""

    def __init__(
        self, kernel: KernelQuantizer | None, output: ActivationQuantizer | None, bias: BiasUnit | None = None
    ) -> None:
        self.kernel, self.output, self.bias = kernel, output, bias

    def _attribute(self) -> str:
        assert self.kernel is not None
        return "depthwise_kernel" if self.kernel.depthwise else "kernel"

    def get_weights_and_quantizers(self, layer: keras.layers.Layer) -> list[tuple[tf.Variable, Quantizer]]:
        return [(getattr(layer, self._attribute()), self.kernel), (layer.bias, self.bias)] if self.kernel else []

    def set_quantize_weights(self, layer: keras.layers.Layer, quantize_weights: list[tf.Tensor]) -> None:
        if self.kernel:
            setattr(layer, self._attribute(), quantize_weights[0])
            layer.bias = quantize_weights[1]

    def get_activations_and_quantizers(self, layer: keras.layers.Layer) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: keras.layers.Layer, quantize_activations: list[Any]) -> None:
        return None

    def get_output_quantizers(self, layer: keras.layers.Layer) -> list[Quantizer]:
        return [self.output] if self.output else []

    def get_config(self) -> dict[str, Any]:
        return {"kernel": bool(self.kernel), "output": bool(self.output)}
