"""Our plans next to figures that papers have published, under the papers' own accounting: the frame is not counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.planner.mobilenet_v2 import mobilenet_v2
from evaluation.graph import read_tflite
from evaluation.planner import CAMERA, MCU, TFLM, Halo, Plan, Target, plan, plan_sections
from evaluation.planner.tiling.path import SectionChoice
from evaluation.planner.tiling.schemes import TileCount
from evaluation.planner.tiling.section_costs import TilingScheme

BARE = replace(MCU, name="mcu, frame not counted", count_frame=False)

MSF_CNN_CURVE = ((194_400, 1.000), (83_133, 1.019), (25_803, 1.253), (15_199, 1.382), (8_560, 1.679))
"""Peak bytes and MAC factor of MobileNetV2 0.35 at 144x144 (msf-CNN, 2025)."""

MCUNET_V2_PATCHES_BYTES = 172_000
"""MobileNetV2 1.0 at 224x224, 4x4 patches to the first 28x28x32 (Lin et al., MCUNetV2, NeurIPS 2021)."""


@dataclass(frozen=True)
class Comparison:
    """One figure of ours next to its reference."""

    what: str
    reference_bytes: int
    reference: str
    """Where the reference comes from."""
    ours_bytes: int
    mac_factor: float

    @property
    def ratio(self) -> float:
        """Ours as a share of the reference."""
        return self.ours_bytes / self.reference_bytes


def msf_cnn_curve() -> Iterator[Comparison]:
    """At each published point's MACs, the arena that we need."""
    graph = mobilenet_v2(144, 0.35)
    for reference_bytes, factor in MSF_CNN_CURVE:
        made = plan(graph, "auto", BARE, max_mac_overhead=factor - 1)
        what = f"MobileNetV2 0.35, 144x144, at most x{factor:.3f} MACs"
        yield _compared(what, reference_bytes, "msf-CNN 2025", made)


def mcunet_v2_patches(network: Path) -> Iterator[Comparison]:
    """The published scheme, its patch stage alone; with the layers behind it; and what we choose without it.

    Args:
        network: MobileNetV2 1.0, 224x224, int8, as a .tflite file.
    """
    graph = read_tflite(network)
    patches = plan_sections(
        graph, (SectionChoice(0, 14, TilingScheme(4, 4, Halo.RECOMPUTE)),), BARE, max_mac_overhead=0.0
    )
    stage = max(patches.live_bytes[now] for now, step in enumerate(patches.steps) if step.section == 0)
    source = "MCUNetV2 2021"
    yield Comparison(
        "MobileNetV2 1.0, 224x224, 4x4 patches: the patches",
        MCUNET_V2_PATCHES_BYTES,
        source,
        stage,
        1 + patches.mac_overhead,
    )
    yield _compared("the same, whole network (layers behind in row caches)", MCUNET_V2_PATCHES_BYTES, source, patches)
    yield _compared("the same network, row caches", MCUNET_V2_PATCHES_BYTES, source, plan(graph, "auto", BARE))


def ade20k(network: Path, tflm_head_bytes: int) -> Iterator[Comparison]:
    """DeepLab v3+ 1.0, 512x512, int8: next to the arena that TFLM takes for the same file, frame and labels counted.

    Args:
        network: `deeplabv3_mnv2_ade20k_int8.tflite`.
        tflm_head_bytes: TFLM's head section, measured in this run.
    """
    graph = read_tflite(network)
    kept = Target("camera, frame kept", keep_frame=True)
    cases: tuple[tuple[str, TileCount, Target, float], ...] = (
        ("untiled, as TFLM counts (labels int32)", 1, TFLM, 0.05),
        ("16 tiles, at most x1.05 MACs", 16, CAMERA, 0.05),
        ("auto, at most x1.05 MACs", "auto", CAMERA, 0.05),
        ("auto, x1.00 MACs", "auto", CAMERA, 0.0),
        ("auto, at most x1.05 MACs, frame kept", "auto", kept, 0.05),
    )
    for what, tiles, target, overhead in cases:
        made = plan(graph, tiles, target, max_mac_overhead=overhead)
        yield _compared(f"ADE20K v3+ {what}", tflm_head_bytes, "TFLM head, this run", made)


def _compared(what: str, reference_bytes: int, reference: str, made: Plan) -> Comparison:
    return Comparison(what, reference_bytes, reference, made.arena_bytes, 1 + made.mac_overhead)
