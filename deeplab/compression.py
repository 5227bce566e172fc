"""`Compression`: the part of a candidate that changes the network itself (the tile count does not)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deeplab.network import tensor_indices, with_tensors, without_stated_parameters, without_weights
from deeplab.quantization.integers import integer_graph
from deeplab.quantization.types import BitWidths
from deeplab.sparsity import WeightSparsity
from evaluation.graph import Graph

PruningMethod = Literal["channels", "magnitude", "2:4"]

WEIGHT_BITS = (2, 3, 4, 5, 6, 8, 16, 32)
"""Bit-widths of weights; 32 = float32, not quantized."""
ACTIVATION_BITS = (4, 6, 8, 16, 32)
FLOAT_BITS = 32
STAGE_BITS = ("aspp_weight_bits", "decoder_weight_bits", "aspp_activation_bits", "decoder_activation_bits")
"""Fields of a `Compression` that give the bits of one stage; where they are None it has the backbone's bits."""

FIXED_WEIGHT_BITS = ("edge_weight_bits", "depthwise_weight_bits")
"""Fields of a `Compression` that a sweep holds fixed instead of searching."""


def backbone_field(name: str) -> str:
    """The field that a stage's own follows: "aspp_weight_bits" -> "weight_bits"."""
    return name.partition("_")[2]


@dataclass(frozen=True)
class Compression:
    """Pruning and bit-widths of one candidate. The default leaves the network as it is."""

    pruning: PruningMethod = "channels"
    sparsity: float = 0.0
    """Share removed, in [0, 1). `channels`: share of the peak memory of a reference plan, or of the channels of each
    group (`channels.allotment` of a sweep says which). `magnitude`: share of the weights of all 1x1 convolutions, most
    from the largest. `2:4`: 0.5, two of any four weights of an output."""
    weight_bits: int = FLOAT_BITS
    activation_bits: int = FLOAT_BITS
    aspp_weight_bits: int | None = None
    """Bits of the ASPP's weights. Here and below, None is the backbone's `weight_bits` or `activation_bits`."""
    decoder_weight_bits: int | None = None
    aspp_activation_bits: int | None = None
    decoder_activation_bits: int | None = None
    edge_weight_bits: int | None = None
    """Weight bits of the first and the last layer."""
    depthwise_weight_bits: int | None = None
    """Weight bits of every depthwise convolution."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.sparsity < 1.0:
            raise ValueError(f"sparsity must be in [0, 1), got {self.sparsity}")
        if self.pruning == "2:4" and self.sparsity not in (0.0, 0.5):
            raise ValueError(f"2:4 pruning has sparsity 0.5, got {self.sparsity}")
        for name, levels in (("weight", WEIGHT_BITS), ("activation", ACTIVATION_BITS)):
            for stage in ("", "aspp_", "decoder_", "edge_", "depthwise_"):
                bits = getattr(self, f"{stage}{name}_bits", None)
                if bits is None and stage:
                    continue
                if bits not in levels:
                    raise ValueError(f"{stage}{name}_bits must be one of {levels}, got {bits}")
                if (bits == FLOAT_BITS) != (self.weight_bits == FLOAT_BITS):
                    raise ValueError(
                        f"{stage}{name}_bits is {bits}, weight_bits {self.weight_bits}: all are 32 (float) or none is"
                    )
        if not self.is_float:
            _ = self.bits  # which refuses 16-bit activations next to others

    @property
    def weight_sparsity(self) -> WeightSparsity | None:
        """Pruning of single weights; None where channels are pruned, or nothing."""
        return None if self.pruning == "channels" or not self.sparsity else WeightSparsity(self.sparsity, self.pruning)

    @property
    def is_float(self) -> bool:
        return self.weight_bits == FLOAT_BITS

    @property
    def bits(self) -> BitWidths | None:
        """Bits of every weight and activation; None for a float network."""
        if self.is_float:
            return None
        return BitWidths(
            self.weight_bits,
            self.activation_bits,
            self.aspp_weight_bits,
            self.decoder_weight_bits,
            self.aspp_activation_bits,
            self.decoder_activation_bits,
            self.edge_weight_bits,
            self.depthwise_weight_bits,
        )


def compressed_shapes(network: Graph, compression: Compression) -> Graph:
    """The graph that a compressed network will have, without values: for planning before anything is trained.

    Args:
        network: in float, its channels pruned already where the compression removes channels.
        compression: of it only the bits count, and the sparsity of methods that leave all channels.
    """
    bits, sparsity = compression.bits, compression.weight_sparsity
    graph = without_weights(without_stated_parameters(network)) if bits is None else integer_graph(network, bits)
    if sparsity is None:
        return graph
    indices = tensor_indices(graph)
    return with_tensors(
        graph,
        {
            indices[name]: replace(graph.tensors[indices[name]], density=density)
            for name, density in sparsity.densities(network).items()
        },
    )
