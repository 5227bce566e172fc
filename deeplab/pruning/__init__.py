"""Pruning: `channels` makes the network narrower, `magnitude` makes its kernels sparse."""

from deeplab.pruning.channels import narrowed, prune_channels

__all__ = ["narrowed", "prune_channels"]
