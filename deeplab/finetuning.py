"""Fine-tuning after pruning, on labels or by distillation from the unpruned network.

One `Tuner` holds one traced training step for one network shape; weights, masks and the optimiser's state are its
variables, so a second network of the same shape trains without a new trace.
"""

from __future__ import annotations

import numpy as np

from deeplab.model import build, fold, load_weights
from deeplab.network import weights, with_weights, without_weights
from deeplab.optimizer_step import VOID, Batches, FineTuning, OptimizerStep, Teacher, run_steps
from deeplab.sizes import with_input_size
from deeplab.tensorflow import keras, tf
from deeplab.traced import once_a_structure
from evaluation.graph import Graph

__all__ = ["VOID", "Batches", "FineTuning", "fine_tune"]


def fine_tune(
    network: Graph,
    batches: Batches,
    options: FineTuning,
    *,
    teacher: Graph | None = None,
    hold_zeros: bool = False,
) -> Graph:
    """Train a folded network a little further.

    Args:
        network: in float, where to start; its shape stays.
        batches: the images of each step; their size may differ from the network's (it is fully convolutional).
        options: steps, rate and loss.
        teacher: the network to imitate, for `distill`.
        hold_zeros: weights of convolutions, depthwise ones excepted, that are 0 stay 0: for a network pruned before.

    Returns:
        The trained network; kernels are exactly 0 where they are masked.
    """
    if options.steps == 0:
        return network
    height, width = batches(0)[0].shape[1:3]
    start = with_input_size(network, height, width)
    tuner = _tuner(start)
    tuner.start(start)
    if hold_zeros:
        tuner.hold(start)
    imitated = None
    if options.loss == "distill":
        assert teacher is not None, "distillation needs a teacher"
        imitated = Teacher(teacher, height, width)
    run_steps(tuner.optimizer_step, batches, options, imitated, after=tuner.hold_masks)
    return with_weights(network, weights(tuner.network()))


class _Tuner:
    """One traced training step, and the network it trains."""

    def __init__(self, network: Graph) -> None:
        self._shape = without_weights(network)
        self.model = build(network)
        self.optimizer_step = OptimizerStep(self.model, self.model.trainable_variables, network)
        self.kernels = {
            f"{layer.name}/kernel": layer.kernel
            for layer in self.model.layers
            if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)
        }
        self.masks = {name: tf.Variable(tf.ones_like(kernel), trainable=False) for name, kernel in self.kernels.items()}
        self.masked = False

    def start(self, network: Graph) -> None:
        load_weights(self.model, network)
        self.masked = False
        self.optimizer_step.restart()

    def hold(self, network: Graph) -> None:
        """Keep the weights that are 0 in `network` at 0 from now on."""
        present = weights(network)
        for name, mask in self.masks.items():
            mask.assign((present[name] != 0.0).astype(np.float32))
        self.masked = True

    def hold_masks(self) -> None:
        if self.masked:
            for name, kernel in self.kernels.items():
                kernel.assign(kernel * self.masks[name])

    def network(self) -> Graph:
        """The network as the last step left it."""
        return fold(self.model, self._shape)


_tuner = once_a_structure(_Tuner, most=2)
