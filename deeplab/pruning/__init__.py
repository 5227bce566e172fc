"""Pruning: `channels` makes the network narrower, `magnitude` and `2:4` (`deeplab.sparsity`) make its kernels sparse.

Modules for channels, in order: `groups` (channels removed together), `importance` and `backward_elimination` (the cost
of a removal), `ranking` and `criteria` (the order of removal), `channel_budget` (channels to remove from each group),
`channels` and `refit` (the removal), `curve` (all of it, measured). For single weights: `deeplab.sparsity` (density of
each kernel), `optimal_brain_surgeon` (weights to remove, and the fit of the others), `magnitude` (tfmot's masks).
"""

from deeplab.pruning.channels import narrowed, prune_channels, uniform_keep

__all__ = ["narrowed", "prune_channels", "uniform_keep"]
