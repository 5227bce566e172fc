"""Names of our layers in `tensorflow/models` (research/deeplab/model.py, research/slim/nets/mobilenet)."""

from __future__ import annotations

from collections.abc import Collection


def scope_of(layer: str) -> str:
    """TF-Slim's scope of one of our layers: `block_3/expand` is `MobilenetV2/expanded_conv_3/expand`."""
    fixed = {
        "stem": "MobilenetV2/Conv",
        "aspp/pool/pointwise": "image_pooling",
        "aspp/pointwise": "aspp0",
        "aspp/project": "concat_projection",
        "decoder/skip": "decoder/feature_projection0",
        "logits": "logits/semantic",
    }
    if layer in fixed:
        return fixed[layer]
    group, part = layer.rsplit("/", 1)
    number = int(group.rsplit("_", 1)[1])
    if group.startswith("block"):
        return f"MobilenetV2/expanded_conv{f'_{number}' if number else ''}/{part}"
    return f"aspp{number + 1}_{part}" if group.startswith("aspp") else f"decoder/decoder_conv{number}_{part}"


def kernel_name(layer: str) -> str:
    return f"{scope_of(layer)}/{'depthwise_weights' if layer.endswith('/depthwise') else 'weights'}"


def default_epsilon(layer: str) -> float:
    """TF-Slim's own in MobileNetV2 (nets/mobilenet.py sets none), 1e-5 in the head (deeplab/model.py)."""
    return 1e-3 if layer == "stem" or layer.startswith("block") else 1e-5


def count(variables: Collection[str], layer: str) -> int:
    """The number of numbered layers: `layer` is a pattern such as `block_{}/project`."""
    number = 0
    while kernel_name(layer.format(number)) in variables:
        number += 1
    return number
