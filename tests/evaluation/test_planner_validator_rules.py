"""Each of the validator's rules alone, on the smallest plan that breaks it and nothing else."""

from dataclasses import replace

import pytest

from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.regions import Region
from evaluation.planner import plan_sections
from evaluation.planner.ir.sections import GroupIndex, Halo
from evaluation.planner.ir.steps import Access, Buffer, Role, Step
from evaluation.planner.tiling.path import SectionChoice
from evaluation.planner.tiling.section_costs import TilingScheme
from evaluation.planner.validate import InvalidPlanError, validate
from evaluation.planner.validate.reductions import sum_bytes
from tests.evaluation.plan_changes import (
    broken_rule,
    refigured,
    rule_of,
    with_buffer,
    with_step,
    with_steps,
    without_step,
)
from tests.evaluation.plans_by_hand import PLANS, finished, of, rows, two_convolutions


def test_a_ring_too_short_for_what_is_kept_loses_rows():
    hand = PLANS["wrapped ring"]()
    ring = 2
    for length, rule in ((1, "out of buffer"), (2, ""), (3, "")):
        held = with_buffer(hand.graph, hand.plan, ring, region=rows(0, length, 6), size_bytes=24 * length)
        assert rule_of(hand.graph, held) == rule, length


def test_rows_that_a_ring_has_overwritten_are_gone():
    """Ring of two; a third row is copied in before the first is read."""
    hand = PLANS["cached"]()
    steps = list(hand.plan.steps)
    assert steps[5].operators == ()
    steps[5], steps[4] = steps[4], steps[5]  # tile 1's rows are copied before its convolution reads tile 0's
    assert broken_rule(hand, steps=tuple(steps)) == "wrong contents"


def test_a_sum_takes_each_row_once_and_in_order():
    hand = PLANS["running reduction"]()
    sums = [number for number, step in enumerate(hand.plan.steps) if step.accumulator is not None]
    step = hand.plan.steps[sums[1]]
    again = with_step(hand.graph, hand.plan, sums[1], replace(step, reads=hand.plan.steps[sums[0]].reads))
    assert rule_of(hand.graph, again) in ("reduction", "lifetime")
    early = replace(step, writes=hand.plan.steps[sums[-1]].writes)
    buffers = tuple(
        replace(b, lower=0, upper=9) if b.tensors == (early.writes[0].tensor,) else b for b in hand.plan.buffers
    )
    assert rule_of(
        hand.graph, refigured(hand.graph, with_step(hand.graph, hand.plan, sums[1], early), buffers=buffers)
    ) == ("reduction")
    dropped = replace(step, accumulator=None)
    assert rule_of(hand.graph, with_step(hand.graph, hand.plan, sums[1], dropped)) == "operands"


def test_a_sum_is_of_one_operator_that_adds():
    hand = PLANS["running reduction"]()
    sums = [number for number, step in enumerate(hand.plan.steps) if step.accumulator is not None]
    convolution = replace(hand.plan.steps[sums[1] - 1], writes=(), accumulator=3)
    assert convolution.operators == (0,)
    assert rule_of(hand.graph, with_step(hand.graph, hand.plan, sums[1] - 1, convolution)) == "reduction"
    # A second MEAN of the same input, whose first rows are added to the sum of the first.
    graph, number = hand.graph, len(hand.graph.operators)
    first = graph.operators[1]
    other = replace(first, outputs=(len(graph.tensors),))
    tensors = (*graph.tensors, graph.tensors[first.outputs[0]])
    graph = replace(graph, operators=(*graph.operators, other), tensors=tensors)
    mixed = with_step(graph, hand.plan, sums[1], replace(hand.plan.steps[sums[1]], operators=(number,)))
    assert rule_of(graph, mixed) == "reduction"


def test_sums_are_as_wide_as_the_largest_code_demands():
    def tensor(dtype, bits):
        return Tensor("x", (1, 1, 1, 1), dtype, bits)

    assert sum_bytes(tensor("int8", 8), 255) == 2  # 255 * 128 = 32,640
    assert sum_bytes(tensor("int8", 8), 256) == 4  # 256 * 128 = 32,768
    assert sum_bytes(tensor("int8", 4), 4095) == 2
    assert sum_bytes(tensor("int8", 4), 4096) == 4
    assert sum_bytes(tensor("uint8", 8), 128) == 2  # 128 * 255 = 32,640
    assert sum_bytes(tensor("uint8", 8), 129) == 4
    assert sum_bytes(tensor("int16", 16), 65535) == 4
    assert sum_bytes(tensor("int16", 16), 65536) == 8
    assert sum_bytes(tensor("float32", 32), 10**9) == 4


def test_a_sum_in_one_step_needs_scratch():
    hand = PLANS["reduction in one step"]()
    step = hand.plan.steps[1]
    assert rule_of(hand.graph, with_step(hand.graph, hand.plan, 1, replace(step, scratch=None))) == "too small"
    assert rule_of(hand.graph, with_step(hand.graph, hand.plan, 1, replace(step, scratch=0))) == "wrong buffer"


def changed_operator(graph: Graph, number: int, **attributes) -> Graph:
    operators = list(graph.operators)
    operators[number] = replace(operators[number], attributes={**operators[number].attributes, **attributes})
    return replace(graph, operators=tuple(operators))


def changed_grid(graph: Graph, name: str, **changes) -> Graph:
    tensors = list(graph.tensors)
    one = tensors[of(graph, name)]
    tensors[of(graph, name)] = replace(one, quantization=replace(one.quantization, **changes))
    return replace(graph, tensors=tuple(tensors))


@pytest.mark.parametrize("name", ["a", "b", "c", "ab", "abc"])
def test_a_concatenation_that_converts_is_not_elided(name):
    hand = PLANS["elided"]()
    grid = hand.graph.tensors[0].quantization
    for changes in ({"scale": grid.scale * 2}, {"zero_point": grid.zero_point + 1}):
        assert rule_of(changed_grid(hand.graph, name, **changes), hand.plan) == "wrong contents", changes
    tensors = tuple(replace(t, dtype="uint8") if t.name == name else t for t in hand.graph.tensors)
    assert rule_of(replace(hand.graph, tensors=tensors), hand.plan) == "wrong contents"


def test_a_concatenation_that_clamps_is_not_elided():
    hand = PLANS["elided"]()
    for number in (2, 4):
        assert rule_of(changed_operator(hand.graph, number, activation="RELU"), hand.plan) == "wrong contents"


def test_slices_in_another_order_are_found():
    """a and c, two channels each, exchanged in the host."""
    hand = PLANS["elided"]()
    steps = [
        replace(s, writes=tuple(replace(w, channel={0: 4, 4: 12, 12: 0}.get(w.channel, 0)) for w in s.writes))
        if any(w.buffer == 1 for w in s.writes)
        else s
        for s in hand.plan.steps
    ]
    assert broken_rule(hand, steps=tuple(steps)) in ("wrong contents", "channel", "read before write")


def test_a_shifted_copy_of_a_slice_is_found():
    """b once in its place and once two channels on; then c repairs its own slice, and only b's own order is wrong."""
    hand = PLANS["elided"]()
    a, b, c, copy, y = hand.plan.steps
    shifted = replace(copy, writes=(replace(copy.writes[0], channel=6),))
    everywhere = [replace(one, lower=0, upper=6, offset=2048 * n) for n, one in enumerate(hand.plan.buffers)]
    assert broken_rule(hand, steps=(a, b, copy, copy, c, y), buffers=tuple(everywhere)) == ""
    assert broken_rule(hand, steps=(a, b, copy, shifted, c, y), buffers=tuple(everywhere)) == "wrong contents"


@pytest.mark.parametrize(("channel", "rule"), [(4, ""), (2, "in place"), (0, "in place")])
def test_slices_of_one_host_may_be_computed_from_each_other(channel, rule):
    """b, a convolution of a, is written next to a in the host of concat(a, b), or partly over it."""
    shape = (1, 4, 2, 4)
    tensors = [Tensor(name, shape, "int8", 8) for name in "xab"]
    tensors += [Tensor("w", (4, 1, 1, 4), "int8", 8, is_constant=True), Tensor("ab", (1, 4, 2, 8), "int8", 8)]
    window = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    operators = (
        Operator("RELU", "a", (0,), (1,)),
        Operator("CONV_2D", "b", (1, 3), (2,), window),
        Operator("CONCATENATION", "ab", (1, 2), (4,), {"axis": 3, "activation": "NONE"}),
    )
    graph = Graph("slices", tuple(tensors), operators, (0,), (4,))
    held = rows(0, 4, 2)
    steps = (
        Step((0,), 0, 0, ((Access(0, 0, held),),), (Access(1, 1, held),)),
        Step((1,), 0, 0, ((Access(1, 1, held),),), (Access(1, 2, held, channel),)),
    )
    buffers = (
        Buffer("x", Role.FRAME, (0,), held, 32, 0, 1, 0),
        Buffer("ab", Role.ACTIVATION, (4, 1, 2), held, 64, 0, 2, 32),
    )
    assert rule_of(graph, finished(graph, steps, buffers)) == rule


def test_a_tensor_is_reshaped_only_in_all_of_a_buffer():
    hand = PLANS["renamed"]()
    a, flat = of(hand.graph, "a"), of(hand.graph, "flat")
    frame, held, result = hand.plan.buffers
    upper, lower = rows(0, 4, 6), rows(4, 8, 6)
    chunks = [
        replace(held, region=upper, size_bytes=96),
        replace(held, region=lower, size_bytes=96, offset=held.offset + 96, tensors=(a,)),
    ]
    both = (Access(1, a, upper), Access(3, a, lower))
    steps = (
        replace(hand.plan.steps[0], writes=both),
        replace(hand.plan.steps[1], reads=(both,)),
        hand.plan.steps[2],
    )
    assert chunks[0].tensors == (a, flat)
    assert broken_rule(hand, steps=steps, buffers=(frame, chunks[0], result, chunks[1])) == "out of buffer"


@pytest.mark.parametrize(("bits", "rule"), [(8, ""), (4, "out of buffer")])
def test_rows_that_end_within_a_byte_are_not_reshaped_in_place(bits, rule):
    """Three codes of four bits a row: the row's last half byte is empty, and would be inside the flat tensor."""
    tensors = tuple(Tensor(n, shape, "int8", bits) for n, shape in (("x", (1, 2, 3, 1)), ("flat", (1, 6))))
    graph = Graph("flat", tensors, (Operator("RESHAPE", "flat", (0,), (1,)),), (0,), (1,))
    step = Step((0,), 0, 0, ((Access(0, 0, rows(0, 2, 3)),),), (Access(0, 1, Region(0, 1, 0, 1)),))
    size = 2 * -(-3 * bits // 8)
    held = Buffer("x", Role.FRAME, (0, 1), rows(0, 2, 3), size, 0, 1, 0)
    assert rule_of(graph, finished(graph, (step,), (held,))) == rule


def test_rows_read_twice_in_one_operand_are_found():
    hand = PLANS["untiled"]()
    step = hand.plan.steps[1]
    a = step.reads[0][0]
    halves = (replace(a, region=rows(0, 5, 6)), replace(a, region=rows(4, 8, 6)))
    assert rule_of(hand.graph, with_step(hand.graph, hand.plan, 1, replace(step, reads=(halves,)))) == "operands"


def test_a_row_that_was_never_kept_is_missed_around_the_rings_end():
    """Rows 1 and 2 are copied where 2 and 3 are read: row 3's place, the first of the ring, was never written."""
    hand = PLANS["wrapped ring"]()
    copy = hand.plan.steps[2]
    other = tuple(replace(access, region=rows(1, 3, 6)) for access in (copy.reads[0][0], copy.writes[0]))
    wrong = replace(copy, reads=((other[0],),), writes=(other[1],))
    assert rule_of(hand.graph, with_step(hand.graph, hand.plan, 2, wrong)) == "read before write"


def test_only_labels_over_the_channels_are_fused():
    hand = PLANS["labels"]()
    assert rule_of(changed_operator(hand.graph, 2, axis=1), hand.plan) == "fused"


def test_logits_that_somebody_else_reads_are_not_fused_away():
    hand = PLANS["labels"]()
    logits = of(hand.graph, "large")
    seen = replace(hand.graph, outputs=(*hand.graph.outputs, logits))
    assert rule_of(seen, hand.plan) == "fused"


def test_labels_narrower_than_the_classes_are_found():
    hand = PLANS["labels"]()
    tensors = list(hand.graph.tensors)
    large = of(hand.graph, "large")
    for classes, rule in ((256, ""), (257, "layout")):
        tensors[large] = replace(tensors[large], shape=(1, 8, 6, classes))
        assert rule_of(replace(hand.graph, tensors=tuple(tensors)), hand.plan) == rule, classes


def test_only_elementwise_kinds_write_over_what_they_read():
    """The same plan, with a convolution of one position, or a softmax, where the RELU was."""
    hand = PLANS["in place"]()
    operators = list(hand.graph.operators)
    for kind in ("SOFTMAX", "MAX_POOL_2D"):
        window = {"filter": (1, 1), "stride": (1, 1), "padding": "SAME"}
        operators[4] = Operator(kind, "y", operators[4].inputs, operators[4].outputs, window)
        assert rule_of(replace(hand.graph, operators=tuple(operators)), hand.plan) == "in place"


def test_an_operand_rewritten_in_place_cannot_be_read_again():
    """b = RELU(a) where a is, and then c = ADD(a, b)."""
    shape = (1, 8, 2, 4)
    tensors = tuple(Tensor(name, shape, "int8", 8) for name in "xabc")
    operators = (
        Operator("RELU", "a", (0,), (1,)),
        Operator("RELU", "b", (1,), (2,)),
        Operator("ADD", "c", (1, 2), (3,), {"activation": "NONE"}),
    )
    graph = Graph("small", tensors, operators, (0,), (3,))
    everything = rows(0, 8, 2)

    def at(buffer, tensor):
        return (Access(buffer, tensor, everything),)

    steps = (
        Step((0,), 0, 0, (at(0, 0),), at(1, 1)),
        Step((1,), 0, 0, (at(1, 1),), at(1, 2)),
        Step((2,), 0, 0, (at(1, 1), at(1, 2)), at(2, 3)),
    )
    held = rows(0, 8, 2)
    buffers = (
        Buffer("x", Role.FRAME, (0,), held, 64, 0, 1, 0),
        Buffer("ab", Role.ACTIVATION, (1, 2), held, 64, 0, 3, 64),
        Buffer("c", Role.ACTIVATION, (3,), held, 64, 2, 3, 0),
    )
    made = finished(graph, steps, buffers)
    assert rule_of(graph, made) == "wrong contents"


def test_chunks_of_one_tensor_lie_where_its_rows_would():
    hand = PLANS["chunked"]()
    third = hand.plan.buffers[2]
    assert third.role is Role.FRAME
    apart = with_buffer(hand.graph, hand.plan, 2, offset=third.offset + 16 * 100)
    assert rule_of(hand.graph, apart) == "chunks"


def test_a_frame_that_is_not_whole_at_the_start_is_found():
    hand = PLANS["chunked"]()
    # The last chunk, handed over one step later: the step before does not need it.
    assert rule_of(hand.graph, with_buffer(hand.graph, hand.plan, 3, lower=1)) == "layout"
    as_tile = with_buffer(hand.graph, hand.plan, 3, role=Role.TILE)
    assert rule_of(hand.graph, as_tile) in ("misaligned", "input")


def test_an_external_frame_is_outside_and_is_not_written():
    hand = PLANS["external frame"]()
    inside = with_buffer(hand.graph, hand.plan, 0, offset=0)
    assert rule_of(hand.graph, inside) == "arena"
    rewritten = PLANS["in place"]()
    outside = replace(rewritten.plan.buffers[0], role=Role.EXTERNAL_FRAME, offset=384)
    assert broken_rule(rewritten, buffers=(outside, *rewritten.plan.buffers[1:])) == "wrong buffer"


def test_labels_in_a_larger_buffer_are_found():
    """The program would take the second half of the map for labels of two bytes."""
    hand = PLANS["labels"]()
    number = next(n for n, b in reversed(list(enumerate(hand.plan.buffers))) if b.role is Role.LABELS)
    size_bytes = hand.plan.buffers[number].size_bytes
    assert rule_of(hand.graph, with_buffer(hand.graph, hand.plan, number, size_bytes=2 * size_bytes)) == "layout"


def test_alignment_and_width_of_labels_are_the_targets():
    hand = PLANS["untiled"]()
    with pytest.raises(InvalidPlanError, match="misaligned"):
        validate(refigured(hand.graph, with_buffer(hand.graph, hand.plan, 1, offset=208)), hand.graph, 64)
    hand = PLANS["labels"]()
    with pytest.raises(InvalidPlanError, match="too small"):
        validate(hand.plan, hand.graph, label_bytes=4)


@pytest.mark.parametrize(
    ("name", "number", "changes", "rule"),
    [
        ("untiled", 1, {"upper": 3}, "lifetime"),  # of two steps
        ("untiled", 1, {"lower": -1}, "lifetime"),
        ("untiled", 1, {"lower": 2, "upper": 2}, "lifetime"),
        ("untiled", 1, {"tensors": ()}, "layout"),
        ("untiled", 1, {"tensors": (99,)}, "layout"),
        ("untiled", 1, {"region": None}, "layout"),
        ("untiled", 1, {"region": rows(0, 9, 6), "size_bytes": 400}, "layout"),
        ("untiled", 1, {"region": Region(0, 8, 0, 5)}, "layout"),  # a resident tensor without its last column
        ("untiled", 1, {"tensors": (3, 2)}, "layout"),  # a bias of 32 bits next to an activation of 8
        ("untiled", 1, {"role": Role.FRAME}, "layout"),
        ("untiled", 1, {"role": Role.LABELS}, "layout"),
        ("cached", 2, {"region": rows(1, 3, 6)}, "layout"),  # a ring begins at row 0
        ("running reduction", 3, {"tensors": (0,), "region": rows(0, 1, 1)}, "layout"),
        ("running reduction", 3, {"role": Role.SCRATCH}, "wrong buffer"),
        ("running reduction", 3, {"upper": 7}, "lifetime"),  # the last step of the sum
    ],
)
def test_buffers_that_do_not_fit_their_role_are_named(name, number, changes, rule):
    hand = PLANS[name]()
    buffers = list(hand.plan.buffers)
    buffers[number] = replace(buffers[number], **changes)
    found = rule_of(hand.graph, replace(hand.plan, buffers=tuple(buffers)))
    assert found == rule


def test_what_was_never_written_and_what_is_no_longer_there_are_told_apart():
    hand = PLANS["recomputed"]()
    assert rule_of(hand.graph, without_step(hand.graph, hand.plan, 0)) == "read before write"
    hand = PLANS["elided"]()
    assert rule_of(hand.graph, without_step(hand.graph, hand.plan, 3)) == "read before write"
    hand = PLANS["in place"]()
    assert rule_of(hand.graph, without_step(hand.graph, hand.plan, 3)) == "wrong contents"


def test_what_does_not_exist_is_found():
    hand = PLANS["untiled"]()
    step = hand.plan.steps[0]

    def found(changed: Step) -> str:
        return rule_of(hand.graph, with_steps(hand.plan, (changed, hand.plan.steps[1])))

    assert found(replace(step, scratch=3)) == "no such buffer"
    assert found(replace(step, accumulator=-1)) == "no such buffer"
    assert found(replace(step, reads=((),))) == "operands"
    assert found(replace(step, operators=(2,))) == "operands"
    assert found(replace(step, operators=(-1,))) == "operands"


@pytest.mark.parametrize("kind", ["TRANSPOSE", "TRANSPOSE_CONV", "SOMETHING_NEW"])
def test_what_is_computed_at_once_is_not_computed_in_tiles(kind):
    """Each tile reads all of the input; that would do for a kernel that could make part of its output."""
    hand = PLANS["chunked"]()
    x = hand.plan.buffers[0].tensors[0]
    everything = tuple(Access(n, x, rows(2 * n, 2 * n + 2, 6)) for n in range(4))
    steps = tuple(replace(step, reads=(everything,)) for step in hand.plan.steps)
    buffers = tuple(
        replace(b, lower=0, upper=4, offset=b.offset + 288 * (b.role is Role.ACTIVATION)) for b in hand.plan.buffers
    )
    made = refigured(hand.graph, hand.plan, steps=steps, buffers=buffers)
    assert rule_of(hand.graph, made) == ""
    operators = (replace(hand.graph.operators[0], kind=kind),)
    assert rule_of(replace(hand.graph, operators=operators), made) == "whole output"


def test_an_operator_with_several_outputs_writes_each_of_them_whole():
    tensors = [Tensor("x", (1, 4, 2, 4), "int8", 8), *(Tensor(n, (1, 4, 2, 2), "int8", 8) for n in "ab")]
    graph = Graph("split", tuple(tensors), (Operator("SPLIT", "split", (0,), (1, 2), {"axis": 3}),), (0,), (1, 2))
    held = rows(0, 4, 2)
    buffers = tuple(
        Buffer(name, role, (n,), held, size, 0, 1, 32 * n)
        for n, (name, role, size) in enumerate(
            [("x", Role.FRAME, 32), ("a", Role.ACTIVATION, 16), ("b", Role.ACTIVATION, 16)]
        )
    )

    def found(*writes: Access) -> str:
        step = Step((0,), 0, 0, ((Access(0, 0, held),),), writes)
        return rule_of(graph, finished(graph, (step,), buffers))

    assert found(Access(1, 1, held), Access(2, 2, held)) == ""
    assert found(Access(1, 1, held), Access(2, 2, rows(0, 3, 2))) == "whole output"
    assert found(Access(2, 2, held), Access(1, 1, held)) == "operands"
    assert found(Access(1, 1, held)) == "operands"


def test_loops_that_cannot_be_written_out_are_found():
    graph = two_convolutions()
    made = plan_sections(graph, (SectionChoice(0, 2, TilingScheme(4, 1, Halo.CACHE)),))
    number = next(n for n, section in enumerate(made.sections) if section.tiles > 1)
    section = made.sections[number]
    table, call = section.regions[0], section.calls[0]

    def found(**changes) -> str:
        sections = (*made.sections[:number], replace(section, **changes), *made.sections[number + 1 :])
        return rule_of(graph, replace(made, sections=sections))

    assert found() == ""
    assert found(rows=section.rows + 1) == "section"
    assert found(rows=0, regions=()) == "section"
    assert found(regions=(replace(table, rows=table.rows[1:]), *section.regions[1:])) == "section"
    assert found(calls=(replace(call, regions=len(section.regions)), *section.calls[1:])) == "section"
    assert found(calls=(replace(call, scratch=len(made.groups)), *section.calls[1:])) == "no such buffer"
    assert found(calls=(replace(call, reads=((replace(call.reads[0][0], group=-1),),)),)) == "no such buffer"
    tiles = next(n for n, group in enumerate(made.groups) if group.index is GroupIndex.TILE and len(group.buffers) > 1)
    for buffers in ((*made.groups[tiles].buffers[:1], None), (len(made.buffers),)):
        groups = (*made.groups[:tiles], replace(made.groups[tiles], buffers=buffers), *made.groups[tiles + 1 :])
        assert rule_of(graph, replace(made, groups=groups)) == "no such buffer"
