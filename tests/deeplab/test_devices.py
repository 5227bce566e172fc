"""An exported network on an emulated Cortex-M7 that has exactly the RAM its plan promises."""

import re
from dataclasses import replace

import numpy as np
import pytest

from deeplab.devices import CORTEX_M7, missing_tools, run
from deeplab.runtime.proof import BrokenProgramError
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.interpreter import execute
from evaluation.planner import CAMERA, MCU, Plan, plan
from tests.deeplab.tiny_quantized import camera_frame, tiny_graph

QUICK = ("-O1",)
needs_board = pytest.mark.skipif(bool(missing_tools()), reason=missing_tools() or "all tools are there")


@pytest.fixture(scope="module")
def network() -> tuple[Graph, Plan]:
    graph = tiny_graph()
    return graph, plan(graph, 4, MCU)


@needs_board
def test_a_network_runs_in_exactly_the_promised_ram(network, tmp_path):
    graph, made = network
    frames = [camera_frame(5), camera_frame(6)]
    found = run(graph, made, frames, tmp_path)
    labels = [execute(graph, made, frame).output.reshape(-1) for frame in frames]
    np.testing.assert_array_equal(found.outputs, np.stack(labels))
    assert found.is_within_plan
    assert found.ram_bytes == made.peak_memory_bytes == made.arena_bytes + found.stack_room_bytes
    assert found.stack_room_bytes == made.runtime_bytes
    assert found.high_water_bytes == max(buffer.offset + buffer.size_bytes for buffer in made.buffers)
    assert 0.5 * found.stack_room_bytes < found.stack_bytes <= found.stack_room_bytes


@needs_board
def test_less_ram_than_promised_does_not_link_or_is_seen(network, tmp_path):
    graph, made = network
    small = replace(made, peak_memory_bytes=made.peak_memory_bytes - 1)
    with pytest.raises(BrokenProgramError, match=r"does not link into the \d+ bytes .*`RAM' overflowed by 1 byte"):
        run(graph, small, [camera_frame(5)], tmp_path / "small", flags=QUICK)
    shallow = replace(made, runtime_bytes=512)
    with pytest.raises(BrokenProgramError, match="faulted: it left the memory of its plan"):
        run(graph, shallow, [camera_frame(5)], tmp_path / "shallow", flags=QUICK)


def test_what_cannot_run_on_a_board_is_refused(network, tmp_path, monkeypatch):
    graph, made = network
    if not missing_tools():
        with pytest.raises(UserError, match="plan for target mcu"):
            run(graph, plan(graph, 4, CAMERA), [camera_frame(5)], tmp_path)
        with pytest.raises(UserError, match="no frame"):
            run(graph, made, [], tmp_path)
        with pytest.raises(UserError, match=re.escape(f"{CORTEX_M7.name} has at most")):
            run(graph, replace(made, peak_memory_bytes=20 << 20), [camera_frame(5)], tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="install gcc-arm-none-eabi qemu-system-arm"):
        run(graph, made, [camera_frame(5)], tmp_path)
