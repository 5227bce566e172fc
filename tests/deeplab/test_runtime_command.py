"""`python -m deeplab.runtime`: a network becomes a folder, is compared and timed; mistakes end in one line."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.runtime import __main__ as command
from deeplab.runtime import bench, clock, compilers
from deeplab.runtime.__main__ import DIFFERENT_STATUS, main
from deeplab.runtime.agreement import agreements
from deeplab.runtime.bundle import SUMS, write_bundle
from deeplab.runtime.compilers import compiler
from deeplab.runtime.inputs import random_input, read_inputs
from deeplab.runtime.program import Program
from evaluation.errors import USER_ERROR_STATUS
from evaluation.graph import read_tflite, write_tflite
from evaluation.planner import CAMERA, TFLM, plan
from tests.deeplab.segmenter import COLUMNS, ROWS, frames, segmenter
from tests.evaluation.plans_by_hand import Network

ADE20K = "weights/deeplabv3_mnv2_ade20k_int8.tflite"
FULL_FLAGS = command.FLAGS
needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


@pytest.fixture(autouse=True)
def quick_compilation(monkeypatch):
    monkeypatch.setattr(command, "FLAGS", ("-std=c99", "-O0", "-ffp-contract=off", "-w"))


@pytest.fixture
def network(tmp_path) -> Path:
    """A segmentation network as a file."""
    path = tmp_path / "small.tflite"
    path.write_bytes(write_tflite(segmenter()))
    return path


def call(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def test_a_network_becomes_a_folder(network, tmp_path, capsys):
    call(network, "--tiles", 4, "--target", "mcu", "--tiling", "cache", "--out", tmp_path / "net")
    shown = capsys.readouterr().out
    assert f"{tmp_path}/net: written; `make -C {tmp_path}/net` builds it" in shown
    assert "target mcu, tiling cache" in " ".join(shown.split())
    made = json.loads((tmp_path / "net" / "plan.json").read_text())
    assert (made["tile_count"], made["target"], made["tiling"]) == (4, "mcu", "cache")
    assert f"#define NETWORK_ARENA_BYTES {made['arena_bytes']}" in (tmp_path / "net" / "network.h").read_text()


def test_a_saved_plan_gives_the_same_program(network, tmp_path):
    call(network, "--tiles", 3, "--out", tmp_path / "first")
    call(network, "--plan", tmp_path / "first" / "plan.json", "--out", tmp_path / "second")
    assert (tmp_path / "first" / SUMS).read_text() == (tmp_path / "second" / SUMS).read_text()


def test_a_target_of_ones_own_comes_back_with_its_plan(network, tmp_path, capsys):
    (tmp_path / "drone.yaml").write_text("keep_frame: true\nalignment_bytes: 64\n")
    call(network, "--tiles", 3, "--target", tmp_path / "drone.yaml", "--out", tmp_path / "first")
    saved = tmp_path / "first" / "plan.json"
    call(network, "--plan", saved, "--target", tmp_path / "drone.yaml", "--out", tmp_path / "second")
    assert (tmp_path / "first" / SUMS).read_text() == (tmp_path / "second" / SUMS).read_text()
    with pytest.raises(SystemExit):
        call(network, "--plan", saved, "--out", tmp_path / "third")
    assert "was made for target drone; give that target's YAML file with --target" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call(network, "--plan", saved, "--target", "mcu", "--out", tmp_path / "third")
    assert "was made for target drone, not mcu; leave --target out" in capsys.readouterr().err


@needs_compiler
def test_check_compares_each_image(network, tmp_path, capsys, monkeypatch):
    images = tmp_path / "images"
    images.mkdir()
    for number, frame in enumerate(frames(2)):
        Image.fromarray(np.kron(frame, np.ones((3, 2, 1), np.uint8))).save(images / f"{number}.png")
    (images / "2.bin").write_bytes(frames(1)[0].tobytes())
    (images / "notes.txt").write_text("not an image")
    call(network, "--tiles", 4, "--out", tmp_path / "net", "--check", images)
    shown = capsys.readouterr().out
    assert f"all {3 * ROWS * COLUMNS:,} label pixels of 3 inputs are equal" in shown
    assert [line.split() for line in shown.splitlines() if line.split()[:1] in (["0.png"], ["2.bin"])] == [
        [name, str(ROWS * COLUMNS), str(ROWS * COLUMNS), "all"] for name in ("0.png", "2.bin")
    ]
    assert not list((tmp_path / "net").glob("*.so"))

    right = Program.output

    def wrong(self, index):
        labels = right(self, index)
        labels[7] ^= 1
        return labels

    monkeypatch.setattr(Program, "output", wrong)
    with pytest.raises(SystemExit) as stop:
        call(network, "--tiles", 4, "--out", tmp_path / "net", "--check", images / "1.png")
    assert stop.value.code == DIFFERENT_STATUS
    shown = capsys.readouterr().out
    assert f"DIFFERENT: 1 of {ROWS * COLUMNS} label pixels of 1 inputs" in shown
    assert f"{1 - 1 / (ROWS * COLUMNS):.6f}" in shown


@needs_compiler
@pytest.mark.parametrize("target", [CAMERA, TFLM])
def test_all_outputs_are_compared(tmp_path, target):
    """Logits first, then the label map of the same pixels, at one byte and at four."""
    graph = segmenter()
    logits = next(index for index, tensor in enumerate(graph.tensors) if tensor.name == "logits")
    graph = replace(graph, outputs=(logits, *graph.outputs))
    made = plan(graph, 4, target)
    write_bundle(graph, made, tmp_path / "net")
    built = Program(graph, made, tmp_path / "net", command.FLAGS)
    (found,) = agreements(graph, made, built, [("frame", frames(1)[0])])
    assert (found.equal, found.values) == (ROWS * COLUMNS * 6, ROWS * COLUMNS * 6)
    header = (tmp_path / "net" / "network.h").read_text()
    assert "#define NETWORK_HAS_LABELS 0" in header
    assert f"#define NETWORK_OUTPUT_BYTES {ROWS * COLUMNS * (5 + target.label_bytes)}" in header


@needs_compiler
def test_bench_times_all_four_turn_by_turn(network, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(clock.interleaved, "__defaults__", (2,))
    call(network, "--tiles", 4, "--out", tmp_path / "net", "--bench")
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if " x" in line and "ms" not in line]
    named = [" ".join(line.split()[:-2]) for line in rows[-4:]]
    assert named == ["this program", "the same, untiled", "LiteRT, built-in", "LiteRT, xnnpack"]
    assert rows[-4].split()[-1] == "x1.000"
    assert "not timed" not in shown


@needs_compiler
def test_another_runtime_that_crashes_is_left_out_of_the_bench(network, tmp_path, capsys, monkeypatch):
    class Crashed:
        def __init__(self, *_):
            raise bench.UserError("LiteRT died")

    monkeypatch.setattr(bench, "LiteRTClock", Crashed)
    monkeypatch.setattr(clock.interleaved, "__defaults__", (1,))
    call(network, "--tiles", 4, "--out", tmp_path / "net", "--bench")
    shown = capsys.readouterr().out
    assert "the same, untiled" in shown
    assert shown.count("not timed: LiteRT died") == 2


def test_litert_answers_for_what_it_cannot_load(tmp_path):
    (tmp_path / "cut.tflite").write_bytes(write_tflite(segmenter())[:2000])
    with pytest.raises(bench.UserError, match="LiteRT"):
        bench.LiteRTClock(tmp_path / "cut.tflite", "built-in", np.zeros((1, ROWS, COLUMNS, 3), np.uint8))


def test_times_are_medians_of_turns():
    taken = {"a": iter([9.0, 1.0, 2.0, 4.0]), "b": iter([9.0, 3.0, 3.0, 8.0])}
    turns = []

    def run(name):
        turns.append(name)
        return next(taken[name])

    assert clock.interleaved({name: lambda name=name: run(name) for name in taken}, 3) == {"a": 2.0, "b": 3.0}
    assert turns == ["a", "b"] * 4


def test_inputs_of_other_types(tmp_path):
    Image.fromarray(frames(1)[0]).save(tmp_path / "p.png")
    grey = segmenter(channels=1, frame="int8")
    ((name, values),) = read_inputs(grey, tmp_path)
    assert (name, values.shape, values.dtype) == ("p.png", (ROWS, COLUMNS, 1), np.uint8)
    assert np.array_equal(values[..., 0], np.asarray(Image.open(tmp_path / "p.png").convert("L")))
    network = Network()
    real = network.graph("real", (network.activation("frame", (1, ROWS, COLUMNS, 3), "float32", 32),), ())
    ((_, values),) = read_inputs(real, tmp_path / "p.png")
    assert values.dtype == np.float32
    assert np.abs(values - (frames(1)[0] / 127.5 - 1)).max() < 1e-6
    for graph in (grey, real, segmenter()):
        assert random_input(graph).size == graph.tensors[graph.inputs[0]].elements


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "missing argument 'NETWORK.tflite'"),
        (["{net}"], "missing option '--out'"),
        (["{folder}/none.tflite", "--out", "{folder}/x"], "none.tflite"),
        (["{folder}/cut.tflite", "--out", "{folder}/x"], "cut.tflite"),
        (["{net}", "--out", "{net}"], "small.tflite: is a file; give the name of a folder"),
        (["{net}", "--out", "{folder}/none/x"], "there is no folder"),
        (["{net}", "--out", "{folder}"], ", not part of an emitted network; give a new folder, or move"),
        (["{net}", "--out", "{folder}/x", "--tiles", "0"], "expected a tile count of at least 1, or `auto`, got '0'"),
        (["{net}", "--out", "{folder}/x", "--tiles", "-2"], "--tiles"),
        (["{net}", "--out", "{folder}/x", "--tiles", "1e3"], "got '1e3'"),
        (["{net}", "--out", "{folder}/x", "--tiles", "4", "8"], "got unexpected extra argument(s) (8)"),
        (["{net}", "--out", "{folder}/x", "--tiling", "cash"], "'cash' is not one of 'cache', 'recompute', 'mixed'"),
        (["{net}", "--out", "{folder}/x", "--max-mac-overhead", "-1"], "max_mac_overhead"),
        (["{net}", "--out", "{folder}/x", "--max-mac-overhead", "nan"], "max_mac_overhead"),
        (["{net}", "--out", "{folder}/x", "--target", "phone"], "target 'phone' is unknown"),
        (["{net}", "--out", "{folder}/x", "--target", "none.yaml"], "none.yaml: no such file"),
        (["{net}", "--out", "{folder}/x", "--nonsense"], "no such option: --nonsense"),
        (["{net}", "--out", "{folder}/x", "--plan", "{good}", "--tiles", "4"], "--plan brings its own --tiles"),
        (["{net}", "--out", "{folder}/x", "--plan", "{good}", "--tiling", "cache"], "--plan brings its own --tiling"),
        (["{net}", "--out", "{folder}/x", "--plan", "{good}", "--tiles", "auto"], "--plan brings its own --tiles"),
        (["{net}", "--out", "{folder}/x", "--plan", "{folder}/none.json"], "none.json: cannot be read"),
        (["{net}", "--out", "{folder}/x", "--plan", "{folder}"], "cannot be read (Is a directory)"),
        (["{net}", "--out", "{folder}/x", "--plan", "{net}"], "small.tflite: is not JSON"),
        (["{net}", "--out", "{folder}/x", "--plan", "{folder}/empty.json"], "empty.json: is not a plan"),
        (["{net}", "--out", "{folder}/x", "--plan", "{folder}/list.json"], "list.json: is not a plan"),
        (["{net}", "--out", "{folder}/x", "--plan", "{other}"], "a plan of another, cannot run small ("),
        (["{net}", "--out", "{folder}/x", "--plan", "{wrong}"], "a plan of small, cannot run small ("),
        (
            ["{net}", "--out", "{folder}/x", "--plan", "{good}", "--target", "mcu"],
            "was made for target camera, not mcu",
        ),
        (["{net}", "--out", "{folder}/x", "--check", "{folder}/none"], "none: no such file or folder"),
        (["{net}", "--out", "{folder}/x", "--check", "{folder}/empty"], "holds no images"),
        (["{net}", "--out", "{folder}/x", "--check", "{net}"], "small.tflite: "),
        (["{net}", "--out", "{folder}/x", "--check", "{folder}/cut.png"], "cut.png: "),
        (["{net}", "--out", "{folder}/x", "--check", "{folder}/eps.png"], "eps.png: "),
        (["{net}", "--out", "{folder}/x", "--check", "{folder}/9.bin"], "9.bin: has 9 bytes, but the input is uint8"),
        (
            ["{other_net}", "--out", "{folder}/x", "--check", "{folder}/cut.png"],
            "which is no image; give the tensor's",
        ),
    ],
)
@needs_compiler
def test_mistakes_end_in_one_line(network, tmp_path, capsys, arguments, says):
    source = Network()
    only = source.convolution("only", source.activation("frame", (1, 4, 4, 5)), 2)
    other = source.graph("another", (0,), (only,))
    made = plan(read_tflite(network), 2)
    wrong = json.loads(made.to_json()) | {"arena_bytes": made.arena_bytes - 16}
    texts = {"empty.json": "{}", "list.json": "[1]", "good.json": made.to_json(), "wrong.json": json.dumps(wrong)}
    texts |= {
        "other.json": plan(other).to_json(),
        "9.bin": "123456789",
        "cut.png": "\x7fPNG",
        "eps.png": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.tflite").write_bytes(network.read_bytes()[:1000])
    (tmp_path / "another.tflite").write_bytes(write_tflite(other))
    names = {"net": network, "folder": tmp_path, "other_net": tmp_path / "another.tflite"}
    names |= {name: tmp_path / f"{name}.json" for name in ("good", "wrong", "other")}
    with pytest.raises(SystemExit) as stop:
        main([argument.format(**names) for argument in arguments])
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err
    assert stop.value.code == USER_ERROR_STATUS
    assert captured.out == ""
    assert not (tmp_path / "x").exists()


def test_a_damaged_plan_is_never_run(network, tmp_path, capsys):
    """Whatever in a saved plan is of another type or gone, the answer is one line."""
    good = json.loads(plan(read_tflite(network), 2).to_json())
    random = np.random.default_rng(0)
    values = [None, "x", -1, 10**9, [], {}, 1.5, True]

    def damage(tree):
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = keys[random.integers(len(keys))]
        if isinstance(tree[key], dict | list | tuple) and tree[key] and random.random() < 0.8:
            return damage(tree[key])
        tree[key] = values[random.integers(len(values))]
        return None

    refused = 0
    for _ in range(60):
        tree = json.loads(json.dumps(good))
        damage(tree)
        (tmp_path / "plan.json").write_text(json.dumps(tree))
        shutil.rmtree(tmp_path / "net", ignore_errors=True)
        try:
            call(network, "--plan", tmp_path / "plan.json", "--out", tmp_path / "net")
        except SystemExit:
            refused += 1
            assert capsys.readouterr().err.count("\n") == 1
            assert not (tmp_path / "net").exists()
    assert refused > 40


def test_without_a_compiler_the_sources_are_still_written(network, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compilers, "compiler", lambda: None)
    call(network, "--tiles", 2, "--out", tmp_path / "net")
    assert (tmp_path / "net" / "network.c").exists()
    capsys.readouterr()
    for option in (["--bench"], ["--check", tmp_path]):
        with pytest.raises(SystemExit) as stop:
            call(network, "--tiles", 2, "--out", tmp_path / "other", *option)
        assert stop.value.code == USER_ERROR_STATUS
        assert "no C compiler (cc, gcc or clang) is installed" in capsys.readouterr().err
        assert not (tmp_path / "other").exists()


def test_the_command_starts_without_heavy_modules():
    script = "import sys, deeplab.runtime.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "ai_edge_litert", "rich", "PIL", "matplotlib", "numba", "pandas"} & set(loaded)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("tiles", [1, 8, "auto"])
def test_the_ade20k_network_agrees_on_images(shared, tmp_path, capsys, monkeypatch, tiles):
    monkeypatch.setattr(command, "FLAGS", FULL_FLAGS)
    for path in sorted(shared("data/ade20k_subset/images").glob("*.jpg"))[:3]:
        (tmp_path / "images").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "images")
    options = ["--tiles", tiles, "--out", tmp_path / "net", "--check", tmp_path / "images", "--bench"]
    call(shared(ADE20K), *options)
    shown = capsys.readouterr().out
    print(shown)
    assert f"all {3 * 512 * 512:,} label pixels of 3 inputs are equal" in shown
    assert plan(read_tflite(shared(ADE20K)), tiles, CAMERA).to_json() + "\n" == (tmp_path / "net/plan.json").read_text()
