"""Two studies next to each other: one reference for both, what changed, and mistakes in one line."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from reports.compare import compare, distinct_names, write_comparison
from reports.front import hypervolume
from reports.record import State
from reports.record_file import write_record
from tests.pdf_text import page_texts

REPOSITORY = Path(__file__).resolve().parents[2]


def pair(study):
    first = study(*[State.COMPLETE] * 6)
    second = replace(
        first,
        study="other",
        trials=first.trials[:4],
        front=tuple(equal for equal in first.front if max(equal) < 4),
        chosen=None,
        config=dict(first.config) | {"seed": 4, "space": {"tile_count": [1, 2]}},
        environment=replace(first.environment, git_commit="f" * 40),
    )
    return first, second


def test_both_hypervolumes_are_of_one_box(study) -> None:
    first, second = pair(study)
    found = compare(first, second, ("a", "b"))
    reference = first.baseline.measurement.memory.peak_memory_bytes
    values = [f"{hypervolume(record.feasible_points(), reference):.4f}" for record in (first, second)]
    assert ("hypervolume", *values) in found.summary
    assert found.verdict.startswith(f"The front of a dominates more ({values[0]} to {values[1]}).")


def test_of_two_baselines_the_larger_bounds_the_box(study) -> None:
    first = study(*[State.COMPLETE] * 6)
    base = first.trials[0]
    memory = replace(base.memory, peak_memory_bytes=3 * base.memory.peak_memory_bytes)
    larger = replace(base, measurement=replace(base.measurement, memory=memory))
    second = replace(first, trials=(larger, *first.trials[1:]))
    expected = hypervolume(first.feasible_points(), memory.peak_memory_bytes)
    row = next(row for row in compare(first, second, ("a", "b")).summary if row[0] == "hypervolume")
    assert row[1] == f"{expected:.4f}"


def test_what_differs_is_named_and_nothing_else(study) -> None:
    first, second = pair(study)
    changed = {key: (one, other) for key, one, other in compare(first, second, ("a", "b")).changed}
    assert changed == {
        "seed": ("3", "4"),
        "space.tile_count": ("1, 2, 16", "1, 2"),
        "code: commit": ("0123abc changed", "ffffffffffff changed"),
    }
    assert compare(first, first, ("a", "b")).changed == ()
    assert "Both fronts dominate the same" in compare(first, first, ("a", "b")).verdict


def test_the_choices_are_compared_in_pairs_of_images(study) -> None:
    first, _ = pair(study)
    other = replace(first, chosen=0)
    verdict = compare(first, other, ("a", "b")).verdict
    assert "From the selected configuration of a to that of b mIoU changes by +" in verdict
    elsewhere = replace(
        other, trials=tuple(_with_other_images(trial) if trial.number == 0 else trial for trial in other.trials)
    )
    assert "not scored on the same images" in compare(first, elsewhere, ("a", "b")).verdict


def _with_other_images(trial):
    scores = trial.measurement.scores
    renamed = replace(scores, image_ids=tuple(f"other-{name}" for name in scores.image_ids))
    return replace(trial, measurement=replace(trial.measurement, scores=renamed))


def test_the_pdf_says_what_was_found_even_of_a_study_without_a_front(study, tmp_path: Path) -> None:
    first, second = pair(study)
    empty = replace(second, trials=(), front=())
    for other in (second, empty):
        write_comparison(first, other, ("a", "b"), tmp_path / "c.pdf", "letter")
        text = " ".join(page_texts(tmp_path / "c.pdf"))
        assert "Differences" in text
        assert "space.tile_count" in text.replace("\u200b", "")


def test_the_command_prints_and_writes_and_names_a_missing_study(study, tmp_path: Path) -> None:
    first, second = pair(study)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, record in zip(folders, (first, second), strict=True):
        folder.mkdir()
        write_record(record, folder)

    def run(*arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "reports.compare", *map(str, arguments)]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    done = run(*folders, "--out", tmp_path / "out.pdf")
    assert done.returncode == 0, done.stderr
    assert "hypervolume" in done.stdout
    assert (tmp_path / "out.pdf").exists()
    missing = run(folders[0], tmp_path / "none")
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "no study here" in missing.stderr


def test_studies_of_one_name_are_called_by_their_folders(study) -> None:
    first, second = pair(study)
    assert distinct_names((Path("a"), Path("b")), (first, second)) == ("stand-in", "other")
    assert distinct_names((Path("a"), Path("b")), (first, first)) == ("a", "b")
