"""The memory that is promised next to the arena is what the program's constants take, to the byte."""

from __future__ import annotations

import shutil

import pytest

from deeplab.runtime.program import write_sources
from deeplab.runtime.proof_build import Toolchain, compiled
from deeplab.runtime.proof_sizes import constants, sizes
from evaluation.graph import read_tflite
from evaluation.planner import MCU, plan
from tests.deeplab.float_networks import random_float_network
from tests.deeplab.test_runtime_operators import layouts, pixels, slices, sparse, wholes, windows
from tests.deeplab.test_runtime_widths import borders, functions, moves, pairs, transposed
from tests.deeplab.tiny_quantized import tiny_graph

CORTEX_M7 = ("-mcpu=cortex-m7", "-mthumb", "-std=c99", "-O1")

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="needs a Cortex-M compiler (arm-none-eabi-gcc)"
)


def check(graph, tiles, folder):
    made = plan(graph, tiles, MCU)
    write_sources(graph, made, folder)
    toolchain = Toolchain("arm-none-eabi-gcc", CORTEX_M7, "arm-none-eabi-size", "arm-none-eabi-nm")
    network = compiled(folder / "network.c", toolchain)
    assert sum(constants(network, toolchain).values()) == made.flash_bytes
    kernels = compiled(folder / "kernels.c", toolchain)
    found = sizes([network, kernels], toolchain, guard_bytes=0)
    assert (found.bss_bytes, found.data_bytes) == (made.arena_bytes, 0)
    assert found.rodata_bytes - made.flash_bytes < 512, "what alignment and the kernels' own constants add"


@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (3, 4), (6, 6), (5, 16)], ids=lambda bits: f"w{bits[0]}a{bits[1]}")
def test_flash_of_a_quantized_network_is_what_was_promised(bits, tmp_path):
    check(tiny_graph(*bits), 4, tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("network", [windows, pixels, wholes, sparse, layouts, slices], ids=lambda made: made.__name__)
def test_flash_of_every_operator_is_what_was_promised(network, dtype, tmp_path):
    check(network(dtype), 2, tmp_path)


@pytest.mark.parametrize("bits", [4, 6, 8, 16])
@pytest.mark.parametrize(
    "network", [functions, pairs, borders, moves, transposed], ids=lambda made: getattr(made, "__name__", None)
)
def test_flash_of_an_operator_of_another_width_is_what_was_promised(network, bits, tmp_path):
    check(network(bits), 2, tmp_path)


@pytest.mark.parametrize("seed", [2, 5, 11])
def test_flash_of_a_float_network_is_what_was_promised(seed, tmp_path):
    check(random_float_network(seed), 2, tmp_path)


@pytest.mark.parametrize(
    ("network", "tiles"),
    [
        ("weights/deeplabv3_mnv2_dm05_pascal_quant.tflite", 8),
        ("planner_cases/networks/mlperf_tiny__vww_96_int8.tflite", 4),
        pytest.param("weights/deeplabv3_mnv2_ade20k_int8.tflite", "auto", marks=pytest.mark.slow),
        pytest.param("weights/deeplabv3_257_mv_gpu.tflite", 8, marks=pytest.mark.slow),
    ],
)
def test_flash_of_a_published_network_is_what_was_promised(network, tiles, shared, tmp_path):
    check(read_tflite(shared(network)), tiles, tmp_path)
