"""What a study does about programs that exceed their plans, and what it says of its images before the first trial."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from in_process_pool import open_fewest_processes
from PIL import Image
from rich.console import Console
from standin_sweeps import Config, children, mlflow_runs
from standin_trial import open_evaluator
from typer.testing import CliRunner

from deeplab.datasets import open_dataset
from reports.promises import EXCEEDS_PLAN_STATUS
from reports.record import StudyRecord
from reports.record_file import read_record
from sweeps.cli.dry_run import print_dry_run
from sweeps.cli.status import app as status_app
from sweeps.launch import app
from sweeps.sweep import run_sweep
from sweeps.trial.context import labelled_classes

STACK = "the stack took 2,000 bytes, 976 over its bound of 1,024"
Launch = Callable[..., tuple[int, str, StudyRecord]]


@pytest.fixture
def launch(config: Config, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """`launch("study=a", EXCEEDS="...")`: exit status, output and record of the command with the stand-in trial."""
    monkeypatch.setattr(
        "sweeps.sweep.run_sweep", partial(run_sweep, open_evaluator=open_evaluator, open_workers=open_fewest_processes)
    )

    def run(*overrides: str, resume: bool = False, **environment: str) -> tuple[int, str, StudyRecord]:
        overrides = (*overrides, "data.heldout=heldout")
        made = config(*overrides)
        options = [word for override in overrides for word in ("-o", override)] + ["--resume"] * resume
        env = {f"PETITLAB_TEST_{name}": value for name, value in environment.items()}
        result = CliRunner().invoke(app, ["config.yaml", *options], env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output, read_record(made.folder)

    return run


def tags(study: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Of the study's run, and of each trial's by its label."""
    runs = mlflow_runs(study)
    (parent,) = [run for run in runs if run not in children(runs)]
    return parent.data.tags, {run.info.run_name: run.data.tags for run in children(runs)}


def test_a_point_that_exceeds_its_plan_is_passed_over_and_said_everywhere(launch: Launch) -> None:
    status, said, plain = launch("study=kept", "search.trials=6")
    assert status == 0
    assert "exceed" not in said
    parent, trials = tags("kept")
    assert parent["within_plan"] == "yes"
    on_front = {plain.trial(equal[0]).label for equal in plain.front}
    assert {label for label, of in trials.items() if of["within_plan"] == "yes"} == on_front
    assert {of["within_plan"] for label, of in trials.items() if label not in on_front} <= {"not run"}

    status, said, record = launch("study=over", "search.trials=6", EXCEEDS=plain.choice.name)
    first = plain.choice
    assert status == EXCEEDS_PLAN_STATUS == 3
    assert record.front == plain.front
    assert record.chosen not in (None, plain.chosen)
    skipped = f"skipped, because its C program exceeds its plan ({first.label}: {STACK})"
    assert skipped in record.chosen_reason
    assert skipped in said
    sentence = f"The C program of 1 of {len(record.front)} points of the Pareto front exceeds its plan"
    assert sentence in said
    assert sentence in CliRunner().invoke(status_app, ["studies/over"]).output
    parent, trials = tags("over")
    assert parent["within_plan"] == "no"
    assert parent["chosen"] == record.choice.label
    assert sentence in parent["warnings"]
    assert sentence in parent["mlflow.note.content"]
    assert [label for label, of in trials.items() if of["within_plan"] == "no"] == [first.label]
    assert trials[first.label]["exceeded_promises"] == STACK
    assert {of["exceeded_promises"] for label, of in trials.items() if label != first.label} == {"none"}
    # What the report compares with the baseline is the final choice, not the rule's first point.
    assert set(record.other_runtimes) == {0, record.chosen}
    assert record.chain[-1].name == record.choice.name
    assert len(record.overlays) == 1


def test_where_every_program_exceeds_its_plan_or_none_can_be_run_the_choice_says_so(launch: Launch) -> None:
    few = "search.trials=3"
    status, said, record = launch("study=all-over", few, EXCEEDS="*")
    assert status == 3
    assert f"But its C program exceeds its plan ({STACK}), and no point that fits is within plan." in said
    assert f"The C program of the selected configuration ({record.choice.label}) exceeds its plan" in said
    assert tags("all-over")[1][record.choice.label]["within_plan"] == "no"

    status, said, record = launch("study=not-run", few, EXCEEDS="no compiler")
    assert status == 0
    assert record.chosen is not None
    assert (
        f"None of the {len(record.front)} C programs of the Pareto front was run (no C compiler was installed)" in said
    )
    assert tags("not-run")[0]["within_plan"] == "not run"

    status, said, resumed = launch("study=not-run", few, resume=True)  # a compiler is there now
    assert status == 0
    assert set(resumed.executions) == {equal[0] for equal in resumed.front}
    assert tags("not-run")[0]["within_plan"] == "yes"


def test_classes_that_no_label_holds_are_said_before_the_first_trial(launch: Launch, config: Config) -> None:
    _, said, record = launch("search.trials=1", LABELLED="0")
    sentence = "Warning: 3 of 4 classes (building, person, car) are in no label of the search images"
    assert record.data.search_classes == (0,)
    assert said.count(sentence) == 1
    assert said.index(sentence) < said.index("trial-000")
    assert said.index("Warning: Only 6 search and 8 held-out images") < said.index("trial-000")


def test_a_dry_run_says_it_too(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_LABELLED", "0,1,2")
    text = io.StringIO()
    print_dry_run(config(), Console(file=text, width=200), open_evaluator)
    assert "Warning: 1 of 4 classes (car) is in no label of the search images" in text.getvalue()


def test_masks_of_0_and_255_hold_one_class(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index, masked in enumerate((0, 255, 255)):
        mask = np.zeros((4, 6), np.uint8)
        mask[:2] = masked
        Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(tmp_path / f"images/{index}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{index}.png")
    dataset = open_dataset("folder", tmp_path, class_names=["background", "car"])
    assert labelled_classes(dataset.split("all"), dataset.void) == (0,)
