"""The table over a folder of networks: what is planned, what is refused, and how the command ends."""

import json
import shutil

import pytest

from benchmarks.planner.network_folder import Row, above_tflm, main, measure

SMALL = "planner_cases/networks/mlperf_tiny__kws_ref_model.tflite"


def test_a_network_is_measured_beside_tflm(shared, tmp_path, capsys):
    pytest.importorskip("tflite_micro")
    shutil.copy(shared(SMALL), tmp_path)
    (tmp_path / "noise.tflite").write_bytes(bytes(64))
    main([str(tmp_path), "--json"])
    good, bad = json.loads(capsys.readouterr().out)["networks"]
    assert (good["untiled_bytes"], good["tflm_bytes"], good["ratio"]) == (16_000, 16_000, 1.0)
    assert list(good["camera_bytes"]) == sorted(good["camera_bytes"], reverse=True)
    assert good["refusal"] is None
    assert "not a .tflite file" in bad["refusal"]
    assert (bad["camera_bytes"], bad["ratio"]) == ([], None)


def test_the_table_says_why_a_network_is_missing(tmp_path, capsys):
    (tmp_path / "noise.tflite").write_bytes(bytes(64))
    main([str(tmp_path)])
    out = capsys.readouterr().out
    assert "refused: noise.tflite: not a .tflite file" in out


def test_an_arena_above_tflms_is_named():
    rows = [Row("more", untiled_bytes=101, tflm_bytes=100), Row("same", untiled_bytes=100, tflm_bytes=100)]
    rows += [Row("refused", refusal="why", tflm_bytes=1), Row("alone", untiled_bytes=1)]
    assert above_tflm(rows) == ["more"]


def test_folders_without_networks_are_one_line(tmp_path, capsys):
    for folder, says in ((tmp_path, "holds no .tflite file"), (tmp_path / "none", "no such folder")):
        with pytest.raises(SystemExit) as stop:
            main([str(folder)])
        assert stop.value.code == 2
        assert says in capsys.readouterr().err


def test_a_file_that_is_not_there_is_a_refusal(tmp_path):
    assert "cannot be read" in measure(tmp_path / "none.tflite").refusal
