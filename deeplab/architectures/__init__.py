"""Architectures as float graphs, without weights."""

from deeplab.architectures.builder import GraphBuilder, ResizeConvention
from deeplab.architectures.mobilenet_v2 import BackboneWidths, SkipTap, mobilenet_v2_deeplab, round_width

__all__ = ["BackboneWidths", "GraphBuilder", "ResizeConvention", "SkipTap", "mobilenet_v2_deeplab", "round_width"]
