"""Faults planted in sound plans: each must be found, and by its own name."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.graph import Graph, Operator, Tensor
from evaluation.planner import InvalidPlanError, Plan, plan, validate
from evaluation.planner.types import Access, Region


def small_graph() -> Graph:
    """frame -> RELU -> RELU -> ADD of both: three activations of 64 bytes."""
    shape = (1, 8, 2, 4)
    tensors = tuple(Tensor(name, shape, "int8", 8) for name in "xabc")
    operators = (
        Operator("RELU", "a", (0,), (1,)),
        Operator("RELU", "b", (1,), (2,)),
        Operator("ADD", "c", (1, 2), (3,), {"activation": "NONE"}),
    )
    return Graph("small", tensors, operators, (0,), (3,))


def with_buffer(made: Plan, number: int, **changes) -> Plan:
    buffers = list(made.buffers)
    buffers[number] = replace(buffers[number], **changes)
    highest = max(-(-(b.offset + b.size_bytes) // 16) * 16 for b in buffers)
    return replace(made, buffers=tuple(buffers), arena_bytes=highest)


def with_step(made: Plan, number: int, **changes) -> Plan:
    steps = list(made.steps)
    steps[number] = replace(steps[number], **changes)
    return replace(made, steps=tuple(steps))


def test_the_small_plan_is_sound():
    validate(plan(small_graph()), small_graph())


def test_every_single_fault_is_named():
    graph = small_graph()
    made = plan(graph)
    x, a, b, c = range(4)
    assert [made.buffers[i].tensors for i in (x, a, b, c)] == [(0,), (1,), (2,), (3,)]
    step = made.steps[1]
    below = Region(0, 9, 0, 2)
    faults = {
        "overlap": with_buffer(made, b, offset=made.buffers[a].offset + 16),
        "misaligned": with_buffer(made, b, offset=made.buffers[b].offset + 8),
        "lifetime": with_buffer(made, a, upper=2),  # freed before the ADD reads it
        "too small": with_buffer(made, c, size_bytes=63),
        "arena": replace(made, arena_bytes=made.arena_bytes - 16),
        "read before write": with_buffer(
            replace(made, steps=(made.steps[1], made.steps[0], made.steps[2])), b, lower=0, offset=256
        ),
        "read of rows never written": with_step(made, 1, writes=(replace(step.writes[0], region=Region(0, 7, 0, 2)),)),
        "out of buffer": with_step(made, 1, reads=(replace(step.reads[0], region=below),)),
        "wrong buffer": with_step(made, 1, reads=(Access(x, 1, step.reads[0].region),)),
        "operands": with_step(made, 1, reads=()),
        # The output is freed, and a last step that does not need it follows.
        "result": with_buffer(
            with_buffer(replace(made, steps=(*made.steps, made.steps[1])), a, upper=4), b, upper=4, offset=512
        ),
    }
    for rule, fault in faults.items():
        with pytest.raises(InvalidPlanError) as error:
            validate(fault, graph)
        assert str(error.value).startswith(rule), (rule, str(error.value))


def test_rows_overwritten_in_place_are_gone():
    """Reading the frame again after it was requantised where it lies."""
    tensors = (
        Tensor("frame", (1, 8, 4, 3), "uint8", 8),
        Tensor("q", (1, 8, 4, 3), "int8", 8),
        Tensor("y", (1, 8, 4, 3), "int8", 8),
    )
    operators = (Operator("QUANTIZE", "q", (0,), (1,)), Operator("RELU", "y", (1,), (2,)))
    graph = Graph("g", tensors, operators, (0,), (2,))
    made = plan(graph)
    assert made.buffers[0].tensors == (0, 1)
    twice = replace(made, steps=(made.steps[0], made.steps[0], made.steps[1]))
    buffers = tuple(replace(buffer, upper=3) for buffer in made.buffers)
    with pytest.raises(InvalidPlanError, match="never written"):
        validate(replace(twice, buffers=buffers), graph)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_planted_faults_are_caught_on_random_networks(random_graph, seed, data):
    graph = random_graph(seed)
    made = plan(graph, data.draw(st.integers(1, 6)), max_mac_overhead=4.0)
    number = data.draw(st.integers(0, len(made.buffers) - 1))
    buffer = made.buffers[number]
    fault = data.draw(st.sampled_from(["misalign", "free early", "begin late", "onto a neighbour", "skip a step"]))
    if fault == "misalign":
        broken = with_buffer(made, number, offset=buffer.offset + data.draw(st.integers(1, 15)))
    elif fault == "free early":
        broken = with_buffer(made, number, upper=buffer.upper - 1)
    elif fault == "begin late":
        broken = with_buffer(made, number, lower=buffer.lower + 1)
    elif fault == "onto a neighbour":
        near = [
            other
            for i, other in enumerate(made.buffers)
            if i != number and other.lower < buffer.upper and buffer.lower < other.upper
        ]
        if not near:
            return
        broken = with_buffer(made, number, offset=data.draw(st.sampled_from(near)).offset)
    else:
        gone = data.draw(st.integers(0, len(made.steps) - 1))
        # The step writes nothing any more: an identity on lifetimes, a hole in the data.
        broken = with_step(made, gone, writes=(), reads=())
    if fault == "begin late" and buffer.lower == 0 and number < len(graph.inputs) and buffer.lower + 1 < buffer.upper:
        first_use = min(
            now for now, step in enumerate(made.steps) if any(a.buffer == number for a in (*step.reads, *step.writes))
        )
        if first_use > 0:
            return  # the frame is simply handed over later: sound for the steps
    with pytest.raises(InvalidPlanError):
        validate(broken, graph)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), tiles=st.integers(1, 6))
def test_a_buffer_that_touches_another_from_below_cannot_move_up_one_step(random_graph, seed, tiles):
    """One alignment step is enough to be caught wherever a neighbour in time begins right at a buffer's end."""
    graph = random_graph(seed)
    made = plan(graph, tiles, max_mac_overhead=4.0)
    for number, one in enumerate(made.buffers):
        end = -(-(one.offset + one.size_bytes) // 16) * 16
        meets = any(
            other.offset == end and other.lower < one.upper and one.lower < other.upper and one.size_bytes % 16 == 0
            for other in made.buffers
        )
        if meets:
            with pytest.raises(InvalidPlanError, match="overlap"):
                validate(with_buffer(made, number, offset=one.offset + 16), graph)
            return
