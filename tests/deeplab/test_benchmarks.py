"""The figures that the README states for the planner, as far as they are quickly had."""

import pytest

from benchmarks.planner.__main__ import comparisons, deeplab_v3_plus
from benchmarks.planner.mobilenet_v2 import mobilenet_v2
from benchmarks.planner.published import MSF_CNN_CURVE, msf_cnn_curve
from evaluation.graph import graph_macs
from evaluation.planner import plan


def test_deeplab_v3_plus_fits_a_seventh_of_its_untiled_arena():
    graph = deeplab_v3_plus()
    assert plan(graph).arena_bytes == 10_117_728  # the decoder's depthwise convolution of 304 channels, in and out
    made = plan(graph, "auto")
    assert made.arena_bytes <= 1_500_000
    assert made.mac_overhead <= 0.05
    assert plan(graph, 16, tiling="cache", max_mac_overhead=0.0).arena_bytes <= 1_600_000


def test_mobilenet_v2_has_its_published_macs():
    """Sandler et al. 2018, table 4: 300 million at 224, width 1; 59 million at 0.35 (Keras applications)."""
    assert graph_macs(mobilenet_v2(224, 1.0)) == pytest.approx(300e6, rel=0.01)
    assert graph_macs(mobilenet_v2(224, 0.35)) == pytest.approx(59e6, rel=0.02)


@pytest.mark.slow
def test_msf_cnns_curve_is_met_up_to_its_last_point():
    rows = list(msf_cnn_curve())
    assert all(row.mac_factor <= factor for row, (_, factor) in zip(rows, MSF_CNN_CURVE, strict=True))
    assert [row.ratio <= 1 for row in rows] == [True] * 4 + [False]
    assert comparisons("next to msf-CNN", rows).row_count == 5
