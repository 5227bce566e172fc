"""A network that no importer knows and no format of before could describe: two skips, three refine stages.

python -m tests.deeplab.own_network own.npz
"""

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

from deeplab.architectures import GraphBuilder
from deeplab.architectures.heads import aspp
from deeplab.architectures.mobilenet_v2 import STRIDES, backbone_widths, inverted_residual, windows
from deeplab.checkpoint import load_checkpoint, save_checkpoint
from deeplab.network import weight_shapes, weights, with_weights
from evaluation.graph import Graph

CLASSES = 11


def own_network(height: int = 96, width: int = 128, classes: int = CLASSES) -> Graph:
    """DeepLab v3+ with skips at strides 8 and 4, one and two refine stages behind them; no values yet."""
    net = GraphBuilder("own", height, width)
    stem, widths = backbone_widths(0.35)
    x = net.convolution("stem", net.input, stem, "RELU6", window=3, stride=2)
    skips = {}
    for index, (size, window, native) in enumerate(zip(widths, windows(16), STRIDES, strict=True)):
        residual = native == 1 and net.shape(x)[2] == size[1]
        x, taps = inverted_residual(net, f"block_{index}", x, *size, *window, residual=residual)
        skips[index] = taps
    x = aspp(net, x, 32, 32, [(2, 16)], 48, "half_pixel")
    for number, (skip, refine) in enumerate(((skips[5]["project"], (32,)), (skips[2]["depthwise"], (32, 24)))):
        side = net.convolution(f"decoder/skip_{number}", skip, 12, "RELU")
        x = net.resize(f"decoder/resize_{number}", x, net.shape(side)[:2], "half_pixel")
        x = net.concatenation(f"decoder/concat_{number}", (x, side))
        for stage, channels in enumerate(refine):
            x = net.depthwise(f"decoder/refine_{number}_{stage}/depthwise", x, "RELU")
            x = net.convolution(f"decoder/refine_{number}_{stage}/pointwise", x, channels, "RELU")
    x = net.convolution("logits", x, classes)
    return net.finished(net.resize("logits/resize", x, (height, width), "half_pixel"))


def with_random_weights(network: Graph, seed: int = 0) -> Graph:
    """Weights that keep activations of order 1; those of the embedded network where names and shapes are the same."""
    random, found = np.random.default_rng(seed), {}
    embedded = weights(load_checkpoint(Path(str(files("deeplab") / "pretrained" / "streets.npz"))).network)
    for name, shape in weight_shapes(network).items():
        if name in embedded and embedded[name].shape == shape:
            found[name] = embedded[name]
        elif name.endswith("bias"):
            found[name] = random.normal(0.1, 0.1, shape).astype(np.float32)
        else:
            inputs = shape[0] * shape[1] * (shape[2] if shape[3] > 1 else 1)
            found[name] = (random.normal(0, 1, shape) * np.sqrt(2.0 / inputs)).astype(np.float32)
    return with_weights(network, found)


if __name__ == "__main__":
    save_checkpoint(with_random_weights(own_network()), Path(sys.argv[1]))
