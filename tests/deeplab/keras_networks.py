"""Segmentation networks in Keras 2 or 3, with random weights, and the files that each of them writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Network = Callable[..., Any]
SIDE = 128
"""Height and width of the images of the larger networks."""


def randomised(model: Any) -> Any:
    """Random kernels that keep the size of activations, and BatchNorm statistics that are not 0 and 1."""
    random = np.random.default_rng(7)
    for layer in model.layers:
        if hasattr(layer, "layers"):
            randomised(layer)
        elif type(layer).__name__ == "BatchNormalization":
            size = layer.get_weights()[0].shape
            layer.set_weights([
                random.uniform(0.6, 1.2, size), random.normal(0.2, 0.3, size), random.normal(0, 0.1, size),
                random.uniform(0.4, 1.2, size),
            ])  # fmt: skip
        elif weights := layer.get_weights():
            fans = [np.prod(w.shape[:2] if "Depthwise" in type(layer).__name__ else w.shape[:-1]) for w in weights]
            layer.set_weights(
                [random.normal(0, 1 / np.sqrt(max(fan, 1)), w.shape) for w, fan in zip(weights, fans, strict=True)]
            )
    return model


def small(keras: Any, height: int | None = 32, width: int | None = 24) -> Any:
    """A few layers with every operator that the larger networks have, images of bytes."""
    layers = keras.layers
    image = keras.Input((height, width, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = skip = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Multiply()([x, layers.Activation("hard_sigmoid")(x)])
    x = layers.Add()([x, layers.Conv2D(8, 3, dilation_rate=2, padding="same", activation="relu")(x)])
    x = layers.DepthwiseConv2D(3, dilation_rate=(2, 2), padding="same")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(layers.Conv2D(4, 1, activation="relu")(gate))
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Multiply()([x, gate]))
    x = layers.Conv2D(5, 1)(layers.Dropout(0.5)(layers.Concatenate()([x, skip])))
    return randomised(keras.Model(image, layers.UpSampling2D(2, interpolation="nearest")(x)))


def deeplab_v3_plus(keras: Any) -> Any:
    """DeepLabV3+ on ResNet50, as in keras.io/examples/vision/deeplabv3_plus: BGR less the mean of ImageNet inside."""
    layers, applications = keras.layers, keras.applications
    relu = keras.ops.nn.relu if hasattr(keras, "ops") else layers.ReLU()

    def block(x: Any, filters: int = 64, window: int = 3, dilation: int = 1, use_bias: bool = False) -> Any:
        x = layers.Conv2D(filters, window, dilation_rate=dilation, padding="same", use_bias=use_bias)(x)
        return relu(layers.BatchNormalization()(x))

    def enlarged(x: Any, side: int) -> Any:
        return layers.UpSampling2D((side // x.shape[1], side // x.shape[2]), interpolation="bilinear")(x)

    image = keras.Input((SIDE, SIDE, 3))
    scaled = applications.resnet50.preprocess_input(image)
    backbone = applications.ResNet50(weights=None, include_top=False, input_tensor=scaled)
    x = backbone.get_layer("conv4_block6_2_relu").output
    pooled = block(layers.AveragePooling2D(x.shape[1:3])(x), window=1, use_bias=True)
    branches = [enlarged(pooled, x.shape[1]), block(x, window=1), *(block(x, dilation=rate) for rate in (6, 12, 18))]
    x = enlarged(block(layers.Concatenate()(branches), window=1), SIDE // 4)
    skip = block(backbone.get_layer("conv2_block3_2_relu").output, 48, window=1)
    x = enlarged(block(block(layers.Concatenate()([x, skip]))), SIDE)
    return randomised(keras.Model(image, layers.Conv2D(20, 1, padding="same")(x)))


def st_deeplab_v3(keras: Any, separable: bool) -> Any:
    """DeepLabV3 on MobileNetV2 0.5 as ST's model zoo has it: ASPP "v1" of dense, "v2" of separable convolutions."""
    layers = keras.layers

    def activated(x: Any) -> Any:
        return layers.Activation("relu")(layers.BatchNormalization()(x))

    def branch(x: Any, rate: int) -> Any:
        if not separable:
            return activated(layers.Conv2D(64, 3, padding="same", dilation_rate=rate)(x))
        x = activated(layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate)(x))
        return activated(layers.Conv2D(64, 1)(x))

    image = keras.Input((SIDE, SIDE, 3))
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, alpha=0.5, input_tensor=image)
    x = backbone.get_layer("block_13_expand_relu").output
    _, rows, columns, channels = x.shape
    pooled = layers.Reshape((1, 1, channels))(layers.GlobalAveragePooling2D()(x))
    pooled = layers.UpSampling2D((rows, columns), interpolation="bilinear")(activated(layers.Conv2D(64, 1)(pooled)))
    rates = (rows // 5, rows // 5 * 2, rows // 5 * 3)
    x = layers.Concatenate()([activated(layers.Conv2D(64, 1)(x)), *(branch(x, rate) for rate in rates), pooled])
    x = layers.Dropout(0.6)(activated(layers.Conv2D(64, 1)(x)))
    x = layers.UpSampling2D(16, interpolation="bilinear")(layers.Conv2D(2, 1)(x))
    return randomised(keras.Model(image, x))


def st_deeplab_v3_dense(keras: Any) -> Any:
    return st_deeplab_v3(keras, separable=False)


def st_deeplab_v3_separable(keras: Any) -> Any:
    return st_deeplab_v3(keras, separable=True)


def with_head(keras: Any, backbone: Any) -> Any:
    """A DeepLab head on a backbone as a layer: dilated branches, global pooling, bilinear to the image's size."""
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 3))
    x = backbone(image)
    rows = x.shape[1]
    pooled = layers.Conv2D(32, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    pooled = layers.UpSampling2D(rows, interpolation="bilinear")(pooled)
    branches = [layers.Conv2D(32, 3, padding="same", dilation_rate=rate, activation="relu")(x) for rate in (1, 2)]
    x = layers.Conv2D(7, 1)(layers.Concatenate()([*branches, pooled]))
    return randomised(keras.Model(image, layers.UpSampling2D(SIDE // rows, interpolation="bilinear")(x)))


def mobilenet_v2(keras: Any) -> Any:
    return with_head(keras, keras.applications.MobileNetV2((SIDE, SIDE, 3), weights=None, include_top=False))


def mobilenet_v3_small(keras: Any) -> Any:
    return with_head(keras, keras.applications.MobileNetV3Small((SIDE, SIDE, 3), weights=None, include_top=False))


def mobilenet_v3_large(keras: Any) -> Any:
    return with_head(keras, keras.applications.MobileNetV3Large((SIDE, SIDE, 3), weights=None, include_top=False))


LARGE: tuple[Network, ...] = (
    deeplab_v3_plus, st_deeplab_v3_dense, st_deeplab_v3_separable, mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large,
)  # fmt: skip


def write_saved_model(model: Any, folder: Path) -> Path:
    """A SavedModel, as its own Keras writes it for inference."""
    if "tf_keras" in type(model).__module__:
        model.save(folder, save_format="tf")
    else:
        model.export(folder, verbose=False)
    return folder


def differences(content: bytes, model: Any, images: int = 3) -> float:
    """The largest difference of LiteRT's outputs and the model's own, relative to the largest output."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    random = np.random.default_rng(3)
    worst = 0.0
    for _ in range(images):
        image = random.uniform(0, 255, given["shape"]).astype(np.float32)
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        expected = np.asarray(model(image, training=False))
        found = interpreter.get_tensor(result["index"])
        assert found.shape == expected.shape
        worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    return worst
