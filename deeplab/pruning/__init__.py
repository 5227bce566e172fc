"""Pruning: `channels` makes the network narrower, `magnitude` and `2:4` (`deeplab.sparsity`) make its kernels sparse.

Channels, in order: `groups` (which hang together), `importance` and `backward_elimination` (what removing them costs),
`ranking` and `criteria` (in which order they go), `channel_budget` (how many of each group), `channels` and `refit`
(removing them), `curve` (all of it, measured). Single weights: `deeplab.sparsity` (how many of each kernel),
`optimal_brain_surgeon` (which, and the fit of the others), `magnitude` (tfmot's masks).
"""

from deeplab.pruning.channels import narrowed, narrowed_to, prune_channels, uniform_keep

__all__ = ["narrowed", "narrowed_to", "prune_channels", "uniform_keep"]
