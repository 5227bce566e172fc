"""The command: figures, table, and one line for every mistake."""

import json
import subprocess
import sys

import pytest

from evaluation.errors import USER_ERROR_STATUS
from evaluation.planner import load_target
from evaluation.planner.__main__ import main

SMALL = "planner_cases/networks/mlperf_tiny__vww_96_int8.tflite"


def test_json_holds_one_entry_a_tile_count(shared, capsys):
    main([str(shared(SMALL)), "--tiles", "4", "1", "--json"])
    plans = json.loads(capsys.readouterr().out)["plans"]
    assert [entry["tile_count"] for entry in plans] == [1, 4]
    sizes = {f"{name}_bytes" for name in ("arena", "weights", "flash", "runtime", "peak_memory", "lower_bound")}
    assert sizes | {"proven", "gap", "macs", "mac_overhead"} <= set(plans[0])
    assert plans[0]["arena_bytes"] == 55_296
    assert plans[1]["arena_bytes"] < plans[0]["arena_bytes"]


def test_the_table_names_what_fills_the_arena(shared, capsys):
    main([str(shared(SMALL)), "--tiles", "1", "--target", "mcu"])
    out = capsys.readouterr().out
    assert "0.0553" in out
    assert "flash" in out
    assert "fullest at step 2, CONV_2D" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{small}", "--tiles", "0"], "tile count must be at least 1"),
        (["{small}", "--max-mac-overhead", "-1"], "max_mac_overhead"),
        (["{small}", "--target", "phone"], "unknown"),
        (["{small}", "--target", "none.yaml"], "none.yaml"),
        (["{folder}/none.tflite"], "none.tflite"),
        (["{folder}/cut.tflite"], "cut.tflite"),
    ],
)
def test_mistakes_end_in_one_line(shared, tmp_path, capsys, arguments, says):
    (tmp_path / "cut.tflite").write_bytes(shared(SMALL).read_bytes()[:5000])
    with pytest.raises(SystemExit) as stop:
        main([argument.format(small=shared(SMALL), folder=tmp_path) for argument in arguments])
    captured = capsys.readouterr()
    assert stop.value.code == USER_ERROR_STATUS
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err


def test_a_target_from_a_file(tmp_path):
    path = tmp_path / "drone.yaml"
    path.write_text("weights_in_ram: false\nalignment_bytes: 64\n")
    target = load_target(str(path))
    assert (target.name, target.weights_in_ram, target.alignment_bytes) == ("drone", False, 64)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("aligment_bytes: 8", "unknown key 'aligment_bytes'"),
        ("alignment_bytes: two", "must be of type int"),
        ("alignment_bytes: 12", "power of two"),
        ("- 1", "expected keys"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_target_file_is_refused(tmp_path, text, says):
    from evaluation.errors import UserError

    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load_target(str(path))


def test_the_package_loads_without_tensorflow_or_interpreters():
    script = "import sys, evaluation.planner; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "ai_edge_litert", "flatbuffers", "rich", "tflite_micro"} & set(loaded)
