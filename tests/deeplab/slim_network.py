"""A DeepLab as `tensorflow/models` builds it in TensorFlow 1, written out anew: names, padding, dilation, BatchNorm.

It shares nothing with the product: the graph itself, run by TensorFlow, is what an import must equal.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deeplab.tensorflow import tf

# research/slim/nets/mobilenet/mobilenet_v2.py: (expansion, outputs, stride) of each expanded_conv.
BLOCKS = (
    (1, 16, 1), (6, 24, 2), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 32, 1), (6, 64, 2), (6, 64, 1), (6, 64, 1),
    (6, 64, 1), (6, 96, 1), (6, 96, 1), (6, 96, 1), (6, 160, 2), (6, 160, 1), (6, 160, 1), (6, 320, 1),
)  # fmt: skip


@dataclass
class SlimNetwork:
    """The graph being built; `variables` are drawn by name when they are first needed."""

    height: int = 33
    width: int = 33
    multiplier: float = 0.1
    output_stride: int = 16
    rates: tuple[int, ...] = ()
    decoder: bool = False
    skip: str = "depthwise"
    align_corners: bool = True
    half_pixel: bool = False
    fused: bool = True
    fixed_size: bool = True
    mean: bool = False
    quantized: bool = False
    full_kernels: bool = False
    classes: int = 5
    depth: int = 8
    blocks: int = 17
    variables: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(7)
        with tf.Graph().as_default() as self.graph:
            self._build()

    @property
    def definition(self):
        """The frozen GraphDef."""
        return self.graph.as_graph_def()

    def logits(self, image: np.ndarray, definition=None) -> np.ndarray:
        """Logits (1, height, width, classes) of one image uint8 (height, width, 3), of an edited GraphDef if given."""
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(definition or self.definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(self._logits.name, {"ImageTensor:0": image[None]})

    def write_graph(self, path: Path, definition=None) -> Path:
        path.write_bytes((definition or self.definition).SerializeToString())
        return path

    def write_checkpoint(self, prefix: Path, variables: dict[str, np.ndarray] | None = None) -> Path:
        """As a Saver writes it, with the optimiser's slots next to the variables."""
        arrays = dict(self.variables if variables is None else variables)
        slots = {f"{name}/Momentum": np.zeros_like(array) for name, array in arrays.items() if "moving" not in name}
        everything = {**arrays, **slots, "global_step": np.int64(30000)}
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=list(everything),
            shape_and_slices=[""] * len(everything),
            tensors=[tf.constant(array) for array in everything.values()],
        )
        return prefix

    # -- layers --------------------------------------------------------------------------------------------------------

    def _variable(self, name: str, shape: tuple[int, ...]):
        # Variances down to 0.003, so that a wrong epsilon shows, and kernels that fit them, so that rounding does not.
        variance = np.geomspace(0.003, 0.8, shape[2 if name.endswith("depthwise_weights") else -1])
        draw = {
            "gamma": lambda: self._random.uniform(0.6, 1.2, shape),
            "beta": lambda: self._random.normal(0.2, 0.3, shape),
            "biases": lambda: self._random.normal(0.0, 0.3, shape),
            "moving_mean": lambda: self._random.normal(0.0, 0.2, shape) * np.sqrt(variance),
            "moving_variance": lambda: variance,
            "weights": lambda: self._random.normal(0, 1, shape) * np.sqrt(variance / np.prod(shape[:3])),
            "depthwise_weights": lambda: self._random.normal(0, 1 / 3, shape) * np.sqrt(variance)[:, None],
        }[name.rsplit("/", 1)[1]]
        value = self.variables.setdefault(name, draw().astype(np.float32))
        return tf.identity(tf.constant(value, name=name), name=f"{name}/read")

    def _normalised(self, x, scope: str, epsilon: float):
        size = (x.shape[-1],)
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        gamma, beta, mean, variance = (self._variable(f"{scope}/BatchNorm/{part}", size) for part in parts)
        if not self.fused:
            return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon, f"{scope}/BatchNorm/batchnorm")
        return tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, mean, variance, epsilon, is_training=False, name=f"{scope}/BatchNorm/FusedBatchNorm"
        )[0]

    def _activated(self, x, scope: str, activation):
        x = activation(x, name=f"{scope}/{activation.__name__.title()}") if activation else x
        if self.quantized:
            x = tf.quantization.fake_quant_with_min_max_args(x, -60, 60, 16, name=f"{scope}/act_quant")
        return x

    def _conv(self, x, scope, outputs, activation, epsilon, kernel=1, stride=1):
        weights = self._variable(f"{scope}/weights", (kernel, kernel, x.shape[-1], outputs))
        x = tf.nn.conv2d(x, weights, stride, "SAME", name=f"{scope}/Conv2D")
        return self._activated(self._normalised(x, scope, epsilon), scope, activation)

    def _depthwise(self, x, scope, activation, epsilon, stride=1, rate=1):
        weights = self._variable(f"{scope}/depthwise_weights", (3, 3, x.shape[-1], 1))
        strides = (1, stride, stride, 1)
        x = tf.compat.v1.nn.depthwise_conv2d(x, weights, strides, "SAME", rate=(rate, rate), name=f"{scope}/depthwise")
        return self._activated(self._normalised(x, scope, epsilon), scope, activation)

    def _resize(self, x, size):
        return tf.raw_ops.ResizeBilinear(
            images=x, size=size, align_corners=self.align_corners, half_pixel_centers=self.half_pixel
        )

    def _width(self, channels: int) -> int:
        """conv_blocks._make_divisible with 8."""
        scaled = channels * self.multiplier
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    # -- the network ---------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        shape = (1, self.height, self.width, 3) if self.fixed_size else (1, None, None, 3)
        image = tf.compat.v1.placeholder(tf.uint8, shape, name="ImageTensor")
        x = (2.0 / 255.0) * tf.cast(image, tf.float32) - 1.0
        x.set_shape((1, self.height, self.width, 3))
        x, skip = self._backbone(tf.identity(x, name="MobilenetV2/input"))
        x = self._aspp(x)
        if self.decoder:
            x = self._decoder(x, skip)
        weights = self._variable("logits/semantic/weights", (1, 1, x.shape[-1], self.classes))
        x = tf.nn.conv2d(x, weights, 1, "SAME", name="logits/semantic/Conv2D")
        x = tf.nn.bias_add(x, self._variable("logits/semantic/biases", (self.classes,)), name="logits/semantic/BiasAdd")
        x = self._resize(x, x.shape[1:3].as_list())  # model.py resizes twice, here to the size they have
        size = tf.shape(image)[1:3] if not self.fixed_size else (self.height, self.width)
        self._logits = self._resize(x, size)
        tf.identity(tf.argmax(self._logits, 3), name="SemanticPredictions")

    def _backbone(self, x):
        """mobilenet.mobilenet_base: past the output stride, strides become rates of what follows."""
        relu6, epsilon = tf.nn.relu6, 0.001
        x = self._conv(x, "MobilenetV2/Conv", self._width(32), relu6, epsilon, kernel=3, stride=2)
        current, rate, skip = 2, 1, None
        for number, (expansion, outputs, stride) in enumerate(BLOCKS[: self.blocks]):
            layer_rate, layer_stride = 1, stride
            if current == self.output_stride:
                layer_stride, layer_rate = 1, rate
                rate *= stride
            else:
                current *= stride
            scope = f"MobilenetV2/expanded_conv{f'_{number}' if number else ''}"
            source = tf.identity(x, name=f"{scope}/input")
            x = source
            if expansion > 1:
                x = self._conv(x, f"{scope}/expand", x.shape[-1] * expansion, relu6, epsilon)
            x = self._depthwise(x, f"{scope}/depthwise", relu6, epsilon, layer_stride, layer_rate)
            x = tf.identity(x, name=f"{scope}/depthwise_output")
            skip = x if number == 2 and self.skip == "depthwise" else skip
            x = self._conv(x, f"{scope}/project", self._width(outputs), None, epsilon)
            if layer_stride == 1 and x.shape[-1] == source.shape[-1]:
                x = tf.add(x, source, name=f"{scope}/add")
            x = tf.identity(x, name=f"{scope}/output")
            skip = x if number == 2 and self.skip == "project" else skip
        return x, skip

    def _aspp(self, x):
        relu, epsilon = tf.nn.relu, 1e-5
        rows, columns = x.shape[1:3]
        if self.mean:
            pooled = tf.reduce_mean(x, (1, 2), keepdims=True)
        else:
            pooled = tf.nn.avg_pool2d(x, (rows, columns), (rows, columns), "VALID", name="AvgPool2D/AvgPool")
        pooled = self._conv(pooled, "image_pooling", self.depth, relu, epsilon)
        branches = [self._resize(pooled, (rows, columns)), self._conv(x, "aspp0", self.depth, relu, epsilon)]
        for number, rate in enumerate(self.rates, start=1):
            if self.full_kernels:
                branches.append(self._conv(x, f"aspp{number}", self.depth, relu, epsilon, kernel=3))
                continue
            branch = self._depthwise(x, f"aspp{number}_depthwise", relu, epsilon, rate=rate)
            branches.append(self._conv(branch, f"aspp{number}_pointwise", self.depth, relu, epsilon))
        return self._conv(tf.concat(branches, 3, name="concat"), "concat_projection", self.depth, relu, epsilon)

    def _decoder(self, x, skip):
        relu, epsilon = tf.nn.relu, 1e-5
        size = skip.shape[1:3].as_list()
        skip = self._conv(skip, "decoder/feature_projection0", 6, relu, epsilon)
        x = tf.concat([self._resize(x, size), self._resize(skip, size)], 3, name="decoder/concat")
        for number in range(2):
            x = self._depthwise(x, f"decoder/decoder_conv{number}_depthwise", relu, epsilon)
            x = self._conv(x, f"decoder/decoder_conv{number}_pointwise", self.depth, relu, epsilon)
        return x
