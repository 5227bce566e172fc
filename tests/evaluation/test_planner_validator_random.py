"""Random faults in plans by hand and in the planner's: whatever the validator accepts must run byte by byte."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.graph import read_tflite
from evaluation.kernels.targets import CAMERA, Target
from evaluation.planner import plan
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Role
from tests.evaluation.plan_changes import mutated, obvious_overlap, rule_of, uses, with_steps
from tests.evaluation.plans_by_hand import PLANS
from tests.evaluation.plans_in_bytes import WrongBytes, follow


@settings(max_examples=500, deadline=None)
@given(name=st.sampled_from(sorted(PLANS)), count=st.integers(1, 3), data=st.data())
def test_whatever_is_accepted_runs_byte_by_byte(name, count, data):
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for _ in range(count):
        made = mutated(graph, made, data.draw)
    if rule_of(graph, made) == "":
        follow(graph, made)
        assert not obvious_overlap([b for b in made.buffers if b.size_bytes])


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(sorted(PLANS)), data=st.data())
def test_whatever_does_not_run_is_refused_for_its_steps(name, data):
    """The other way round: bytes that are wrong by the slow walk are always named, and never as a wrong figure."""
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    made = mutated(graph, made, data.draw)
    try:
        follow(graph, made)
    except (WrongBytes, IndexError, ValueError):
        assert rule_of(graph, made) not in ("", "figures")


TARGETS = (CAMERA, Target("keeps", keep_frame=True), Target("outside", count_frame=False))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    tiles=st.sampled_from([1, 2, 3, 5, "auto"]),
    tiling=st.sampled_from(["cache", "recompute", "mixed"]),
    target=st.sampled_from(TARGETS),
)
def test_plans_of_random_networks_run_byte_by_byte(random_graph, seed, tiles, tiling, target):
    """`plan` has them validated; the slow walk agrees."""
    graph = random_graph(seed)
    follow(graph, plan(graph, tiles, target, tiling=tiling, max_mac_overhead=1.0))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), tiles=st.sampled_from([1, 2, 4, "auto"]), data=st.data())
def test_faults_in_plans_of_random_networks_are_caught(random_graph, seed, tiles, data):
    graph = random_graph(seed)
    original = plan(graph, tiles, data.draw(st.sampled_from(TARGETS)), max_mac_overhead=1.0)
    for _ in range(5):
        made = mutated(graph, original, data.draw)
        if rule_of(graph, made) == "":
            follow(graph, made)
            assert not obvious_overlap([b for b in made.buffers if b.size_bytes])


def surely_broken(made: Plan, number: int) -> Iterator[tuple[str, Plan]]:
    """Changes to one buffer that no plan survives, without new figures: they are looked at last."""
    buffer, used = made.buffers[number], uses(made, number)

    def changed(**changes) -> Plan:
        buffers = made.buffers[:number], replace(made.buffers[number], **changes), made.buffers[number + 1 :]
        return replace(made, buffers=(*buffers[0], buffers[1], *buffers[2]))

    yield "misaligned", changed(offset=buffer.offset + 1)
    if buffer.role is not Role.SCRATCH:  # which kernel needs how much is the interpreter's business
        yield "too small", changed(size_bytes=buffer.size_bytes - 1)
    yield "lifetime", changed(upper=used[-1])
    if buffer.lower == used[0]:
        yield "lifetime", changed(lower=used[0] + 1)
    near = [b for b in made.buffers if b is not buffer and b.lower < buffer.upper and buffer.lower < b.upper]
    for other in near[:3]:
        yield "overlap", changed(offset=other.offset)
    writers = [now for now in used if number in {access.buffer for access in made.steps[now].writes}]
    if len(writers) == 1 and used[-1] > writers[0]:
        silent = replace(made.steps[writers[0]], operators=(), reads=(), writes=(), scratch=None, accumulator=None)
        yield "copy", with_steps(made, (*made.steps[: writers[0]], silent, *made.steps[writers[0] + 1 :]))


@pytest.mark.parametrize(
    ("name", "tiles"),
    [
        ("planner_cases/networks/mlperf_tiny__kws_ref_model.tflite", 4),
        ("planner_cases/networks/mlperf_tiny__vww_96_int8.tflite", "auto"),
        ("planner_cases/networks/mlperf_tiny__pretrainedResnet_quant.tflite", 8),
        ("weights/deeplabv3_mnv2_ade20k_int8.tflite", 16),
    ],
)
def test_faults_in_plans_of_real_networks_are_named(shared, name, tiles):
    graph = read_tflite(shared(name))
    made = plan(graph, tiles)
    numbers = range(len(made.buffers))
    for number in list(numbers)[:: max(len(made.buffers) // 40, 1)]:
        for rule, broken in surely_broken(made, number):
            found = rule_of(graph, broken)
            # Frames are handed over at the start, and neighbours in time are not always aligned alike.
            also = {"overlap": ("misaligned", "arena"), "misaligned": ("arena",), "lifetime": ("layout",)}
            assert found in (rule, *also.get(rule, ())), (number, rule, found)


def test_real_plans_run_byte_by_byte(shared):
    for name in ("mlperf_tiny__kws_ref_model", "mlperf_tiny__vww_96_int8", "mlperf_tiny__pretrainedResnet_quant"):
        graph = read_tflite(shared(f"planner_cases/networks/{name}.tflite"))
        for tiles in (1, "auto"):
            follow(graph, plan(graph, tiles))
