"""Tiny networks with weights that make every layer matter, so that tests run in seconds."""

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.layers import weight_shapes
from deeplab.sparsity import WeightSparsity
from deeplab.spec import Aspp, AtrousBranch, Block, Decoder, NetworkSpec


def tiny_spec(**changes) -> NetworkSpec:
    """A DeepLab v3+ with every kind of layer: residual chain, dilation, image pooling, atrous branch, skip."""
    fields = {
        "input_height": 33,
        "input_width": 48,
        "classes": 5,
        "stem": 8,
        "blocks": (
            Block(0, 8, 1, 1, False),
            Block(16, 8, 2, 1, False),
            Block(24, 8, 1, 1, True),
            Block(16, 12, 2, 1, False),
            Block(24, 12, 1, 2, True),
        ),
        "aspp": Aspp(pool=8, pointwise=12, atrous=(AtrousBranch(3, 8),), project=16),
        "decoder": Decoder(2, "depthwise", 6, (12,)),
        "resize": "legacy",
    }
    return NetworkSpec(**{**fields, **changes})


def random_checkpoint(spec: NetworkSpec, seed: int = 0) -> Checkpoint:
    """Weights scaled so that activations stay of order 1 through the network."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(spec).items():
        if name.endswith("bias"):
            weights[name] = random.normal(0.1, 0.2, shape).astype(np.float32)
        else:
            inputs = shape[0] * shape[1] * (shape[2] if shape[3] > 1 else 1)
            weights[name] = (random.normal(0, 1, shape) * np.sqrt(2.0 / inputs)).astype(np.float32)
    return Checkpoint(spec, weights)


def cut(checkpoint: Checkpoint, sparsity: WeightSparsity) -> Checkpoint:
    """The smallest weights of each kernel set to 0, the others as they were: what surgery must be better than."""
    from deeplab.pruning.magnitude import largest

    weights = dict(checkpoint.weights)
    for name, density in sparsity.densities(checkpoint.spec).items():
        weights[name] = weights[name] * largest(weights[name], density, sparsity.pattern)
    return Checkpoint(checkpoint.spec, weights, checkpoint.notes)
