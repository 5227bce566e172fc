"""Any damage to a journal loses the trial of the damaged line alone, says so, and the trial is measured again."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from in_process_pool import open_in_process
from optuna.trial import TrialState
from rich.console import Console
from standin_sweeps import assert_nothing_is_running, children, essence, evaluated, mlflow_runs, sweep

from evaluation.accuracy import Scores
from evaluation.errors import UserError
from evaluation.json_codec import from_json, to_json
from reports.record import Trial
from sweeps.config.schema import SweepConfig
from sweeps.storage.journal import Journal, read_journal
from sweeps.storage.journal_lines import line_of, read_lines
from tests.conftest import SHARED

Config = Callable[..., SweepConfig]
BEFORE = SHARED / "cases" / "journal" / "before.jsonl"
needs_cases = pytest.mark.skipif(not BEFORE.exists(), reason="the shared cases are not here")


def small(trial: Trial) -> Trial:
    """The same with one image, so that every byte of a few lines can be tried."""
    if trial.measurement is None:
        return trial
    scores = trial.measurement.scores.subset(trial.measurement.scores.image_ids[:1])
    return replace(trial, measurement=replace(trial.measurement, scores=scores))


def some_trials() -> list[Trial]:
    trials = list(read_lines(BEFORE.read_bytes()).trials.values())
    pruned = next(trial for trial in trials if trial.measurement is None)
    return [small(trials[0]), replace(pruned, number=1, plan_file=None), small(replace(trials[5], number=2))]


def with_present_names(trial: dict) -> dict:
    """A trial of record version 1 as version 2 writes it."""
    if (early := trial["early"]) is not None:
        names = {"pictures": "images", "rival": "dominating"}
        trial["early"] = {names.get(key, key): value for key, value in early.items()} | {"confidence": None}
    if (bound := trial["bound"]) is not None:
        names = {"rival": "dominating", "rival_miou": "dominating_miou"}
        trial["bound"] = {names.get(key, key): value for key, value in bound.items()}
    return trial


@needs_cases
def test_lines_of_before_are_read_and_new_ones_hold_the_same() -> None:
    lines = BEFORE.read_bytes().splitlines(keepends=True)
    found = read_lines(BEFORE.read_bytes())
    assert list(found.trials) == [json.loads(line)["number"] for line in lines]
    assert not found.damaged
    written = [with_present_names(json.loads(line)) for line in lines]
    assert [json.loads(to_json(Trial, trial)) for trial in found.trials.values()] == written
    again = read_lines(b"".join(map(line_of, found.trials.values())))
    assert again.trials == found.trials
    assert not again.damaged


@needs_cases
def test_no_change_of_one_byte_loses_another_trial_or_goes_unnoticed() -> None:
    """Every byte of a journal, each of a few ways: a flipped bit, a line end, and the bytes that build JSON."""
    trials = some_trials()
    lines = [line_of(trial) for trial in trials]
    content = b"".join(lines)
    whole = {trial.number: trial for trial in trials}
    owners = [trial.number for trial, line in zip(trials, lines, strict=True) for _ in line]
    for position, owner in enumerate(owners):
        for value in {content[position] ^ 1 << position % 8, *b"\n}{"} - {content[position]}:
            found = read_lines(content[:position] + bytes([value]) + content[position + 1 :])
            at = f"byte {position} of trial {owner} changed to {value}"
            assert found.trials | {owner: whole[owner]} == whole, at
            is_last = position == len(content) - 1
            assert found.damaged or is_last, at
            assert any(damage.loses for damage in found.damaged) == (owner not in found.trials), at


@needs_cases
@pytest.mark.slow
def test_no_value_of_any_byte_loses_another_trial() -> None:
    """Of a journal without checksums, too: there a change may go unnoticed, and another trial is still not lost."""
    for lines in ([line_of(trial) for trial in some_trials()], BEFORE.read_bytes().splitlines(keepends=True)[3:5]):
        content = b"".join(lines)
        whole = read_lines(content).trials
        owners = [number for number, line in zip(whole, lines, strict=True) for _ in line]
        for position, owner in enumerate(owners):
            for value in range(0, 256, 3):
                found = read_lines(content[:position] + bytes([value]) + content[position + 1 :])
                read = {number: trial for number, trial in found.trials.items() if number != owner}
                assert read == {number: trial for number, trial in whole.items() if number != owner}, (position, value)


DAMAGES = {
    "an empty line": lambda lines: [*lines[:3], b"\n", *lines[3:]],
    "null": lambda lines: [*lines[:3], b"null\n", *lines[4:]],
    "a field of a newer version": lambda lines: [*lines[:3], lines[3].replace(b"{", b'{"new":1,', 1), *lines[4:]],
    "another type": lambda lines: [*lines[:3], lines[3].replace(b'"seconds":', b'"seconds":"1",":":', 1), *lines[4:]],
    "zeros": lambda lines: [*lines[:3], bytes(len(lines[3]) - 1) + b"\n", *lines[4:]],
    "no UTF-8": lambda lines: [*lines[:3], lines[3].replace(b"unpruned", b"unprun\xff", 1), *lines[4:]],
    "a byte before a line": lambda lines: [*lines[:3], b"\xff" + lines[3], *lines[4:]],
    "the same line twice": lambda lines: [*lines[:4], lines[3], *lines[4:]],
    "two lines joined": lambda lines: [*lines[:3], lines[3][:-1] + lines[4], *lines[5:]],
    "half a line": lambda lines: [*lines[:3], lines[3][:100] + b"\n", *lines[4:]],
    "another number": lambda lines: [*lines[:3], lines[3].replace(b'"number":4', b'"number":5', 1), *lines[4:]],
    "numbers too large": lambda lines: [*lines[:3], lines[3].replace(b'"macs":', b'"macs":%d' % 10**40), *lines[4:]],
    "nested without end": lambda lines: [*lines[:3], b"[" * 100_000 + b"\n", *lines[4:]],
}
LOSE_NOTHING = ("an empty line", "the same line twice", "two lines joined", "a byte before a line")


@needs_cases
@pytest.mark.parametrize("what", DAMAGES)
@pytest.mark.parametrize("has_checksums", [True, False])
def test_a_damaged_line_is_set_aside_and_said(tmp_path: Path, what: str, has_checksums: bool) -> None:
    before = read_lines(BEFORE.read_bytes()).trials
    lines = [line_of(t) for t in before.values()] if has_checksums else BEFORE.read_bytes().splitlines(keepends=True)
    damaged = b"".join(DAMAGES[what](lines))
    file = tmp_path / "trials.jsonl"
    file.write_bytes(damaged)
    lost = set() if what in LOSE_NOTHING else {4}
    assert set(read_journal(tmp_path)) == set(before) - lost
    assert file.read_bytes() == damaged, "reading alone writes nothing"
    assert [path.name for path in tmp_path.iterdir()] == ["trials.jsonl"]
    journal = Journal(tmp_path)
    assert journal.trials == {number: trial for number, trial in before.items() if number not in lost}
    assert f"{file}: damaged in line " in journal.notice
    assert ("no trial is lost" if not lost else "is measured again") in journal.notice
    assert "trials.damaged-1.jsonl" in journal.notice
    assert "\n" not in journal.notice
    assert (tmp_path / "trials.damaged-1.jsonl").read_bytes() == damaged
    again = Journal(tmp_path)
    assert again.notice is None
    assert again.trials.keys() == journal.trials.keys()


@needs_cases
def test_a_second_incident_does_not_overwrite_what_the_first_kept(tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    contents = []
    for count in range(1, 4):
        if not file.exists():
            file.write_bytes(BEFORE.read_bytes())
        contents.append(b"null\n" * count + file.read_bytes())
        file.write_bytes(contents[-1])
        Journal(tmp_path)
    for number, content in enumerate(contents, 1):
        assert (tmp_path / f"trials.damaged-{number}.jsonl").read_bytes() == content


@needs_cases
@pytest.mark.parametrize("end", [b"", b'{"number":9,"par', b"\0" * 4096])
def test_a_line_without_end_is_dropped_in_silence_and_a_whole_one_kept(tmp_path: Path, end: bytes) -> None:
    file = tmp_path / "trials.jsonl"
    trials = read_lines(BEFORE.read_bytes()).trials
    whole = b"".join(map(line_of, trials.values()))
    file.write_bytes(whole + end if end else whole[:-1])
    journal = Journal(tmp_path)
    assert journal.notice is None
    assert journal.trials.keys() == trials.keys()
    assert file.read_bytes() == whole
    journal.append(replace(trials[0], number=50, plan_file=None))
    assert [*read_journal(tmp_path)] == [*trials, 50]


@needs_cases
def test_a_journal_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(BEFORE.read_bytes() + b"null\n")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "trials.jsonl").symlink_to(elsewhere)
    for read in (Journal, read_journal):
        with pytest.raises(UserError, match="leads out of the study's folder"):
            read(tmp_path / "study")
    assert elsewhere.read_bytes().endswith(b"null\n")


def flipped(line: bytes) -> bytes:
    """With one bit changed in the middle."""
    middle = len(line) // 2
    return line[:middle] + bytes([line[middle] ^ 4]) + line[middle + 1 :]


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_resume_measures_a_damaged_trial_again_and_ends_as_before(config: Config, workers: int) -> None:
    settings = (f"search.workers={workers}", "search.sampler=tpe", "screening.enabled=true")
    before = sweep(config(*settings), open_workers=open_in_process)
    folder = config().folder
    file = folder / "trials.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    numbers = [json.loads(line)["number"] for line in (lines[0], lines[3])]
    names = [trial.name for trial in before.trials if trial.number in numbers]
    file.write_bytes(b"".join([flipped(lines[0]), *lines[1:3], flipped(lines[3]), *lines[4:]]))
    measured, runs_before = (
        len(evaluated(folder)),
        {run.info.run_name: run.info.run_id for run in children(mlflow_runs())},
    )
    said = io.StringIO()
    after = sweep(config(*settings), True, Console(file=said, width=400))
    assert "trials.jsonl: damaged in lines 1, 4 (its checksum" in said.getvalue()
    assert "the 2 trials that are lost with them are measured again" in said.getvalue()
    assert sorted(evaluated(folder)[measured:]) == sorted(names)
    assert [essence(trial) for trial in after.trials] == [essence(trial) for trial in before.trials]
    assert (after.front, after.chosen) == (before.front, before.chosen)
    assert_nothing_is_running(config())
    runs = children(mlflow_runs())
    assert sorted(run.info.run_name for run in runs) == [trial.label for trial in after.trials]
    written = {run.info.run_name for run in runs if run.info.run_id != runs_before[run.info.run_name]}
    assert written == {f"trial-{number:03d}" for number in numbers}, "a run holds what was measured last"
    study = optuna.load_study(study_name="stand-in", storage=f"sqlite:///{folder / 'study.db'}")
    asked = [trial.user_attrs["question"]["number"] for trial in study.trials if "question" in trial.user_attrs]
    assert len(asked) == len(set(asked))
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}


@pytest.mark.slow
def test_what_is_asked_after_a_damaged_trial_is_what_would_have_been(config: Config) -> None:
    several = ("search.workers=3", "search.sampler=ehvi")
    sweep(config("search.trials=6", "study=whole", *several))
    whole = sweep(config("search.trials=10", "study=whole", *several), resume=True)
    sweep(config("search.trials=6", *several))
    file = config().folder / "trials.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], flipped(lines[2]), *lines[3:]]))
    after = sweep(config("search.trials=10", *several), resume=True)
    assert [essence(trial) for trial in after.trials] == [essence(trial) for trial in whole.trials]


def test_scores_of_an_image_twice_are_refused() -> None:
    cells = {"classes": 2, "scored_classes": [0], "image_ids": ["a"], "label_prediction_pixels": [[0, 0, 5, 0, 0, 6]]}
    with pytest.raises(ValueError, match="occur twice"):
        from_json(Scores, json.dumps(cells))
