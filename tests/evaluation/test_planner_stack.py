"""The stack that a plan promises: of the target's instruction set, whatever machine plans."""

import subprocess
import sys
from dataclasses import replace

import pytest

from evaluation.graph import Graph
from evaluation.kernels.contract import kernel_calls
from evaluation.kernels.stack_bounds import stack_table
from evaluation.kernels.uses import kernel_uses
from evaluation.planner import CAMERA, MCU, Plan, plan
from evaluation.planner.cost.accounting import restated, stack_bytes, tables_bytes
from evaluation.planner.ir.loops import checked_loops
from tests.deeplab.tiny_quantized import tiny_graph


@pytest.fixture(scope="module")
def planned() -> tuple[Graph, Plan]:
    graph = tiny_graph()
    return graph, plan(graph, 4, CAMERA)


@pytest.mark.parametrize("name", ["portable", "avx512", "armv7-neon", "aarch64", "cortex-m7"])
def test_the_promise_is_the_tables_bound_of_the_targets_instruction_set(planned, name):
    graph, _ = planned
    uses = kernel_uses(graph, kernel_calls(graph))
    bound = max(row.stack.bound_bytes(uses) for row in stack_table().rows[name])
    promised = stack_bytes(graph, kernel_calls(graph), replace(MCU, instruction_set=name))
    assert bound <= promised < bound + 16
    assert promised % 16 == 0
    made = plan(graph, 1, replace(MCU, instruction_set=name))
    assert made.runtime_bytes == promised
    assert made.peak_memory_bytes == made.arena_bytes + promised


def test_an_arena_does_not_depend_on_the_instruction_set(planned):
    graph, made = planned
    other = plan(graph, 4, replace(CAMERA, instruction_set="avx512"))
    assert (other.arena_bytes, other.steps, other.weights_bytes) == (made.arena_bytes, made.steps, made.weights_bytes)
    assert other.runtime_bytes > made.runtime_bytes


def test_figures_of_an_older_plan_are_stated_anew(planned):
    graph, made = planned
    older = replace(made, runtime_bytes=made.runtime_bytes - 99, peak_memory_bytes=1, flash_bytes=7, weights_bytes=3)
    assert restated(older, graph, CAMERA) == made
    assert made.runtime_bytes == tables_bytes(graph, checked_loops(graph, made)) + stack_bytes(
        graph, kernel_calls(graph), CAMERA
    )


def test_no_promise_rests_on_what_the_machine_has(planned):
    """Another machine: another processor, and no compiler."""
    script = (
        "import platform; platform.machine = lambda: 'sparc'\n"
        "from evaluation.planner import CAMERA, MCU, plan\n"
        "from tests.deeplab.tiny_quantized import tiny_graph\n"
        "print([(p.arena_bytes, p.runtime_bytes) for p in (plan(tiny_graph(), 4, t) for t in (CAMERA, MCU))])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PATH": "", "PYTHONPATH": "."}
    )
    graph, made = planned
    bare = plan(graph, 4, MCU)
    expected = [(made.arena_bytes, made.runtime_bytes), (bare.arena_bytes, bare.runtime_bytes)]
    assert found.stdout.strip() == str(expected)
