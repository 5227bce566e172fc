"""Changes to plans, sound or not. Each brings the figures up to date: no fault is to be found by its figures alone."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from hypothesis import strategies as st

from evaluation.graph import Graph
from evaluation.graph.regions import Region
from evaluation.planner.ir.former_plans import groups_of, sections_of
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Access, Buffer, Role, Step
from evaluation.planner.validate import InvalidPlanError, validate
from tests.evaluation.plans_by_hand import HandMade, finished, up


def refigured(
    graph: Graph, made: Plan, steps: Sequence[Step] | None = None, buffers: Sequence[Buffer] | None = None
) -> Plan:
    steps, buffers = made.steps if steps is None else steps, made.buffers if buffers is None else buffers
    return finished(graph, steps, buffers, made.tiling)


def with_steps(made: Plan, steps: Sequence[Step]) -> Plan:
    """The plan with other steps, and the figures that it had."""
    return replace(made, sections=sections_of(steps), groups=groups_of(len(made.buffers)))


def with_buffer(graph: Graph, made: Plan, number: int, **changes) -> Plan:
    buffers = list(made.buffers)
    buffers[number] = replace(buffers[number], **changes)
    return refigured(graph, made, buffers=tuple(buffers))


def with_step(graph: Graph, made: Plan, number: int, step: Step) -> Plan:
    return refigured(graph, made, steps=(*made.steps[:number], step, *made.steps[number + 1 :]))


def without_step(graph: Graph, made: Plan, gone: int) -> Plan:
    """The plan without one step, and everything that happens later one step earlier."""

    def sooner(buffer: Buffer) -> Buffer:
        lower, upper = buffer.lower - (gone < buffer.lower), buffer.upper - (gone < buffer.upper)
        return replace(buffer, lower=min(lower, upper - 1) if upper > 1 else 0, upper=max(upper, 1))

    steps = made.steps[:gone] + made.steps[gone + 1 :]
    return refigured(graph, made, steps=steps, buffers=tuple(map(sooner, made.buffers)))


def places(step: Step) -> Iterator[tuple[int | None, int]]:
    """Where a step's accesses stand: (read group, or None for the writes; number in it)."""
    for group, accesses in enumerate(step.reads):
        yield from ((group, number) for number in range(len(accesses)))
    yield from ((None, number) for number in range(len(step.writes)))


def access_at(step: Step, place: tuple[int | None, int]) -> Access:
    group, number = place
    return step.writes[number] if group is None else step.reads[group][number]


def with_access(step: Step, place: tuple[int | None, int], access: Access) -> Step:
    group, number = place
    accesses = list(step.writes if group is None else step.reads[group])
    accesses[number] = access
    if group is None:
        return replace(step, writes=tuple(accesses))
    return replace(step, reads=(*step.reads[:group], tuple(accesses), *step.reads[group + 1 :]))


def uses(made: Plan, number: int) -> list[int]:
    """Steps that touch a buffer."""
    return [
        now
        for now, step in enumerate(made.steps)
        if number in (step.scratch, step.accumulator)
        or any(access_at(step, place).buffer == number for place in places(step))
    ]


def rule_of(graph: Graph, made: Plan) -> str:
    """The rule that the validator says a plan breaks; "" for a sound plan."""
    try:
        validate(made, graph)
    except InvalidPlanError as error:
        return str(error).split(":")[0]
    return ""


def broken_rule(hand: HandMade, **changes) -> str:
    return rule_of(hand.graph, refigured(hand.graph, hand.plan, **changes))


def together(one: Buffer, other: Buffer) -> bool:
    in_time = one.lower < other.upper and other.lower < one.upper
    return in_time and one.offset < other.offset + other.size_bytes and other.offset < one.offset + one.size_bytes


def obvious_overlap(buffers: list[Buffer]) -> bool:
    """Each against each."""
    return any(together(one, other) for number, one in enumerate(buffers) for other in buffers[:number])


def mutated(graph: Graph, made: Plan, draw) -> Plan:
    """One random change of any kind, sound or not."""
    kind = draw(
        st.sampled_from(["offset", "life", "drop", "swap", "access", "buffer", "role", "order", "region", "twice"])
    )
    number, now = draw(st.integers(0, len(made.buffers) - 1)), draw(st.integers(0, len(made.steps) - 1))
    buffer, step = made.buffers[number], made.steps[now]
    some = st.integers(-3, 3)
    if kind == "offset":
        return with_buffer(graph, made, number, offset=max(buffer.offset + 8 * draw(some), 0))
    if kind == "life":
        lower = min(max(buffer.lower + draw(some), 0), len(made.steps) - 1)
        upper = min(max(buffer.upper + draw(some), lower + 1), len(made.steps))
        return with_buffer(graph, made, number, lower=lower, upper=upper)
    if kind == "drop" and len(made.steps) > 1:
        return without_step(graph, made, now)
    if kind in ("swap", "twice"):
        steps, other = list(made.steps), draw(st.integers(0, len(made.steps) - 1))
        steps[now], steps[other] = steps[other], step if kind == "swap" else steps[other]
        if draw(st.booleans()):  # all alive throughout, one above the other: only contents can be wrong
            end, stacked = 0, []
            for one in made.buffers:
                base = up(end) + (one.region.top * 64 * 16 if one.region else 0)
                stacked.append(replace(one, lower=0, upper=len(steps), offset=up(base)))
                end = base + one.size_bytes
            return refigured(graph, made, steps=tuple(steps), buffers=tuple(stacked))
        return refigured(graph, made, steps=tuple(steps))
    if kind == "role":
        return with_buffer(graph, made, number, role=draw(st.sampled_from(list(Role))))
    if kind == "region" and buffer.region is not None:
        side = draw(st.sampled_from([field.name for field in fields(Region)]))
        region = replace(buffer.region, **{side: max(getattr(buffer.region, side) + draw(some), 0)})
        row = -(-buffer.size_bytes // max(buffer.region.rows, 1))
        return with_buffer(graph, made, number, region=region, size_bytes=max(row * region.rows * 2, 0))
    if kind == "order":
        return with_buffer(graph, made, number, tensors=tuple(draw(st.permutations(buffer.tensors))))
    place = draw(st.sampled_from(list(places(step))))
    access = access_at(step, place)
    if kind == "buffer":
        return with_step(graph, made, now, with_access(step, place, replace(access, buffer=number)))
    sides = [field.name for field in fields(Region)]
    moved = {side: getattr(access.region, side) + (draw(some) if draw(st.booleans()) else 0) for side in sides}
    access = replace(
        access, region=Region(**moved), channel=access.channel + draw(st.sampled_from([0, 0, 0, 2, -2, 4, 8]))
    )
    return with_step(graph, made, now, with_access(step, place, access))
