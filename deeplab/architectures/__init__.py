"""Architectures as float graphs, without weights."""

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from deeplab.architectures.heads import Convolutions, DeepLabHead
from deeplab.architectures.mobilenet_v2 import BackboneWidths, SkipTap, mobilenet_v2_deeplab, round_width
from deeplab.architectures.mobilenet_v3 import MobileNetV3Size, mobilenet_v3_deeplab, mobilenet_v3_lraspp
from deeplab.architectures.resnet import ResNetDepth, resnet_deeplab

__all__ = [
    "BackboneWidths",
    "Convolutions",
    "DeepLabHead",
    "GraphBuilder",
    "MobileNetV3Size",
    "ResNetDepth",
    "ResizeConvention",
    "SkipTap",
    "mobilenet_v2_deeplab",
    "mobilenet_v3_deeplab",
    "mobilenet_v3_lraspp",
    "resnet_deeplab",
    "round_width",
]
