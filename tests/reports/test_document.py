"""The PDF says what the record says, for full studies and for those that came to little."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.accuracy import Scores, bootstrap_interval, paired_difference_interval
from reports import format as fmt
from reports.content import class_ious
from reports.document import write_report
from reports.record import State, StudyRecord
from tests.pdf_text import page_texts

COMPLETE, PRUNED, FAILED = State.COMPLETE, State.PRUNED, State.FAILED
REPOSITORY = Path(__file__).resolve().parents[2]


def text_of(record: StudyRecord, folder: Path) -> str:
    """The PDF's text with every run of white space, thin ones included, as one blank."""
    return plain(" ".join(page_texts(write_report(record, folder))))


def plain(text: str) -> str:
    return re.sub(r"[\s\u202f\u00a0]+", " ", text)


def test_every_figure_of_front_and_choice_is_the_records(study, tmp_path: Path) -> None:
    record = study(*[COMPLETE] * 6)
    text = text_of(record, tmp_path)
    assert record.front
    shown = []
    for equal in record.front:
        trial = record.trial(equal[0])
        memory, scores = trial.measurement.memory, trial.measurement.scores
        shown += [fmt.megabytes(memory.peak_memory_bytes), fmt.megabytes(memory.arena_bytes), fmt.miou(scores.miou)]
        shown += [fmt.interval(bootstrap_interval(scores, seed=3)), fmt.miou(record.heldout[trial.number].miou)]
    choice, baseline = record.choice, record.baseline
    change = paired_difference_interval(choice.measurement.scores, baseline.measurement.scores, seed=3)
    factor = baseline.measurement.memory.peak_memory_bytes / choice.measurement.memory.peak_memory_bytes
    shown += [fmt.signed(change.estimate), fmt.signed_interval(change), f"{factor:.1f}x smaller"]
    shown += [choice.name, record.chosen_reason[:40], "mIoU 0.576 on 8 images, expected 0.577 ± 0.005: passed"]
    shown += ["python -m sweeps.launch pareto.yaml", "0123abc with uncommitted changes", "3 min 20 s"]
    shown += [trial.name for trial in record.trials]
    for words in shown:
        assert plain(words) in text, words


def test_the_same_record_gives_the_same_bytes(study, tmp_path: Path) -> None:
    record = study(*[COMPLETE] * 4)
    assert write_report(record, tmp_path).read_bytes() == write_report(record, tmp_path).read_bytes()


def test_the_c_program_of_each_point_is_shown_with_what_it_was_seen_to_do(study, tmp_path: Path) -> None:
    record = study(*[COMPLETE] * 6)
    text = text_of(record, tmp_path)
    for number, seen in record.executions.items():
        words = f"{fmt.grouped(seen.high_water_bytes)} 900 of 1 024 {fmt.percent(seen.label_agreement)}"
        latency = record.trial(number).measurement.latency
        assert plain(f"{words} {latency.program_ms:.1f} {latency.ratio:.2f} within plan") in text


def test_a_broken_promise_and_a_program_that_was_not_run_are_said(study, tmp_path: Path) -> None:
    record = study(*[COMPLETE] * 6)
    first, *others = record.executions
    broken = replace(record.executions[first], high_water_bytes=record.executions[first].arena_bytes + 1)
    text = text_of(replace(record, executions={first: broken}, not_executed="no C compiler"), tmp_path)
    assert "exceeds plan" in text
    assert f"{first:03d}: the arena was written up to byte {broken.high_water_bytes:,}, 1 beyond" in text
    assert f"Not executed: {len(others)} point{'s' if len(others) > 1 else ''} (no C compiler)." in text
    assert not broken.holds


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((), ("No network selected", "nothing to choose from", "All 0 trials")),
        ((COMPLETE,), ("It needs 1.470 MB: the baseline is selected", "1 point, too few for a knee")),
        ((COMPLETE, COMPLETE), ("the baseline is selected", "2 points, too few for a knee")),
        ((FAILED, FAILED), ("No network selected", "2 of 2 trials failed", "killed by signal 9")),
        ((PRUNED, PRUNED), ("No network selected", "over the limit of 1")),
        ((FAILED, COMPLETE, COMPLETE), ("no baseline to compare with", "The baseline did not complete")),
        ((COMPLETE, PRUNED, FAILED), ("1 complete", "1 pruned", "1 failed")),
    ],
)
def test_a_study_that_came_to_little_is_told_as_it_is(study, tmp_path: Path, states: tuple, words: tuple) -> None:
    text = text_of(study(*states), tmp_path)
    for expected in words:
        assert expected in text, text[:1500]


def test_measured_trials_that_all_break_a_limit_leave_nothing_to_choose(study, tmp_path: Path) -> None:
    reason = "miou_drop 0.3 is over the limit of 0.01"
    record = study(*[COMPLETE] * 3, change=lambda made: replace(made, feasible=False, reason=reason))
    text = text_of(record, tmp_path)
    assert "No network selected" in text
    assert "All 3 trials that completed are over a limit" in text
    assert text.count(f"over a limit: {reason}") == 3
    assert fmt.miou(record.trial(1).measurement.scores.miou) in text


def test_a_class_that_no_label_holds_is_named_and_counts_nowhere(study, tmp_path: Path) -> None:
    made = study(*[COMPLETE] * 6)
    seen = replace(made.data, class_names=(*made.data.class_names, "tram"), palette=(*made.data.palette, "#009E73"))

    def widened(scores: Scores) -> Scores:
        """With a class that is in no label, but was predicted."""
        confusions = np.pad(scores.confusions, ((0, 0), (0, 1), (0, 1)))
        confusions[:, 0, 4] = 500
        return Scores.of(scores.image_ids, confusions)

    trials = tuple(
        replace(t, measurement=replace(t.measurement, scores=widened(t.measurement.scores))) for t in made.trials
    )
    record = replace(made, trials=trials, data=seen, heldout={n: widened(s) for n, s in made.heldout.items()})
    text = text_of(record, tmp_path)
    assert "1 of 5 classes (tram) is in no label of the search images" in text
    assert "search images, 4 classes" in text
    assert plain(fmt.miou(record.choice.measurement.scores.miou)) in text
    assert "nan" not in text
    assert class_ious(record)[0] == ["road", "building", "person", "car"]


def test_held_out_images_without_a_class_or_without_any_label_are_said(study, tmp_path: Path) -> None:
    record = study(*[COMPLETE] * 6)

    def without(scores: Scores, classes: list[int]) -> Scores:
        confusions = scores.confusions.copy()
        confusions[:, classes, :] = 0
        return Scores.of(scores.image_ids, confusions)

    fewer = {n: without(scores, [3]) for n, scores in record.heldout.items()}
    assert "The held-out labels hold 3 classes, those of the search images 4" in text_of(
        replace(record, heldout=fewer), tmp_path
    )
    void = {n: without(scores, [0, 1, 2, 3]) for n, scores in record.heldout.items()}
    text = text_of(replace(record, heldout=void), tmp_path)
    assert "The held-out labels hold 0 classes" in text
    assert "not scored" in text
    assert "nan" not in text
    assert "On 8 held-out images" not in text


def test_without_images_plans_or_names_there_is_still_a_report(study, tmp_path: Path) -> None:
    record = study(COMPLETE, COMPLETE, COMPLETE, data=None)
    for plan in (tmp_path / "plans").iterdir():
        plan.unlink()
    for overlay in (tmp_path / "overlays").iterdir():
        overlay.unlink()
    text = text_of(record, tmp_path)
    assert "It runs in" in text, text[:500]
    assert "Predicted classes" not in text


def test_the_command_writes_it_anew_and_names_a_missing_study(study, tmp_path: Path) -> None:
    study(COMPLETE, COMPLETE)

    def report(folder: Path) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "reports", str(folder)]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert report(tmp_path).returncode == 0
    assert (tmp_path / "report.pdf").exists()
    missing = report(tmp_path / "none")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ")
    assert missing.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        (("<b>road</b>", "#text(1)[x]", r"$\foo$", "*_`z` $"), ("<b>road</b>", "#text(1)[x]", r"$\foo$", "*_`z` $")),
        (("歩行者", "Fußgänger ∂", "🚗"), ("Fußgänger ∂",)),
        (("a\x07b", "a\ud800", "\u0600x"), ("a<U+0007>b", "a<U+D800>")),
    ],
)
def test_class_names_of_every_kind_are_shown(study, tmp_path: Path, odd: tuple, shown: tuple, recwarn) -> None:
    """Records of former versions may hold what a data set is refused for today."""
    record = study(COMPLETE, COMPLETE, COMPLETE)
    names = (*odd, *record.data.class_names[len(odd) :])
    text = text_of(replace(record, data=replace(record.data, class_names=names)), tmp_path)
    for name in shown:
        assert name in text
    assert not [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)]
