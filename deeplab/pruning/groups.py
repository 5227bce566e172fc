"""Groups of channels that can only be removed together.

A *group* is a set of channels that one decision removes: the output channels of every convolution that writes them
(several, where residual sums tie a chain of blocks together), with the depthwise convolutions they pass through, and
the input channels of every convolution that reads them, also from inside a concat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from deeplab.layers import INPUT, LOGITS, layers
from deeplab.spec import NetworkSpec


@dataclass(frozen=True)
class ChannelGroup:
    """Channels kept or removed together, named after the first layer that writes them."""

    name: str
    channels: int
    writers: tuple[str, ...]
    """Convolutions whose output channels these are."""
    depthwise: tuple[str, ...]
    """Depthwise convolutions they pass through."""
    readers: tuple[tuple[str, int], ...]
    """(convolution, first input channel) for each convolution that reads them."""


@lru_cache(maxsize=64)
def channel_groups(spec: NetworkSpec) -> tuple[ChannelGroup, ...]:
    """All prunable groups in network order. The image's and the classes' channels belong to none."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    # The runs of channels in each layer's output, each owned by the layer that first wrote it.
    runs: dict[str, tuple[str, ...]] = {}
    width: dict[str, int] = {}
    depthwise: list[tuple[str, str]] = []
    readers: list[tuple[str, str, int]] = []
    for layer in layers(spec):
        if layer.kind in ("input", "conv"):
            parent[layer.name], width[layer.name], runs[layer.name] = layer.name, layer.channels, (layer.name,)
        elif layer.kind == "concat":
            runs[layer.name] = tuple(run for source in layer.inputs for run in runs[source])
        else:
            runs[layer.name] = runs[layer.inputs[0]]
        if layer.kind == "add":
            for first, second in zip(runs[layer.inputs[0]], runs[layer.inputs[1]], strict=True):
                first, second = root(first), root(second)
                parent[max(first, second, key=list(parent).index)] = min(first, second, key=list(parent).index)
        elif layer.kind == "depthwise":
            depthwise += [(layer.name, run) for run in runs[layer.name]]
        elif layer.kind == "conv":
            start = 0
            for run in runs[layer.inputs[0]]:
                readers.append((layer.name, run, start))
                start += width[run]
    fixed = {root(INPUT), root(LOGITS)}
    return tuple(
        ChannelGroup(
            name=name,
            channels=width[name],
            writers=tuple(writer for writer in parent if root(writer) == name),
            depthwise=tuple(layer for layer, run in depthwise if root(run) == name),
            readers=tuple((reader, start) for reader, run, start in readers if root(run) == name),
        )
        for name in parent
        if root(name) == name and name not in fixed
    )


@lru_cache(maxsize=64)
def channel_owners(spec: NetworkSpec) -> dict[str, tuple[tuple[str | None, int], ...]]:
    """By layer, the runs of (group or None, channels) that its output channels consist of, in order."""
    groups = {writer: group.name for group in channel_groups(spec) for writer in group.writers}
    found: dict[str, tuple[tuple[str | None, int], ...]] = {}
    for layer in layers(spec):
        if layer.kind in ("input", "conv"):
            found[layer.name] = ((groups.get(layer.name), layer.channels),)
        elif layer.kind == "concat":
            found[layer.name] = tuple(run for source in layer.inputs for run in found[source])
        else:
            found[layer.name] = found[layer.inputs[0]]
    return found


def kept_inputs(spec: NetworkSpec, keep: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For every convolution that reads groups, the indices of its input channels that stay."""
    runs: dict[str, list[tuple[int, np.ndarray]]] = {}
    for group in channel_groups(spec):
        for name, start in group.readers:  # several groups, where it reads a concat
            runs.setdefault(name, []).append((start, start + keep.get(group.name, np.arange(group.channels))))
    return {
        name: np.concatenate([indices for _, indices in sorted(parts, key=lambda part: part[0])])
        for name, parts in runs.items()
    }


def with_widths(spec: NetworkSpec, widths: Mapping[str, int]) -> NetworkSpec:
    """The spec with other output channels for the named convolutions (all writers of a group alike)."""

    def width(name: str, present: int) -> int:
        return widths.get(name, present)

    blocks = tuple(
        replace(
            block,
            expand=width(f"block_{index}/expand", block.expand) if block.expand else 0,
            project=width(f"block_{index}/project", block.project),
        )
        for index, block in enumerate(spec.blocks)
    )
    aspp = replace(
        spec.aspp,
        pool=width("aspp/pool/pointwise", spec.aspp.pool),
        pointwise=width("aspp/pointwise", spec.aspp.pointwise),
        atrous=tuple(
            replace(branch, width=width(f"aspp/atrous_{index}/pointwise", branch.width))
            for index, branch in enumerate(spec.aspp.atrous)
        ),
        project=width("aspp/project", spec.aspp.project),
    )
    decoder = spec.decoder and replace(
        spec.decoder,
        skip=width("decoder/skip", spec.decoder.skip),
        refine=tuple(
            width(f"decoder/refine_{index}/pointwise", channels) for index, channels in enumerate(spec.decoder.refine)
        ),
    )
    return replace(spec, stem=width("stem", spec.stem), blocks=blocks, aspp=aspp, decoder=decoder)
