"""The command: figures, table, files, and one line for every mistake."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation.errors import USER_ERROR_STATUS, UserError
from evaluation.graph import Graph, Operator, Quantization, Tensor, read_tflite, write_tflite
from evaluation.kernels.bits import with_bits
from evaluation.kernels.weights import weights_bytes
from evaluation.planner import Buffer, Role, load_target, plan
from evaluation.planner.__main__ import app, main, summary
from evaluation.planner.show.outputs import write_plan_buffers
from evaluation.planner.show.plot import write_plot
from tests.fuzz.target_tflite import small_network as tiny_network

SMALL = "planner_cases/networks/mlperf_tiny__vww_96_int8.tflite"


def run_json(capsys, *arguments):
    main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)["plans"]


def test_json_holds_one_entry_a_tile_count(shared, capsys):
    plans = run_json(capsys, shared(SMALL), "--tiles", 4, "auto", 1, 4)
    assert [entry["asked"] for entry in plans] == ["1", "4", "auto"]
    assert [entry["tile_count"] for entry in plans[:2]] == [1, 4]
    sizes = {f"{name}_bytes" for name in ("arena", "weights", "flash", "runtime", "peak_memory", "lower_bound")}
    assert sizes | {"proven", "gap", "macs", "mac_overhead", "order_proven", "frame_kept"} <= set(plans[0])
    assert plans[0]["arena_bytes"] == 55_296
    arenas = [entry["arena_bytes"] for entry in plans]
    assert arenas == sorted(arenas, reverse=True)
    assert arenas[1] < arenas[0]
    for entry in plans:
        assert entry["peak_memory_bytes"] == entry["arena_bytes"] + entry["runtime_bytes"] + entry["weights_bytes"]
        assert entry["proven"] == (entry["arena_bytes"] == entry["lower_bound_bytes"])
        assert max(section["tiles"] for section in entry["sections"]) <= max(4, entry["tile_count"])


def test_json_says_what_the_planner_says(shared, capsys):
    (entry,) = run_json(capsys, shared(SMALL), "--tiles", 4, "--tiling", "recompute", "--max-mac-overhead", 0.2)
    made = plan(read_tflite(shared(SMALL)), 4, tiling="recompute", max_mac_overhead=0.2)
    assert (entry["arena_bytes"], entry["macs"], entry["steps"]) == (made.arena_bytes, made.macs, len(made.steps))
    assert entry["tiling"] == "recompute"
    assert {section["halo"] for section in entry["sections"]} <= {"none", "recompute"}


def test_the_table_fits_a_terminal_and_names_what_fills_the_arena(shared, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    main([str(shared(SMALL)), "--tiles", "1", "4", "--target", "mcu"])
    out = capsys.readouterr().out
    table = out[: out.index("peak =")].splitlines()
    assert all(len(line) <= 100 for line in table)
    assert "…" not in out  # nothing cut short
    assert "0.0553" in out
    assert "flash" in out
    assert "1 tile: fullest at step 2 (CONV_2D model/activation_2" in out
    assert "4 tiles: fullest at step" in out


def test_the_files_are_of_the_last_plan_asked_for(shared, tmp_path, capsys):
    buffers, plot = tmp_path / "out.csv", tmp_path / "plan.svg"
    main([str(shared(SMALL)), "--tiles", "4", "1", "2", "--buffers", str(buffers), "--plot", str(plot)])
    out = " ".join(capsys.readouterr().out.split())
    assert "out.csv: the plan for --tiles 2" in out
    assert "plan.svg: the plan for --tiles 2" in out
    made = plan(read_tflite(shared(SMALL)), 2)
    assert f"up to {made.tile_count} tiles (mixed), arena {made.arena_bytes / 1e6:.4f} MB -->" in plot.read_text()
    header, *rows = buffers.read_text().splitlines()
    assert header == "id,lower,upper,size,offset,role,name"
    assert len(rows) == len(made.buffers)
    highest = max(int(row.split(",")[3]) + int(row.split(",")[4]) for row in rows)
    assert highest <= made.arena_bytes < highest + 16


def test_buffers_are_written_so_that_minimalloc_can_read_them(shared, tmp_path):
    """Its reader cuts lines at commas and knows no quotes; a frame outside the arena is none of its business."""
    made = plan(read_tflite(shared(SMALL)), 1)
    odd = replace(made.buffers[1], name='a,b "c"\nd')
    frame = Buffer("frame", Role.EXTERNAL_FRAME, (0,), None, 9, 0, 1, 10**6)
    count = write_plan_buffers(tmp_path / "out.csv", replace(made, buffers=(made.buffers[0], odd, frame)))
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert count == 2
    assert [line.count(",") for line in lines] == [6, 6, 6]
    assert lines[2] == f"1,{odd.lower},{odd.upper},{odd.size_bytes},{odd.offset},{odd.role},a_b__c__d"


def test_a_plans_buffers_can_be_placed_again(shared, tmp_path, capsys):
    """The list that --buffers writes is one that --solve reads; the plan's own arena is capacity enough."""
    out = tmp_path / "out.csv"
    main([str(shared(SMALL)), "--tiles", "1", "--buffers", str(out)])
    main(["--solve", str(out), "--capacity", "55296"])
    assert "solved at capacity 55296" in capsys.readouterr().out


def test_fewer_bits_take_less(shared, capsys):
    (eight,) = run_json(capsys, shared(SMALL), "--tiles", 1)
    (four,) = run_json(capsys, shared(SMALL), "--tiles", 1, "--activation-bits", 4, "--weight-bits", 4)
    # Frame (8 bits, as it comes), the first convolution's output, and its 8 kernels of 27 values, which are unpacked
    # together, each to a multiple of 4.
    assert four["arena_bytes"] == 96 * 96 * 3 + 48 * 48 * 8 // 2 + 8 * 28
    # Most kernel values of this network are zero, and stay so: half the bits would else take more than they do now.
    assert four["weights_bytes"] < 0.75 * eight["weights_bytes"]
    (same,) = run_json(capsys, shared(SMALL), "--tiles", 1, "--activation-bits", 8, "--weight-bits", 8)
    assert {**same, "asked": None} == {**eight, "asked": None}


def network_that_only_copies_in_a_section():
    """The image waits for a concatenation that is elided; its copy into the output is a section of its own."""
    window = {"stride": (2, 2), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    tensors = (
        Tensor("image", (1, 8, 8, 1), "uint8", 8),
        Tensor("kernel", (16, 3, 3, 1), "uint8", 8, is_constant=True),
        Tensor("conv", (1, 4, 4, 16), "uint8", 8),
        Tensor("size", (2,), "int32", 32, is_constant=True, data=np.array([8, 8], np.int32)),
        Tensor("resized", (1, 8, 8, 16), "uint8", 8),
        Tensor("joined", (1, 8, 8, 17), "uint8", 8),
    )
    flags = {"align_corners": False, "half_pixel_centers": True}
    operators = (
        Operator("CONV_2D", "conv", (0, 1), (2,), window),
        Operator("RESIZE_BILINEAR", "resized", (2, 3), (4,), flags),
        Operator("CONCATENATION", "joined", (4, 0), (5,), {"axis": 3, "activation": "NONE"}),
    )
    return Graph("copies", tensors, operators, (0,), (5,))


def test_a_section_that_only_copies_is_shown_and_drawn(tmp_path):
    graph = network_that_only_copies_in_a_section()
    made = plan(graph, "auto")
    assert [section.operators for section in made.sections][-1] == ()
    last = summary(graph, made)["sections"][-1]
    assert (last["first"], last["last"]) == (None, None)
    write_plot(tmp_path / "plan.svg", graph, made)
    assert "copies" in (tmp_path / "plan.svg").read_text()


def test_float_activations_with_quantized_weights_are_refused_at_once():
    """TFLite's dynamic-range quantization: planned without a word, and refused by the C program, in the past."""
    graph = small_network()
    changed = {"input": ("float32", 32), "logits": ("float32", 32)}
    tensors = tuple(
        replace(t, dtype=changed[t.name][0], bits=32, quantization=None) if t.name in changed else t
        for t in graph.tensors
    )
    with pytest.raises(UserError, match=r"operator 1 \(CONV_2D\) has float activations and int8 weights"):
        plan(replace(graph, tensors=tensors), 1)


def test_tensors_without_an_axis_of_1_in_front_are_called_what_they_are():
    """A batch is one only where the network takes a batch."""

    def made(*shapes):
        tensors = tuple(Tensor(f"t{i}", shape, "int8", 8) for i, shape in enumerate(shapes))
        return Graph("g", tensors, (Operator("RESHAPE", "r", (0,), (1,)),), (0,), (1,))

    with pytest.raises(UserError, match="holds a batch"):
        plan(made((2, 4, 4, 3), (1, 96)), 1)
    with pytest.raises(UserError, match=r"first axis of 16 though the network takes one image.*keep an axis of 1"):
        plan(made((1, 4, 4, 3), (16, 1, 3)), 1)


def test_an_operator_without_a_kernel_is_refused_in_a_short_line():
    tensors = tuple(Tensor(f"t{i}", (1, 4, 4, 3), "int8", 8) for i in range(2))
    graph = Graph("g" * 99, tensors, (Operator("SIN", "name/" * 40, (0,), (1,)),), (0,), (1,))
    with pytest.raises(UserError, match=r"operator 0 \(SIN .* and \d+ more") as error:
        plan(graph, 1)
    assert len(str(error.value)) < 400


def test_a_scale_that_changes_where_it_may_not_is_warned_of(shared, tmp_path, capsys):
    graph = read_tflite(write_tflite(tiny_network("int8")))
    resize = next(operator for operator in graph.operators if operator.kind == "RESIZE_BILINEAR")
    tensors = list(graph.tensors)
    grid = tensors[resize.outputs[0]].quantization
    tensors[resize.outputs[0]] = replace(tensors[resize.outputs[0]], quantization=replace(grid, scale=grid.scale * 2))
    (tmp_path / "net.tflite").write_bytes(write_tflite(replace(graph, tensors=tuple(tensors))))
    main([str(tmp_path / "net.tflite"), "--tiles", "1", "--json"])
    captured = capsys.readouterr()
    assert json.loads(captured.out)["plans"]
    assert captured.err.startswith("warning: net: operator 3 (RESIZE_BILINEAR) changes the scale")
    assert captured.err.count("\n") == 1


def small_network():
    """A frame on the network's grid, a convolution with one zero weight, a label map."""
    grid = Quantization(np.ones(1, np.float32), np.zeros(1, np.int64))
    kernel = np.arange(8, dtype=np.int8).reshape(2, 1, 1, 4)
    tensors = (
        Tensor("frame", (1, 4, 4, 4), "uint8", 8, grid),
        Tensor("input", (1, 4, 4, 4), "int8", 8, grid),
        Tensor("kernel", (2, 1, 1, 4), "int8", 8, grid, True, kernel),
        Tensor("bias", (2,), "int32", 32, grid, True, np.array([7, -7], np.int32)),
        Tensor("logits", (1, 4, 4, 2), "int8", 8, grid),
        Tensor("labels", (1, 4, 4), "int32", 32),
    )
    window = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    operators = (
        Operator("QUANTIZE", "input", (0,), (1,)),
        Operator("CONV_2D", "conv", (1, 2, 3), (4,), window),
        Operator("ARG_MAX", "labels", (4,), (5,), {"axis": 3}),
    )
    return Graph("small", tensors, operators, (0,), (5,))


def bits_of(graph):
    return {tensor.name: (tensor.dtype, tensor.bits) for tensor in graph.tensors}


def test_activations_get_narrower_but_for_frame_and_labels():
    changed = bits_of(with_bits(small_network(), activation_bits=4))
    before = bits_of(small_network())
    assert changed.pop("logits") == ("int8", 4)
    assert changed == {name: bits for name, bits in before.items() if name != "logits"}


def test_sixteen_bits_widen_the_input_and_the_biases():
    graph = with_bits(small_network(), activation_bits=16)
    assert bits_of(graph) | {"kernel": None, "labels": None} == {
        "frame": ("uint8", 8), "input": ("int16", 16), "logits": ("int16", 16), "bias": ("int64", 64),
        "kernel": None, "labels": None,
    }  # fmt: skip
    assert graph.tensors[3].data.tolist() == [7, -7]


def test_kernels_lose_their_values_only_where_they_get_narrower():
    narrow, wide = (with_bits(small_network(), weight_bits=bits).tensors[2] for bits in (4, 16))
    assert (narrow.data, narrow.density, narrow.bits) == (None, 7 / 8, 4)
    assert wide.data.tolist() == small_network().tensors[2].data.tolist()
    assert wide.data.dtype == np.int16
    assert with_bits(small_network(), weight_bits=8).tensors[2] is not None
    assert weights_bytes(with_bits(small_network(), weight_bits=2)) < weights_bytes(small_network())


def test_no_bits_change_nothing():
    graph = small_network()
    assert all(one is other for one, other in zip(graph.tensors, with_bits(graph).tensors, strict=True))


def test_a_float_network_has_32_bits_and_no_others(shared):
    graph = read_tflite(shared("weights/deeplabv3_257_mv_gpu.tflite"))
    assert bits_of(with_bits(graph, 32, 32)) == bits_of(graph)
    for arguments in ({"activation_bits": 8}, {"weight_bits": 4}):
        with pytest.raises(UserError, match="is a float network"):
            with_bits(graph, **arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a NETWORK.tflite to plan, or --solve"),
        (["{small}", "--solve", "{csv}", "--capacity", "9"], "not both"),
        (["{small}", "--tiles", "0"], "expected a tile count of at least 1, or `auto`, got '0'"),
        (["{small}", "--tiles", "-1"], "--tiles"),
        (["{small}", "--tiles", "many"], "got 'many'"),
        (["{small}", "--tiles", "1.5"], "got '1.5'"),
        (["{small}", "--tiles", "1", "4", "8.5"], "got '8.5'"),
        (["{small}", "{small}"], "got unexpected extra argument"),
        (["{small}", "--capacity", "0"], "--capacity needs --solve"),
        (["{small}", "--timeout", "30"], "--timeout needs --solve"),
        (["{small}", "--tiling", "cash"], "'cash' is not one of 'cache', 'recompute', 'mixed'"),
        (["{small}", "--max-mac-overhead", "-1"], "max_mac_overhead"),
        (["{small}", "--max-mac-overhead", "much"], "--max-mac-overhead"),
        (["{small}", "--activation-bits", "7"], "--activation-bits must be one of"),
        (["{small}", "--activation-bits", "32"], "is quantized"),
        (["{small}", "--weight-bits", "0"], "--weight-bits must be one of"),
        (["{small}", "--weight-bits", "four"], "--weight-bits"),
        (["{small}", "--target", "phone"], "unknown"),
        (["{small}", "--target", "none.yaml"], "none.yaml"),
        (["{folder}/none.tflite"], "none.tflite"),
        (["{folder}"], "directory"),
        (["/dev/zero"], "is no file of at most 2 GiB"),
        (["a" * 300 + ".tflite"], "too long"),
        (["--solve", "{csv}", "--capacity", "9", "--out", "{folder}/" + "a" * 300 + ".csv"], "give a shorter"),
        (["--solve", "{csv}", "--capacity", str(1 << 63)], "must be below 2^63"),
        (["--solve", "{csv}", "--capacity", "9" * 5000], "at most 30 digits"),
        (["--solve", "{csv}", "--capacity", "1_000"], "got '1_000'"),
        (["{folder}/cut.tflite"], "cut.tflite"),
        (["{small}", "--plot", "{folder}/plan.gif"], "ends in .svg or .pdf or .png"),
        (["{small}", "--plot", "{folder}/none/plan.svg"], "there is no folder"),
        (["{small}", "--buffers", "{folder}/a.csv"], "is a folder"),
        (["{small}", "--tflm", "{small}"], "--tflm"),
        (["{small}", "--tflm", "{folder}/x.tflite", "--weight-bits", "4"], "with the bits it has"),
        (["{small}", "--capacity", "9"], "--capacity needs --solve"),
        (["{small}", "--nonsense"], "no such option: --nonsense"),
        (["--solve", "{csv}"], "--solve needs --capacity"),
        (["--solve", "{csv}", "--capacity", "0"], "--capacity must be at least 1"),
        (["--solve", "{csv}", "--capacity", "1MB"], "--capacity"),
        (["--solve", "{csv}", "--capacity", "9", "--timeout", "0"], "--timeout must be a positive number"),
        (["--solve", "{csv}", "--capacity", "9", "--timeout", "nan"], "--timeout must be a positive number"),
        (["--solve", "{csv}", "--capacity", "9", "--tiles", "4"], "--tiles needs a network"),
        (["--solve", "{csv}", "--capacity", "9", "--json"], "--json needs a network"),
        (["--solve", "{csv}", "--capacity", "9", "--out", "{csv}"], "is the input itself"),
        (["--solve", "{csv}", "--capacity", "9", "--out", "{folder}/none/out.csv"], "there is no folder"),
        (["--solve", "{folder}/none.csv", "--capacity", "9"], "none.csv"),
        (["--solve", "{csv}", "--capacity", "3"], "--capacity 3 is less than buffer 0 alone takes, 4 bytes"),
    ],
)
def test_mistakes_end_in_one_line(shared, tmp_path, capsys, arguments, says):
    (tmp_path / "cut.tflite").write_bytes(shared(SMALL).read_bytes()[:5000])
    (tmp_path / "a.csv").mkdir()
    (tmp_path / "buffers.csv").write_text("id,lower,upper,size\n0,0,2,4\n1,1,3,4\n")
    names = {"small": shared(SMALL), "folder": tmp_path, "csv": tmp_path / "buffers.csv"}
    with pytest.raises(SystemExit) as stop:
        main([argument.format(**names) for argument in arguments])
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err
    assert stop.value.code == USER_ERROR_STATUS
    assert captured.out == ""


@pytest.mark.parametrize(("capacity", "status"), [(8, 0), (7, 1)])
def test_solve_ends_with_0_only_if_solved(tmp_path, capacity, status):
    """Two buffers of 4 bytes alive at once need 8."""
    (tmp_path / "buffers.csv").write_text("id,lower,upper,size\n0,0,2,4\n1,1,3,4\n")
    out = tmp_path / "solution.csv"
    done = CliRunner().invoke(
        app, ["--solve", *map(str, (tmp_path / "buffers.csv", "--capacity", capacity, "--out", out))]
    )
    assert done.exit_code == status
    header, *rows = out.read_text().split()
    assert header == "id,lower,upper,size,offset"
    assert sorted(int(row.split(",")[4]) for row in rows) == [0, 4]
    assert done.output.count("\n") == 1


def test_a_target_from_a_file(tmp_path):
    path = tmp_path / "drone.yaml"
    path.write_text("weights_in_ram: false\nalignment_bytes: 64\ninstruction_set: aarch64\n")
    target = load_target(str(path))
    assert (target.name, target.weights_in_ram, target.alignment_bytes) == ("drone", False, 64)
    assert target.instruction_set == "aarch64"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("aligment_bytes: 8", "unknown key 'aligment_bytes'"),
        ("alignment_bytes: two", "must be of type int"),
        ("alignment_bytes: 12", "t.yaml: target t: alignment_bytes must be a power of two"),
        ("instruction_set: neon", "instruction_set 'neon' is unknown; give one of .*armv7-neon, .*cortex-m7"),
        ("instruction_set: 7", "instruction_set must be of type str"),
        ("name: [a]", "name must be of type str"),
        ("a: &a [*a]", "t.yaml"),
        ("- 1", "expected keys"),
        ("a: [", "t.yaml"),
    ],
)
def test_a_wrong_target_file_is_refused(tmp_path, text, says):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load_target(str(path))


def test_the_package_loads_without_tensorflow_or_interpreters():
    script = "import sys, evaluation.planner; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"tensorflow", "ai_edge_litert", "flatbuffers", "rich", "tflite_micro", "matplotlib", "numba"}
    assert not heavy & set(loaded)
