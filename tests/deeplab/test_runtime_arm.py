"""The same sources built for ARM: equal labels in an emulator, and what a Cortex-M program would hold."""

from pathlib import Path

import pytest

from deeplab.runtime.emit import outside_bytes
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof import prove
from deeplab.runtime.proof_build import Toolchain, compiled, cross
from deeplab.runtime.proof_sizes import constants, sizes, struct_sizes
from evaluation.graph import Graph, read_tflite
from evaluation.interpreter import execute
from evaluation.kernels.tables import STRUCTS
from evaluation.kernels.targets import MCU, Target
from evaluation.planner import plan
from evaluation.planner.ir.plan_types import Plan
from tests.deeplab.tiny_quantized import camera_frame, tiny_graph

ADE20K = "weights/deeplabv3_mnv2_ade20k_int8.tflite"
LINUX = {
    "cortex-a9": ("arm-linux-gnueabihf-", ("-mcpu=cortex-a9", "-mfpu=neon"), "qemu-arm"),
    "cortex-a53": ("aarch64-linux-gnu-", ("-mcpu=cortex-a53",), "qemu-aarch64"),
    "cortex-a76": ("aarch64-linux-gnu-", ("-mcpu=cortex-a76",), "qemu-aarch64"),  # has dot products
}


def linux_toolchain(processor: str) -> Toolchain:
    prefix, flags, emulator = LINUX[processor]
    toolchain = cross(prefix, flags, emulator)
    if toolchain is None:
        pytest.skip(f"needs {prefix}gcc and {emulator}")
    return toolchain


@pytest.fixture(scope="session")
def cortex_m7() -> Toolchain:
    toolchain = cross("arm-none-eabi-", ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"), None)
    if toolchain is None:
        pytest.skip("needs arm-none-eabi-gcc")
    return toolchain


@pytest.mark.parametrize("processor", ["cortex-a9", "cortex-a76"])
def test_a_small_network_gives_equal_labels(processor, tmp_path):
    toolchain = linux_toolchain(processor).with_flags("-O1")
    graph = tiny_graph()
    made = plan(graph, "auto")
    frame = camera_frame(5)
    references = [execute(graph, made, frame).output]
    proof = prove(graph, made, [frame], tmp_path, references, runs=1, toolchain=toolchain, bound_stack=True)
    assert proof.faults == ()
    assert 0 < proof.measured.stack_bytes <= proof.stack_bound_bytes < 1.25 * proof.measured.stack_bytes


@pytest.mark.slow
@pytest.mark.parametrize("processor", LINUX)
@pytest.mark.parametrize("tiles", [1, "auto"])
def test_the_ade20k_network_gives_equal_labels(processor, tiles, shared, tmp_path):
    toolchain = linux_toolchain(processor)
    graph = read_tflite(shared(ADE20K))
    made = plan(graph, tiles)
    frame = camera_frame(5, 512, 512)
    proof = prove(graph, made, [frame], tmp_path, [execute(graph, made, frame).output], runs=1, toolchain=toolchain)
    print(processor, tiles, proof.measured.stack_bytes, proof.sizes, proof.latency_ms)
    assert proof.faults == ()


def objects_for(graph: Graph, made: Plan, folder: Path, toolchain: Toolchain) -> list[Path]:
    """As they go into a product: nothing of the proof in them."""
    write_sources(graph, made, folder)
    return [compiled(folder / f"{name}.c", toolchain) for name in ("network", "kernels")]


@pytest.fixture(scope="module")
def microcontroller(cortex_m7, tmp_path_factory) -> tuple[Plan, list[Path]]:
    """A plan and its object files."""
    graph = tiny_graph()
    made = plan(graph, 4, MCU)
    folder = tmp_path_factory.mktemp("microcontroller")
    return made, objects_for(graph, made, folder, cortex_m7)


def test_a_microcontroller_holds_the_arena_and_no_other_variable(microcontroller, cortex_m7):
    made, objects = microcontroller
    found = sizes(objects, cortex_m7, guard_bytes=0)
    assert found.bss_bytes == made.arena_bytes
    assert found.data_bytes == 0
    assert 0 < found.text_bytes < 64 << 10


def test_a_frame_that_is_not_counted_lies_beside_the_arena(cortex_m7, tmp_path):
    graph = tiny_graph()
    made = plan(graph, 4, Target("outside", weights_in_ram=False, count_frame=False))
    write_sources(graph, made, tmp_path)
    found = sizes([compiled(tmp_path / "network.c", cortex_m7)], cortex_m7, guard_bytes=0)
    assert found.bss_bytes == made.arena_bytes + outside_bytes(made) > made.arena_bytes


def test_constants_are_the_weights_and_the_tables(microcontroller, cortex_m7):
    """Every byte of network.o's constants has its kind, and the tables are made of the structs that the planner
    counts."""
    objects = microcontroller[1]
    found = constants(objects[0], cortex_m7)
    structs = struct_sizes(objects[0].parent, cortex_m7)
    padding = sizes(objects[:1], cortex_m7, guard_bytes=0).rodata_bytes - sum(found.values())
    assert 0 <= padding < 8 * 64  # alignment between arrays
    for kind, struct in (("calls", "call"), ("operands", "operand"), ("sections", "section")):
        assert found[kind] > 0
        assert found[kind] % structs[struct] == 0
    assert {struct.name: struct.size_bytes for struct in STRUCTS}.items() <= structs.items()
    assert sum(found.values()) == microcontroller[0].flash_bytes


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 8, "auto"])
def test_the_ade20k_networks_constants(tiles, cortex_m7, shared, tmp_path):
    graph = read_tflite(shared(ADE20K))
    made = plan(graph, tiles, MCU)
    objects = objects_for(graph, made, tmp_path, cortex_m7)
    found, all_of_it = constants(objects[0], cortex_m7), sizes(objects, cortex_m7, guard_bytes=0)
    print(tiles, dict(found), all_of_it, "planned", made.weights_bytes, made.flash_bytes, made.runtime_bytes)
    assert all_of_it.bss_bytes == made.arena_bytes
    assert sum(found.values()) == made.flash_bytes
