"""The emitted program runs in exactly the planned memory, and a plan that is wrong never goes unseen."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab.runtime.compilers import compiler
from deeplab.runtime.emit import label_map
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof import BrokenProgramError, Measured, prove, run_program
from deeplab.runtime.proof_build import compiled, linked, native, proof_objects
from deeplab.runtime.sources import flat_name, kernel_units
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.interpreter import execute, run_whole
from evaluation.interpreter.whole import as_input
from evaluation.kernels.targets import CAMERA, Target
from evaluation.planner import plan
from evaluation.planner.ir.loops import checked_loops
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Buffer, Role
from tests.deeplab.tiny_quantized import camera_frame, tiny_graph
from tests.evaluation.plan_changes import mutated, rule_of
from tests.evaluation.plans_by_hand import PLANS, Network

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")

FRAMES = [camera_frame(5), camera_frame(6)]
QUICK = native(("-std=c99", "-O0", "-ffp-contract=off")) if compiler() else None
OPTIMIZED = native(("-std=c99", "-O1", "-ffp-contract=off")) if compiler() else None
"""What bounds of the stack are derived for."""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return tiny_graph()


@pytest.mark.parametrize(
    ("tiles", "target"),
    [
        ("auto", CAMERA),
        (4, Target("outside", count_frame=False)),
        pytest.param(1, CAMERA, marks=pytest.mark.slow),
        pytest.param(4, Target("keeps", keep_frame=True), marks=pytest.mark.slow),
    ],
)
def test_the_program_uses_its_arena_to_the_last_byte_and_nothing_else(graph, tiles, target, tmp_path):
    made = plan(graph, tiles, target)
    labels = [execute(graph, made, frame).output for frame in FRAMES]
    proof = prove(graph, made, FRAMES, tmp_path, labels, toolchain=OPTIMIZED, bound_stack=True)
    assert proof.faults == ()
    assert proof.agreement == 1.0
    assert proof.measured.high_water_bytes == execute(graph, made, FRAMES[0], trace=True).trace.end
    assert 0 < proof.measured.stack_bytes <= proof.stack_bound_bytes < 1.25 * proof.measured.stack_bytes
    assert len(proof.measured.latencies_ms) == 5
    assert proof.sizes.rodata_bytes > 0
    assert proof.sizes.text_bytes > 0
    assert proof.sizes.data_bytes == 0
    assert proof.sizes.bss_bytes == made.arena_bytes + proof.outside_bytes


def shortcut() -> Graph:
    """A residual block whose shortcut strides: all that it reads of `a` is in the ring, and a line of the ring has
    twice the columns of what it computes."""
    net = Network()
    x = net.activation("x", (1, 16, 16, 4))
    a = net.convolution("a", x, 8)
    c = net.convolution("c", net.convolution("b", a, 8, stride=2), 8)
    d = net.convolution("d", a, 8, kernel=1, stride=2)
    y = net.operate("ADD", (c, d), net.activation("y", (1, 8, 8, 8)), activation="NONE")
    return net.graph("shortcut", (x,), (y,))


def test_a_strided_call_reads_rows_that_all_lie_in_a_ring(tmp_path):
    graph = shortcut()
    made = plan(graph, 8)
    places = [(loop, call, place) for loop in checked_loops(graph, made) for call in loop.calls for place in call.reads]
    in_ring = [(loop, call, place) for loop, call, place in places if place.offset is None and place.ring_rows]
    columns = [(loop.region(p.span, 0).columns, loop.region(call.span, 0).columns) for loop, call, p in in_ring]
    assert (16, 8) in columns
    frame = np.random.default_rng(0).integers(-128, 128, (16, 16, 4)).astype(np.int8)
    assert prove(graph, made, [frame], tmp_path, [execute(graph, made, frame).output], toolchain=QUICK).faults == ()


def test_wrong_labels_and_wrong_arenas_are_named(graph, tmp_path):
    made = plan(graph, 8)
    wrong = execute(graph, made, FRAMES[0]).output.copy()
    wrong[0, 3, 4] += 1
    small = replace(made, arena_bytes=made.arena_bytes - 16)
    large = replace(made, arena_bytes=made.arena_bytes + 64)
    found = {
        "agree": prove(graph, made, FRAMES[:1], tmp_path / "wrong", [wrong], toolchain=QUICK),
        "memory next to the arena was written": prove(graph, small, FRAMES[:1], tmp_path / "small", toolchain=QUICK),
        "its buffers end at": prove(graph, large, FRAMES[:1], tmp_path / "large", toolchain=QUICK),
    }
    for words, proof in found.items():
        assert any(words in fault for fault in proof.faults), (words, proof.faults)
    assert found["agree"].agreement == 1 - 1 / wrong.size


def test_a_crash_is_reported_and_not_fatal(graph, tmp_path):
    write_sources(graph, plan(graph, 1), tmp_path)
    kernels = tmp_path / "kernels.c"
    broken = kernels.read_text().replace("void run_sections(", "void *volatile nowhere;\nvoid run_sections(", 1)
    start = broken.index("{", broken.index("void run_sections("))
    kernels.write_text(broken[: start + 1] + "*(int *)nowhere = 1;" + broken[start + 1 :])
    program = linked(proof_objects(tmp_path, QUICK), tmp_path / "proof", QUICK)
    with pytest.raises(BrokenProgramError, match="SIGSEGV"):
        run_program(program, [as_input(graph, FRAMES[0])], QUICK)
    with pytest.raises(BrokenProgramError, match="FRAMES holds no whole input"):
        run_program(program, [], QUICK)


@pytest.mark.parametrize(
    "networks",
    [
        ((4, 6, {}), (4, 8, {"decoder_weights": 8})),
        pytest.param(((8, 8, {}), (4, 8, {}), (4, 6, {}), (4, 8, {"decoder_weights": 8})), marks=pytest.mark.slow),
    ],
    ids=["two", "four"],
)
def test_kernels_compiled_one_by_one_are_the_same_program(networks, tmp_path):
    """Whatever network asks for them: a part that two networks need is one source, compiled once. The last of these has
    one part that is contained in another."""
    sources: dict[str, str] = {}
    needed = 0
    for weight_bits, activation_bits, mixed in networks:
        graph = tiny_graph(weight_bits, activation_bits, mixed=mixed)
        folder = tmp_path / f"{weight_bits}_{activation_bits}_{len(mixed)}"
        units = kernel_units(write_sources(graph, plan(graph, 2), folder).parts)
        for part, text in units.items():
            assert sources.setdefault(part, text) == text
            needed += 1
            (tmp_path / f"{flat_name(part)}.c").write_text(text)
        kernels = [compiled(tmp_path / f"{flat_name(part)}.c", QUICK) for part in units]
        apart = linked(proof_objects(folder, QUICK, kernels=kernels), folder / "apart", QUICK)
        whole = linked(proof_objects(folder, QUICK), folder / "whole", QUICK)
        frames = [as_input(graph, camera_frame(3))]
        one, other = (run_program(program, frames, QUICK, runs=0) for program in (apart, whole))
        np.testing.assert_array_equal(one.outputs, other.outputs)
        assert one.high_water_bytes == other.high_water_bytes
    assert len(sources) < needed, "some part is needed twice"


def test_without_a_compiler_the_message_says_so(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setitem(sys.modules, "ziglang", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"no C compiler .* pip install ziglang"):
        prove(graph, plan(graph, 1), FRAMES, tmp_path)


# Deliberate faults.


def without_argmax(graph: Graph) -> Graph:
    """The network as far as its logits: ARG_MAX would hide most wrong values."""
    return replace(graph, operators=graph.operators[:-1], outputs=(graph.operators[-1].inputs[0],))


def moved(made: Plan, numbers: list[int], **changes) -> Plan:
    buffers = [replace(b, **changes) if n in numbers else b for n, b in enumerate(made.buffers)]
    return replace(made, buffers=tuple(buffers))


def items(made: Plan) -> list[list[int]]:
    """Buffers that are at one offset in all tiles: what a fault must move together to be a program at all."""
    found: dict[tuple, list[int]] = {}
    for number, buffer in enumerate(made.buffers):
        found.setdefault((buffer.role, buffer.tensors, buffer.offset), []).append(number)
    return list(found.values())


def alive_together(one: Buffer, other: Buffer) -> bool:
    return one.lower < other.upper and other.lower < one.upper


def faults(made: Plan) -> Iterator[tuple[str, Plan]]:
    """Plans that cannot be right, by kind of fault."""
    groups = items(made)
    for at, group in enumerate(groups):
        first = made.buffers[group[0]]
        for other in groups[at + 1 :]:
            second = made.buffers[other[0]]
            if alive_together(first, second):
                yield "overlap", moved(made, other, offset=first.offset)
            if first.size_bytes != second.size_bytes and alive_together(first, second):
                swapped = moved(moved(made, group, offset=second.offset), other, offset=first.offset)
                if any_overlap(swapped):
                    yield "swapped", swapped
        if first.role is Role.ROW_CACHE and first.region.bottom > 1:
            short = replace(first.region, bottom=first.region.bottom - 1)
            row_bytes = first.size_bytes // first.region.bottom
            yield "short ring", moved(made, group, region=short, size_bytes=first.size_bytes - row_bytes)
        if first.role is not Role.EXTERNAL_FRAME and first.upper - first.lower > 1 and len(group) == 1:
            yield "freed early", moved(made, group, upper=first.upper - 1)
    yield "small arena", replace(made, arena_bytes=made.arena_bytes - 16)


def any_overlap(made: Plan) -> bool:
    inside = [b for b in made.buffers if b.role is not Role.EXTERNAL_FRAME]
    return any(
        alive_together(one, other)
        and one.offset < other.offset + other.size_bytes
        and other.offset < one.offset + one.size_bytes
        for at, one in enumerate(inside)
        for other in inside[:at]
    )


class Workshop:
    """Compiles plans of one network after another: its kernels only once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._kernels = folder, {}

    def emit(self, graph: Graph, made: Plan) -> None:
        """Raises UserError where the plan is refused."""
        write_sources(graph, made, self._folder)

    def run(self, graph: Graph, frame: np.ndarray) -> Measured:
        """What was emitted last, on a frame. Raises BrokenProgramError."""
        text = (self._folder / "kernels.c").read_text() + (self._folder / "kernels.h").read_text()
        if text not in self._kernels:
            kept = self._folder / f"kept{len(self._kernels)}"
            kept.mkdir(exist_ok=True)
            for name in ("kernels.c", "kernels.h"):
                (kept / name).write_bytes((self._folder / name).read_bytes())
            self._kernels[text] = compiled(kept / "kernels.c", QUICK)
        objects = proof_objects(self._folder, QUICK, kernels=[self._kernels[text]])
        program = linked(objects, self._folder / "proof", QUICK)
        return run_program(program, [as_input(graph, frame)], QUICK, runs=0)


def unseen(graph: Graph, made: Plan, frame: np.ndarray, workshop: Workshop, right: np.ndarray) -> str:
    """Where a plan's fault shows without the validator: at emission, in the run, or "" if nowhere."""
    try:
        workshop.emit(graph, made)
    except UserError:
        return "emission"
    try:
        found = workshop.run(graph, frame)
    except BrokenProgramError:
        return "crash"
    if not found.outputs_equal:
        return "patterns"
    if not found.guards_intact or found.high_water_bytes > made.arena_bytes:
        return "guards"
    return "" if np.array_equal(found.outputs[0], right) else "outputs"


def expected(graph: Graph, made: Plan, frame: np.ndarray) -> np.ndarray:
    """Bytes of the first output, as the program holds them."""
    values = run_whole(graph, frame)[graph.outputs[0]]
    labels = label_map(graph, made)
    values = values if labels is None else values.astype(f"u{labels[2]}")
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def caught_by(graph: Graph, made: Plan, workshop: Workshop, most: int) -> Counter:
    """How deliberate faults of a plan, at most so many of a kind, show in emission and run.

    The validator refuses them all, or this fails.
    """
    frame = camera_frame(5, *graph.tensors[graph.inputs[0]].shape[1:3])
    right = expected(graph, made, frame)
    assert unseen(graph, made, frame, workshop, right) == ""
    found: Counter = Counter()
    kinds: dict[str, list[Plan]] = {}
    for kind, broken in faults(made):
        kinds.setdefault(kind, []).append(broken)
    assert set(kinds) >= {"overlap", "swapped", "freed early", "small arena"}
    for kind, plans in kinds.items():
        for broken in plans[:: -(-len(plans) // most)]:
            assert rule_of(graph, broken) != "", f"the validator does not see: {kind}"
            found[kind, unseen(graph, broken, frame, workshop, right)] += 1
    assert found["small arena", ""] == 0, found
    shown = sum(count for (kind, where), count in found.items() if kind in ("overlap", "swapped") and where)
    assert shown >= 0.8 * sum(count for (kind, _), count in found.items() if kind in ("overlap", "swapped")), found
    return found


def test_deliberate_faults_are_refused_and_most_show_in_the_run_too(graph, tmp_path):
    """A lifetime that is too short shows in the run only if something else takes the place: then it is an overlap."""
    graph = without_argmax(graph)
    caught_by(graph, plan(graph, "auto"), Workshop(tmp_path), most=3)


def test_a_ring_that_is_too_short_is_refused_and_shows_in_the_run(graph, tmp_path):
    by_hand = PLANS["cached"]()
    for network, made in ((by_hand.graph, by_hand.plan), (graph, plan(graph, "auto"))):
        source = network.tensors[network.inputs[0]]
        frame = np.random.default_rng(0).integers(0, 256, source.shape, dtype=np.uint8).view(source.dtype)
        short = [broken for kind, broken in faults(made) if kind == "short ring"]
        assert short
        for broken in short:
            assert rule_of(network, broken) != ""
            assert unseen(network, broken, frame, Workshop(tmp_path), expected(network, made, frame)) == "outputs"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "columns", "tiles"), [(97, 64, 8), (97, 64, "auto"), (33, 48, "auto"), (65, 33, 16)])
def test_all_deliberate_faults(seed, rows, columns, tiles, tmp_path):
    graph = without_argmax(tiny_graph(seed=seed, input_height=rows, input_width=columns))
    found = caught_by(graph, plan(graph, tiles), Workshop(tmp_path), most=60)
    print(tiles, seed, sorted(found.items()))


def check_random_change(name: str, count: int, data, workshop: Workshop) -> None:
    """Whatever the validator accepts, the program computes rightly, or it is not emitted."""
    hand = PLANS[name]()
    graph, made = hand.graph, hand.plan
    for _ in range(count):
        made = mutated(graph, made, data.draw)
    if rule_of(graph, made) == "":
        tensor = graph.tensors[graph.inputs[0]]
        frame = np.random.default_rng(0).integers(0, 256, tensor.shape[1:], dtype=np.uint8).view(tensor.dtype)
        assert unseen(graph, made, frame, workshop, expected(graph, made, frame)) in ("", "emission")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


RANDOM = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(RANDOM, max_examples=12)
@given(name=st.sampled_from(sorted(PLANS)), count=st.integers(0, 2), data=st.data())
def test_accepted_changes_run_rightly(name, count, data, workshop):
    check_random_change(name, count, data, workshop)


@pytest.mark.slow
@settings(RANDOM, max_examples=1500)
@given(name=st.sampled_from(sorted(PLANS)), count=st.integers(0, 3), data=st.data())
def test_many_accepted_changes_run_rightly(name, count, data, workshop):
    check_random_change(name, count, data, workshop)
