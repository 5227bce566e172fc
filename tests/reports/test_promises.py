"""An exceeded promise is said wherever the promise is shown, and so is a program that was not run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from shown_places import terminal

from evaluation.accuracy import Scores
from evaluation.measurement import Execution
from reports.compare import compare
from reports.content import content, intervals, warnings_of
from reports.document import write_documents
from reports.health import urgent_warnings
from reports.promises import PlanStatus, exceeded, promise_warnings, study_status, told_status
from reports.record import State, StudyRecord
from reports.record_file import read_record, write_record
from sweeps.finish.model_card import model_card
from tests.pdf_text import page_texts

COMPLETE = [State.COMPLETE] * 6
KEPT = Execution(4, 0.999, 1008, 1000, 1000, False, True, 900, 1024, 10.0)
STACK = "the stack took 2,000 bytes, 976 over its bound of 1,024"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"stack_bytes": 1024}, ()),
        ({"stack_bytes": 2000}, (STACK,)),
        ({"high_water_bytes": 1004}, ("the arena was written up to byte 1,004, 4 beyond the 1,000 planned",)),
        (
            {"high_water_bytes": 990},
            ("the arena was written up to byte 990 only, but its plan ends at byte 1,000, 10 later",),
        ),
        (
            {"high_water_bytes": 1020, "end_bytes": 1020},
            ("the planned buffers end at byte 1,020, 12 beyond the arena of 1,008",),
        ),
        ({"written_outside": True}, ("bytes around the arena were written",)),
        ({"repeatable": False}, ("the labels depend on what the arena held before (not repeatable)",)),
        ({"failure": "died of SIGSEGV"}, ("the program did not run to its end (died of SIGSEGV)",)),
        (
            {"written_outside": True, "stack_bytes": 2000},
            ("bytes around the arena were written", STACK),
        ),
    ],
)
def test_each_exceeded_promise_is_named_with_its_figures(change: dict, words: tuple[str, ...]) -> None:
    seen = replace(KEPT, **change)
    assert seen.excesses == words
    assert seen.holds == (not words)


def exceeding(record: StudyRecord, *numbers: int) -> StudyRecord:
    """The programs of these trials take more stack than they may."""
    executions = {n: replace(e, stack_bytes=2000) if n in numbers else e for n, e in record.executions.items()}
    return replace(record, executions=executions)


def shown(record: StudyRecord, folder: Path) -> dict[str, str]:
    """The text of every place that a record is shown in."""
    report, page = write_documents(record, folder)
    pages = [re.sub(r"[\s\u202f]+", " ", page) for page in page_texts(report)]
    card = model_card(record, record.choice, [], {}, None)
    summary = dict(row[:2] for row in compare(record, record, ("a", "b")).summary)
    return {
        "page 1": pages[0],
        "report": " ".join(pages),
        "terminal": terminal(record, folder),
        "front.html": page.read_text(),
        "card": card,
        "comparison": f"{summary['chosen']}; {summary['C programs of the front']}",
    }


def test_a_choice_that_exceeds_its_plan_is_said_in_every_place(study, tmp_path: Path) -> None:
    made = study(*COMPLETE)
    record = exceeding(made, made.chosen)
    places = shown(record, tmp_path)
    count = len(record.front)
    for place in ("page 1", "terminal", "front.html", "card"):
        assert STACK in places[place], place
    told = f"The C program of the selected configuration (trial-{made.chosen:03d}) exceeds its plan"
    for place in ("page 1", "terminal", "front.html"):
        assert told in places[place], place
    assert places["report"].count("exceeds plan") >= 3  # page 1, the table of programs, the best under a budget
    assert places["comparison"].endswith(f"(exceeds plan); {count - 1} within plan, 1 exceed plan")
    assert study_status(record) is PlanStatus.EXCEEDED
    table = [line for line in places["terminal"].split("\u2502") if line.strip() in ("within", "exceeds", "not run")]
    assert sorted(cell.strip() for cell in table) == sorted(["exceeds"] + ["within"] * (count - 1))
    assert not any(re.search("exceeds? (its )?plan", text) for text in shown(made, tmp_path).values())
    assert study_status(made) is PlanStatus.WITHIN


def test_other_points_that_exceed_their_plans_are_counted_and_the_first_are_named(study) -> None:
    made = study(*COMPLETE)
    others = [equal[0] for equal in made.front if equal[0] != made.chosen]
    (one,) = promise_warnings(exceeding(made, others[0]))
    assert one == (
        f"The C program of 1 of {len(made.front)} points of the Pareto front exceeds its plan "
        f"(trial-{others[0]:03d}: {STACK})."
    )
    _, rest = promise_warnings(exceeding(made, made.chosen, *others))
    assert rest.startswith(
        f"The C programs of {len(made.front)} of {len(made.front)} points of the Pareto front exceed"
    )
    assert rest.count("trial-") == 3
    assert f"; and {len(others) - 3} more)." in rest


def test_programs_that_were_not_run_are_said_and_exceed_nothing(study, tmp_path: Path) -> None:
    made = study(*COMPLETE, executions={}, not_executed="no C compiler (cc, gcc or clang) was installed")
    words = (
        f"None of the {len(made.front)} C programs of the Pareto front was run (no C compiler (cc, gcc or clang) was "
        "installed), so whether they are within plan is not known."
    )
    places = shown(made, tmp_path)
    for place in ("page 1", "terminal", "front.html"):
        assert words in places[place], place
    for place in ("page 1", "card"):
        assert "not run (no C compiler (cc, gcc or clang) was installed)" in places[place], place
    assert places["comparison"].endswith(f"{len(made.front)} not run")
    assert study_status(made) is PlanStatus.NOT_RUN
    assert not exceeded(made.executions)


def test_a_program_that_crashed_exceeds_its_plan_and_shows_no_figures(study, tmp_path: Path) -> None:
    made = study(*COMPLETE)
    crashed = Execution(4, 0.0, 1008, 0, 0, False, False, 0, 0, 0.0, failure="died of SIGSEGV")
    record = replace(made, executions=made.executions | {made.chosen: crashed})
    write_record(record, tmp_path)
    record = read_record(tmp_path)
    assert told_status(record, made.chosen) == ("exceeds plan: the program did not run to its end (died of SIGSEGV)")
    row = next(row for row in content(record, intervals(record), {})["executions"]["rows"] if row["chosen"])
    assert (row["high_water"], row["stack"], row["labels"], row["plan"]) == (*["\u2013"] * 3, "exceeds plan")


def test_of_a_study_that_came_to_nothing_nothing_is_promised(study) -> None:
    record = study(State.FAILED, State.FAILED)
    assert promise_warnings(record) == []
    assert study_status(record) is PlanStatus.NOT_RUN


def test_every_warning_of_page_1_is_in_the_terminal_and_in_front_html(study, tmp_path: Path) -> None:
    class_name = "[bold]<b>x</b>"
    made = study(State.COMPLETE, State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED)
    data = replace(made.data, class_names=(*made.data.class_names, class_name), palette=(*made.data.palette, "#009E73"))
    record = replace(made, data=data, changes=({"at": "", "trials": 2, "keys": {"seed": [1, 2]}},))
    told = warnings_of(record, intervals(record))
    places = shown(record, tmp_path)
    escaped = places["front.html"].replace("&lt;", "<").replace("&gt;", ">").replace("&#x27;", "'")
    assert f"1 of 5 classes ({class_name}) is in no label" in places["terminal"]
    assert len(told) >= 6
    for sentence in told:
        assert re.sub(r"[\s\u202f]+", " ", sentence) in places["page 1"]
        assert re.sub(r"[\s\u202f]+", " ", sentence) in places["terminal"]
        assert sentence in escaped
    assert "<b>x</b>" not in places["front.html"]


def test_a_mean_over_one_class_alone_is_said_first(study, tmp_path: Path) -> None:
    """Masks of 0 and 255 with two classes: what is scored is the background, where it is found."""
    made = study(*COMPLETE)

    def of_one(trial):
        scores = trial.measurement.scores
        confusions = scores.confusions.copy()
        confusions[:, 1:] = 0
        narrowed = Scores.of(scores.image_ids, confusions)
        return replace(trial, measurement=replace(trial.measurement, scores=narrowed))

    record = replace(made, trials=tuple(map(of_one, made.trials)), heldout={})
    (sentence,) = urgent_warnings(record)
    assert "3 of 4 classes (building, person, car) are in no label of the search images" in sentence
    assert "The mIoU is the IoU of road alone. A mask gives each class by its number, 0 to 3" in sentence
    assert warnings_of(record, intervals(record))[0] == sentence
    assert sentence in model_card(record, record.choice, [], {}, None)
    assert sentence in terminal(record, tmp_path)
