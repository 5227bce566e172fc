"""What LiteRT and TFLM allocate: against published facts, a network whose answer is known by hand, and bad files."""

import json
import subprocess
import sys

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from evaluation.errors import UserError
from evaluation.other_runtimes import (
    ResidentGrowth,
    Runtime,
    TflmArena,
    litert_arena,
    resident_growth,
    survey,
    tflm_arena,
)
from evaluation.other_runtimes.__main__ import main
from evaluation.other_runtimes.subprocess_call import call_in_fresh_process

tflite_micro = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import tflite_micro"], capture_output=True).returncode != 0,
    reason="needs tflite-micro",
)


def write_relus(path, sizes, outside=False, kind=schema.BuiltinOperator.RELU):
    """A chain of RELUs on float vectors of one length; with `outside`, a constant that is beyond the flatbuffer."""
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [subgraph], [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = 1
    model.operatorCodes = [code]
    subgraph.tensors, subgraph.operators = [], []
    for index, size in enumerate(sizes):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"t{index}", [1, size], 0
        tensor.type = schema.TensorType.FLOAT32
        subgraph.tensors.append(tensor)
        if index:
            operator = schema.OperatorT()
            operator.opcodeIndex, operator.inputs, operator.outputs = 0, [index - 1], [index]
            subgraph.operators.append(operator)
    subgraph.inputs, subgraph.outputs = [0], [len(sizes) - 1]
    if outside:
        buffer = schema.BufferT()
        buffer.offset, buffer.size = 64, 16
        model.buffers.append(buffer)
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()) + bytes(128))
    return path


@tflite_micro
def test_tflm_on_the_ade20k_network(shared):
    """The figures that the allocator printed when the project began."""
    path = shared("weights/deeplabv3_mnv2_ade20k_int8.tflite")
    assert tflm_arena(path) == TflmArena(head_bytes=12_582_912, tail_bytes=159_856)


@tflite_micro
def test_tflm_on_a_chain_known_by_hand(tmp_path):
    """Four vectors of 4096 floats, each needed by the next only: two of them are alive at once."""
    arena = tflm_arena(write_relus(tmp_path / "chain.tflite", [4096] * 4))
    assert arena.head_bytes == 2 * 4096 * 4
    assert arena.tail_bytes > 0
    assert arena.total_bytes == arena.head_bytes + arena.tail_bytes


def test_litert_on_a_chain_known_by_hand(tmp_path):
    """As above, but the input lives on to the end, and LiteRT computes RELU where its input is."""
    size = 4096 * 4
    arena = litert_arena(write_relus(tmp_path / "chain.tflite", [4096] * 4))
    assert 2 * size <= arena <= 3 * size


def test_litert_with_xnnpack_holds_what_passes_between_them(tmp_path):
    """The delegate takes the whole chain: input and output are all that is left to LiteRT."""
    size = 4096 * 4
    assert litert_arena(write_relus(tmp_path / "chain.tflite", [4096] * 6), xnnpack=True) == 2 * size


@pytest.mark.parametrize("runtime", [Runtime.LITERT_BUILTIN, pytest.param(Runtime.TFLM, marks=tflite_micro)])
def test_resident_memory_grows_with_the_tensors(tmp_path, runtime):
    """Chains that differ by two living tensors of 16 MB: what grows with them, and not the loading of libraries."""
    small, large = (
        resident_growth(write_relus(tmp_path / f"{size}.tflite", [size >> 2] * 4), runtime)
        for size in (1 << 20, 17 << 20)
    )
    assert 0 < small.end_bytes <= small.peak_bytes
    # LiteRT computes in place but keeps its input apart; Python's own copies of the values come and go.
    assert 1.9 * (16 << 20) <= large.peak_bytes - small.peak_bytes <= 4.1 * (16 << 20)


@tflite_micro
def test_resident_memory_of_the_ade20k_network(shared):
    """Near the growth measured when the project began: 48 MB with XNNPACK, 21.5 MB without; TFLM adds its arena (12.7)
    and the file (2.9)."""
    path = shared("weights/deeplabv3_mnv2_ade20k_int8.tflite")
    expected = {Runtime.LITERT_XNNPACK: 48e6, Runtime.LITERT_BUILTIN: 21.5e6, Runtime.TFLM: 12.742e6 + 2.938e6}
    for runtime, size in expected.items():
        growth = resident_growth(path, runtime)
        assert isinstance(growth, ResidentGrowth)
        assert growth.end_bytes == pytest.approx(size, rel=0.15)
        assert growth.peak_bytes >= growth.end_bytes


def test_a_survey_says_what_could_not_be_measured(tmp_path):
    """DELEGATE is an operator that no runtime brings."""
    path = write_relus(tmp_path / "odd.tflite", [16, 16], kind=schema.BuiltinOperator.DELEGATE)
    found = survey(path)
    assert [use.runtime for use in found.uses] == list(Runtime)
    assert all(
        use.arena_bytes is None and use.resident_bytes is None and "odd.tflite" in use.problem for use in found.uses
    )
    figures = found.figures()
    assert figures["litert_arena_bytes"] is None
    assert 1 <= len(figures["problems"]) <= 3


def test_litert_is_never_below_the_largest_operator(shared):
    path = shared("planner_cases/networks/mlperf_tiny__vww_96_int8.tflite")
    assert litert_arena(path) >= 48 * 48 * 8 + 48 * 48 * 16  # the first pointwise convolution's input and output


@tflite_micro
def test_constants_outside_the_flatbuffer_are_refused_for_tflm(tmp_path):
    path = write_relus(tmp_path / "outside.tflite", [16, 16], outside=True)
    with pytest.raises(UserError, match=r"outside\.tflite: TFLM refuses this file: it keeps constants outside"):
        tflm_arena(path)


@pytest.mark.parametrize("measure", [litert_arena, pytest.param(tflm_arena, marks=tflite_micro)])
def test_bad_files_are_one_clear_line(measure, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        measure(tmp_path / "none.tflite")
    whole = write_relus(tmp_path / "whole.tflite", [16, 16]).read_bytes()
    for name, data in (("empty", b""), ("cut", whole[:100]), ("noise", np.random.default_rng(0).bytes(4000))):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"{name}.tflite: ") as caught:
            measure(path)
        assert "\n" not in str(caught.value)


def test_a_crash_and_a_missing_runtime_are_reported(tmp_path, monkeypatch):
    path = write_relus(tmp_path / "net.tflite", [16, 16])
    (tmp_path / "crashing.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    (tmp_path / "absent.py").write_text("print('{\"missing\": true}')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match="Runtime died of signal 11 on this file"):
        call_in_fresh_process("crashing", path, "Runtime", "runtime")
    with pytest.raises(UserError, match=r"Runtime is not installed; `pip install some-runtime`"):
        call_in_fresh_process("absent", path, "Runtime", "some-runtime")


def test_command_prints_json_and_fails_where_nothing_can_be_measured(tmp_path, capsys):
    path = write_relus(tmp_path / "net.tflite", [4096] * 3)
    main([str(path), "--json"])
    (row,) = json.loads(capsys.readouterr().out)["networks"]
    assert row["litert_xnnpack_resident_bytes"] > 0
    assert row["litert_arena_bytes"] == litert_arena(path)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "none.tflite")])
    assert ended.value.code == 2
    assert "no such file" in capsys.readouterr().err
