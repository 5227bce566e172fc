"""Pruning: `channels` makes the network narrower, `magnitude` and `2:4` (`thinning`) make its kernels sparse.

Channels, in order: `groups` (which hang together), `importance` and `elimination` (what removing them costs), `ranking`
and `criteria` (in which order they go), `allotment` (how many of each group), `channels` and `refit` (removing them),
`curve` (all of it, measured). Single weights: `thinning` (how many of each kernel), `surgery` (which, and the fit of
the others), `magnitude` (tfmot's masks).
"""

from deeplab.pruning.channels import narrowed, narrowed_to, prune_channels, uniform_keep

__all__ = ["narrowed", "narrowed_to", "prune_channels", "uniform_keep"]
