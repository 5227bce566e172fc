"""Studies, records and YAML files of version 1: read under the names of this version, and gone on with.

`tests/data/version-1` was written by the last revision of version 1, by the stand-in trial.
"""

import json
import shutil
import zlib
from pathlib import Path

import pytest
from standin_sweeps import Config, sweep

from evaluation.errors import UserError
from reports.former_versions import current_record
from reports.record import RECORD_VERSION
from reports.record_file import read_record, write_record
from reports.schema import parse_trial
from sweeps.config.load import load_config
from sweeps.storage.journal_lines import line_of, read_lines

FORMER = Path(__file__).resolve().parents[1] / "data" / "version-1"
WRITTEN = json.loads((FORMER / "record.json").read_text())


def test_a_record_of_version_1_keeps_every_value(tmp_path: Path) -> None:
    record = read_record(FORMER)
    assert (WRITTEN["version"], record.version) == (1, RECORD_VERSION)
    assert record.data.search_images == WRITTEN["data"]["search_pictures"]
    assert record.data.heldout_images == WRITTEN["data"]["heldout_pictures"]
    assert [row.image_file for row in record.overlays] == [row["picture_file"] for row in WRITTEN["overlays"]]
    assert {str(n): seen.images for n, seen in record.executions.items()} == {
        n: seen["pictures"] for n, seen in WRITTEN["executions"].items()
    }
    assert {str(n): used.file_bytes for n, used in record.other_runtimes.items()} == {
        n: used["file_bytes"] for n, used in WRITTEN["peers"].items()
    }
    bounds = [trial["bound"] and (trial["bound"]["rival"], trial["bound"]["rival_miou"]) for trial in WRITTEN["trials"]]
    assert any(bounds)
    read = [trial.bound and (trial.bound.dominating, trial.bound.dominating_miou) for trial in record.trials]
    assert read == bounds
    write_record(record, tmp_path)
    assert read_record(tmp_path) == record
    assert json.loads((tmp_path / "record.json").read_text())["version"] == RECORD_VERSION


def test_files_have_the_members_of_version_1_in_its_order_and_form(tmp_path: Path) -> None:
    """Byte for byte, but for the names: the fields of the classes are those of the files."""
    write_record(read_record(FORMER), tmp_path)
    present = json.loads(current_record((FORMER / "record.json").read_bytes()))
    assert (tmp_path / "record.json").read_text() == json.dumps(present, separators=(",", ":")) + "\n"
    for trial, tree in zip(read_record(FORMER).trials, present["trials"], strict=True):
        members = json.dumps(tree, separators=(",", ":"))
        checksum = f',"crc32":"{zlib.crc32(members.encode()):08x}"'
        assert line_of(trial).decode() == members[:-1] + checksum + "}\n"


def test_lines_of_a_journal_of_version_1_are_not_taken_for_damaged() -> None:
    lines = read_lines((FORMER / "trials.jsonl").read_bytes())
    assert lines.damaged == []
    assert tuple(lines.trials.values()) == read_record(FORMER).trials


def test_a_trial_of_version_1_that_was_ended_early_keeps_why() -> None:
    trial = next(trial for trial in WRITTEN["trials"] if trial["bound"])
    early = {"pictures": 3, "of": 6, "rival": 2, "upper": -0.25}
    read = parse_trial(json.dumps(trial | {"bound": None, "early": early}).encode()).early
    assert (read.images, read.of, read.dominating, read.upper, read.confidence) == (3, 6, 2, -0.25, None)


@pytest.mark.parametrize("version", [0, 3, True, "1", None])
def test_a_record_of_no_known_version_is_refused_by_its_version(tmp_path: Path, version: object) -> None:
    (tmp_path / "record.json").write_text(json.dumps(WRITTEN | {"version": version}))
    with pytest.raises(UserError, match=r"record\.json: .*version"):
        read_record(tmp_path)


def test_former_keys_are_read_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(FORMER / "config.yaml", ["data.calibration.pictures=12"])
    assert (config.data.calibration.images, config.data.options) == (12, {"train_images": 300})
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 1)[1] for line in said] == [
        "data.calibration.pictures is called data.calibration.images now; the former name is still read",
        "data.options.train_pictures is called data.options.train_images now; the former name is still read",
    ]
    with pytest.raises(UserError, match=r"config\.yaml:3: data\.calibration\.pictures: unknown key"):
        load_config(FORMER / "config.yaml", ["data.calibration.images=12"])


def test_a_study_of_version_1_goes_on_without_measuring_anything_again(config: Config, tmp_path: Path) -> None:
    study = tmp_path / "studies" / "version-1"
    study.mkdir(parents=True)
    for name in ("record.json", "trials.jsonl", "study.json"):
        shutil.copyfile(FORMER / name, study / name)
    settings = load_config(FORMER / "config.yaml", [f"out={tmp_path / 'studies'}"])
    with pytest.raises(UserError, match="other inputs"):  # images are named by the source that draws them
        sweep(settings, resume=True)
    record = sweep(settings, resume=True, accept_changes=True)
    assert not (study / "evaluated.txt").exists()
    former = read_record(FORMER)
    assert [trial.params for trial in record.trials] == [trial.params for trial in former.trials]
    assert (record.front, record.chosen, record.version) == (former.front, former.chosen, RECORD_VERSION)
    assert record.changes[-1]["keys"] == {}
