"""The record survives the disk without loss, and damage is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.errors import UserError
from reports.record import State
from reports.record_file import read_record, write_record

COMPLETE, PRUNED, FAILED = State.COMPLETE, State.PRUNED, State.FAILED


def test_what_is_written_is_read_again(study, tmp_path: Path) -> None:
    record = study(COMPLETE, COMPLETE, PRUNED, FAILED)
    again = read_record(tmp_path)
    assert again == record
    assert again.trials[1].measurement.scores.miou == record.trials[1].measurement.scores.miou
    assert again.trials[2].planned == record.trials[2].planned
    assert again.import_check == record.import_check
    assert again.data == record.data
    assert again.environment == record.environment
    assert again.overlays == record.overlays


def test_no_study_another_version_and_damage_are_one_line(study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study here"):
        read_record(tmp_path)
    study(COMPLETE)
    file = tmp_path / "record.json"
    tree = json.loads(file.read_text())
    file.write_text(json.dumps(tree | {"version": 99}))
    with pytest.raises(UserError, match="version 99"):
        read_record(tmp_path)
    del tree["trials"]
    file.write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"damaged.*trials"):
        read_record(tmp_path)
    file.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        read_record(tmp_path)


def test_a_baseline_that_did_not_complete_is_none(study) -> None:
    assert study(FAILED, COMPLETE).baseline is None
    assert study(COMPLETE).baseline.number == 0


def test_a_trial_without_a_measurement_says_how_it_ended(study) -> None:
    complete, failed = study(COMPLETE, FAILED).trials
    assert complete.measured is complete.measurement
    with pytest.raises(ValueError, match="trial-001 has no measurement; it ended as failed"):
        _ = failed.measured


def test_a_record_is_read_with_a_byte_order_mark_and_with_a_name_that_was_not_decoded(study, tmp_path: Path) -> None:
    record = study(COMPLETE)
    odd = replace(record, environment=replace(record.environment, command="launch \udcff.yaml"), study="stra\u00dfen")
    file = write_record(odd, tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    again = read_record(tmp_path)
    assert (again.environment.command, again.study) == ("launch ?.yaml", "stra\u00dfen")
