"""What a Keras model may be built of: classes of Keras that hold no code and open no file. Everything else is refused.

Names are compared with the whole list, and the module that a file states is replaced by the one listed here, so that
a file can name no other object (CVE-2024-3660, CVE-2025-1550: code in a Lambda layer, modules that are imported).
"""

from __future__ import annotations


def _listed(names: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + name for name in names.split())


MODELS = _listed("Functional Sequential Model")

LAYERS = _listed("""
    InputLayer Activation ReLU LeakyReLU PReLU ELU ThresholdedReLU Softmax
    Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    Conv2D Convolution2D Conv2DTranspose Convolution2DTranspose DepthwiseConv2D SeparableConv2D SeparableConvolution2D
    Dense EinsumDense Attention MultiHeadAttention
    BatchNormalization SyncBatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization
    Rescaling Normalization Resizing CenterCrop ZeroPadding2D Cropping2D UpSampling2D
    MaxPooling2D MaxPool2D AveragePooling2D AvgPool2D AdaptiveAveragePooling2D AdaptiveMaxPooling2D
    GlobalAveragePooling2D GlobalAvgPool2D GlobalMaxPooling2D GlobalMaxPool2D
    Flatten Reshape Permute RepeatVector Identity
    Dropout SpatialDropout2D GaussianNoise GaussianDropout AlphaDropout ActivityRegularization
    RandomFlip RandomRotation RandomZoom RandomTranslation RandomContrast RandomBrightness
""")
"""Layers of `keras.layers`. Those that act in training alone are passed over by a converter."""

OPERATIONS = {
    "keras.src.ops.numpy": _listed("""
        Abs Absolute Add Amax Amin Argmax Clip Concatenate Divide Exp ExpandDims Flip GetItem Log Max Maximum Mean Min
        Minimum Moveaxis Multiply Negative Pad Power Repeat Reshape Split Sqrt Square Squeeze Stack Subtract Sum
        Swapaxes Tanh Tile Transpose TrueDivide
    """),
    "keras.src.ops.nn": _listed("""
        AdaptiveAveragePool AveragePool Elu Gelu HardSigmoid HardSilu HardTanh LeakyRelu LogSoftmax MaxPool Normalize
        Relu Relu6 Selu Sigmoid Silu Softmax Softplus Softsign
    """),
    "keras.src.ops.core": _listed("Cast StopGradient"),
    "keras.src.ops.image": _listed("CropImages PadImages Resize"),
    "keras.src.ops.math": _listed("Rsqrt"),
}
"""Functions of `keras.ops` on activations, which Keras 3 stores as operations, by module."""

TENSORFLOW_LAYERS = _listed("TFOpLambda SlicingOpLambda")
"""Layers of Keras 2 that call the function of TensorFlow which they name."""
TENSORFLOW_FUNCTIONS = (
    _listed("add radd sub rsub mul rmul truediv rtruediv pow getitem", "__operators__.")
    | _listed(
        """
        abs add argmax divide exp log maximum minimum multiply negative pow reduce_max reduce_mean reduce_min reduce_sum
        rsqrt sigmoid softplus sqrt square subtract tanh truediv
        """,
        "math.",
    )
    | _listed(
        """
        avg_pool2d bias_add depth_to_space elu gelu leaky_relu max_pool2d relu relu6 selu sigmoid silu softmax
        space_to_depth swish tanh
        """,
        "nn.",
    )
    | _listed("resize resize_with_crop_or_pad", "image.")
    | _listed("image.resize image.resize_bilinear image.resize_nearest_neighbor shape", "compat.v1.")
    | _listed("""
        argmax cast clip_by_value concat expand_dims identity pad reshape shape slice split squeeze stack strided_slice
        tile transpose
    """)
)

ACTIVATIONS = _listed("""
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
    log_softmax mish relu relu6 selu sigmoid silu softmax softplus softsign swish tanh tanh_shrink
""")
"""Functions of `keras.activations`, by name."""

VALUES = _listed("__keras_tensor__ __tensor__ __numpy__ __ellipsis__ __slice__ __tuple__ TensorShape")
"""Names of stored values in place of a class."""
