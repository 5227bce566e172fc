"""In which order a group's channels should go, and what each costs once least squares has repaired what it can.

Backward elimination in the manner of the Optimal Brain Surgeon (Hassibi & Stork 1993), for channels (Kurtic et al. 2023,
"ZipLM"): the channel whose removal changes the readers' outputs least goes, the readers' weights are re-fitted on those
left, and so on. Changes are weighed by the Fisher information of the outputs, so costs are in nats a pixel and compare
across groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.pruning.groups import ChannelGroup, channel_groups

_RIDGE = 1e-4
"""Of the mean variance of a channel, as in the re-fit itself."""


@dataclass(frozen=True)
class Ranking:
    """The order in which the channels of one group go."""

    group: str
    order: tuple[int, ...]
    """Channels, the first to go first."""
    costs: tuple[float, ...]
    """What each removal adds to what those before it have cost."""


def ranked(scores: Mapping[str, np.ndarray]) -> dict[str, Ranking]:
    """Rankings from independent scores: the least first."""
    return {
        name: Ranking(name, tuple(np.argsort(score, kind="stable").tolist()), tuple(np.sort(score).tolist()))
        for name, score in scores.items()
    }


def repaired_ranking(
    checkpoint: Checkpoint, inputs: Mapping[str, np.ndarray], fisher: Mapping[str, np.ndarray]
) -> dict[str, Ranking]:
    """Rankings that count on the re-fit.

    Args:
        checkpoint: the trained network.
        inputs: what each convolution reads, (samples, channels) (`Simulator.sample_inputs`).
        fisher: Fisher information of each convolution's outputs (`output_fisher`).
    """
    return {group.name: _eliminated(group, checkpoint, inputs, fisher) for group in channel_groups(checkpoint.spec)}


class _Reader:
    """One convolution that reads a group: inverse covariance of its inputs, and weights, as channels go."""

    def __init__(self, kernel: np.ndarray, start: int, inputs: np.ndarray, fisher: np.ndarray) -> None:
        x = inputs.astype(np.float64)
        x = x - x.mean(axis=0)
        covariance = x.T @ x / len(x)
        ridge = _RIDGE * np.trace(covariance) / len(covariance) + np.finfo(np.float64).tiny
        self.inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
        values, vectors = np.linalg.eigh(fisher)
        # |row|^2 of the weights times the root of the Fisher information is what the row's input is worth.
        self.weights = kernel[0, 0].astype(np.float64) @ (vectors * np.sqrt(np.maximum(values, 0.0)))
        self.start = start

    def costs(self, channels: int) -> np.ndarray:
        run = slice(self.start, self.start + channels)
        return 0.5 * np.square(self.weights[run]).sum(axis=1) / np.diagonal(self.inverse)[run]

    def remove(self, channel: int) -> None:
        index = self.start + channel
        column, pivot = self.inverse[:, index].copy(), self.inverse[index, index]
        self.weights -= np.outer(column / pivot, self.weights[index])
        self.inverse -= np.outer(column / pivot, column)
        self.weights[index], self.inverse[index], self.inverse[:, index] = 0.0, 0.0, 0.0
        self.inverse[index, index] = 1.0


def _eliminated(
    group: ChannelGroup, checkpoint: Checkpoint, inputs: Mapping[str, np.ndarray], fisher: Mapping[str, np.ndarray]
) -> Ranking:
    readers = [
        _Reader(checkpoint.weights[f"{name}/kernel"], start, inputs[name], fisher[name])
        for name, start in group.readers
    ]
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
