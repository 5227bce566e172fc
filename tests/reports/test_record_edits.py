"""A record that somebody edited by hand is read as it stands, or refused in one line that names the place."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evaluation.errors import UserError
from reports.compare import compare
from reports.content import content, intervals
from reports.document import write_documents
from reports.record import Bound, Early, State, StudyRecord
from reports.record_file import read_record
from sweeps.finish.picked import picked_trial
from sweeps.finish.study_settings import settings_of

Place = tuple[str | int, ...]
COMPLETE, PRUNED, FAILED = State.COMPLETE, State.PRUNED, State.FAILED
CHANGES = ({"at": "2026-11-23", "trials": 1, "keys": {"seed": [2, 3]}},)
VALUES: dict[str, Any] = {
    "null": None, "text": "x", "no text": "", "control characters": "a\x00\x1b[31m\n<b>", "a way out": "../../x",
    "true": True, "negative": -1, "zero": 0, "fraction": 1.5, "huge": 10**30, "NaN": math.nan, "infinite": math.inf,
    "empty list": [], "list": [1, "a", None], "empty object": {}, "object": {"a": 1},
}  # fmt: skip


def bounded(trial):
    """With all that a trial may hold."""
    return replace(trial, bound=Bound(0.5, 0, 1, 0.6), early=Early(3, 6, 0, -0.1)) if trial.number == 1 else trial


def places(tree: Any, place: Place = ()) -> Iterator[Place]:
    """Every key and index of a tree; of a list of numbers the first and the last."""
    if place:
        yield place
    if isinstance(tree, dict):
        for key in tree:
            yield from places(tree[key], (*place, key))
    elif isinstance(tree, list) and tree:
        plain = isinstance(tree[0], int | str | list)
        for index in sorted({0, len(tree) - 1}) if plain else range(len(tree)):
            yield from places(tree[index], (*place, index))


def edits(text: str, place: Place) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The tree of a JSON text with something else at a place: by what was done, and what makes the edited tree."""
    *parents, last = place

    def edited(change: Callable[[Any], None]) -> Any:
        made = json.loads(text)
        holder = made
        for key in parents:
            holder = holder[key]
        change(holder)
        return made

    for name, value in VALUES.items():
        yield name, partial(edited, lambda holder, value=value: holder.__setitem__(last, value))
    yield "deleted", partial(edited, lambda holder: holder.__delitem__(last))
    if isinstance(last, int):
        yield "twice", partial(edited, lambda holder: holder.append(copy.deepcopy(holder[last])))
    else:
        yield "renamed", partial(edited, lambda holder: holder.__setitem__(f"{last} ", holder.pop(last)))


def use(folder: Path, other: StudyRecord) -> StudyRecord:
    """What `reports`, `reports.compare` and `sweeps.export` do with a record before anything is drawn or compiled."""
    record = read_record(folder)
    found = intervals(record)
    content(record, found, {})
    compare(record, other, ("a", "b"))
    refusal_of(lambda: settings_of(record, folder, picked_trial(record, folder)), "export")
    return record


def assert_one_line(error: UserError) -> None:
    text = str(error)
    assert text.isprintable()
    assert len(text) < 400


def refusal_of(call: Callable[[], Any], what: str) -> UserError | None:
    """The one line that a call refuses its input with; None where it returns."""
    try:
        call()
    except UserError as error:
        assert_one_line(error)
        return error
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")
    return None


def test_every_edit_of_every_value_is_read_or_refused_in_one_line(study, tmp_path: Path) -> None:
    record = study(COMPLETE, COMPLETE, PRUNED, change=bounded, changes=CHANGES)
    file = tmp_path / "record.json"
    text = file.read_text()
    refused = accepted = 0
    for index, place in enumerate(places(json.loads(text))):
        kinds = list(edits(text, place))
        # Every kind of edit in turn: neighbours are of one type, so each type meets each kind.
        for name, edited in kinds if len(place) < 3 else [kinds[(3 * index + step) % len(kinds)] for step in range(3)]:
            file.write_text(json.dumps(edited()))
            refusal = refusal_of(lambda: use(tmp_path, record), f"{place} {name}")
            assert str(file) in str(refusal or file), (place, name)
            refused += refusal is not None
            accepted += refusal is None
    assert refused > 700
    assert accepted > 60


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_what_is_accepted_can_be_drawn(study, tmp_path: Path, part: int) -> None:
    """Every edit; of those that are read, every twentieth with report and page."""
    record = study(COMPLETE, COMPLETE, COMPLETE, PRUNED, FAILED, change=bounded, changes=CHANGES)
    file = tmp_path / "record.json"
    text = file.read_text()
    accepted = 0
    for place in list(places(json.loads(text)))[part::4]:
        for name, edited in edits(text, place):
            file.write_text(json.dumps(edited()))
            if refusal_of(lambda: use(tmp_path, record), f"{place} {name}") is None:
                accepted += 1
                if accepted % 20 == 0:
                    refusal_of(lambda: write_documents(read_record(tmp_path), tmp_path), f"{place} {name}")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("trials", 1, "measurement", "memory", "arena_bytes"), 1.5, "must be a whole number, found 1.5"),
        (("trials", 1, "measurement", "memory", "peak_memory_bytes"), 0, "must be at least 1"),
        (("trials", 1, "measurement", "cost", "macs"), 10**30, "must be 0 to"),
        (("trials", 1, "state"), "done", "must be 'complete', 'pruned' or 'failed', found 'done'"),
        (("trials", 1, "state"), "failed", "must be given exactly where state is complete"),
        (("trials", 1, "number"), 0, "is the number of an earlier trial, too"),
        (("trials", 1, "params", "tile_count"), "4", "must be a number"),
        (("trials", 1, "params", "zzweight_bits"), 8, "names no searched value"),
        (("trials", 1, "params", "a_b"), 8, "names no searched value"),
        (("trials", 1, "plan_file"), "/etc/passwd", "holds an absolute path"),
        (("trials", 1, "seconds"), math.nan, "must be finite"),
        (("trials", 1, "later"), 1, "no field of this version"),
        (("front", 0, 0), 77, "trial 77 is no complete and feasible trial"),
        (("chosen",), 77, "trial 77 is no complete trial"),
        (("other_runtimes", "77"), {"file_bytes": None, "uses": [], "problem": "x"}, "trial 77 is no complete trial"),
        (("data", "palette", 0), "red", 'must be as "#rrggbb"'),
        (("data", "class_names"), ["a"], "must have a colour for each class"),
        (("overlays", 0, "label_file"), "../X", "holds an empty, '.' or '..' part"),
        (("config", "search"), {"third_objective": "joules"}, "must be 'macs' or 'flash_mb'"),
        (("environment", "command"), None, "must be a text, found null"),
    ],
)
def test_the_message_names_file_place_and_remedy(study, tmp_path: Path, place: Place, value: Any, words: str) -> None:
    study(COMPLETE, COMPLETE)
    file = tmp_path / "record.json"
    tree = json.loads(file.read_text())
    holder = tree
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    file.write_text(json.dumps(tree))
    with pytest.raises(UserError) as refused:
        read_record(tmp_path)
    text = str(refused.value)
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")
    where = {"data.class_names": "data.palette", "trials[1].state": "trials[1]."}.get(where, where)
    assert text.startswith(f"{file}: damaged: {where}")
    assert words in text
    assert "python -m sweeps.launch CONFIG --resume" in text
    assert_one_line(refused.value)


def test_records_of_before_are_read(study, tmp_path: Path) -> None:
    """Without the fields that came later, and with a list for each triple of the confusions."""
    record = study(COMPLETE, COMPLETE, PRUNED)
    file = tmp_path / "record.json"
    tree = json.loads(file.read_text())
    for name in ("executions", "changes", "not_executed", "chain", "other_runtimes"):
        del tree[name]
    del tree["environment"]["lock"], tree["environment"]["study_folder"], tree["data"]["fingerprints"]
    del tree["data"]["search_classes"], tree["data"]["void_classes"]
    for trial in tree["trials"]:
        for name in ("bound", "early", "finished_s", "planned_macs"):
            del trial[name]
        if trial["measurement"]:
            del trial["measurement"]["latency"]
            cells = trial["measurement"]["scores"]["label_prediction_pixels"]
            triples = [[flat[i : i + 3] for i in range(0, len(flat), 3)] for flat in cells]
            trial["measurement"]["scores"]["label_prediction_pixels"] = triples
    file.write_text(json.dumps(tree))
    again = read_record(tmp_path)
    assert [trial.number for trial in again.trials] == [0, 1, 2]
    for before, after in zip(record.trials[:2], again.trials[:2], strict=True):
        assert after.measurement.scores == before.measurement.scores
    use(tmp_path, record)


def test_trials_that_cannot_be_paired_are_reported_without_their_difference(study, tmp_path: Path) -> None:
    """As after the labels were changed in mid-study."""
    record = study(*[COMPLETE] * 4)
    last = record.trials[-1]
    scores = replace(last.measurement.scores, confusions=last.measurement.scores.confusions + 1)
    other = replace(last, measurement=replace(last.measurement, scores=scores))
    changed = replace(record, trials=(*record.trials[:-1], other))
    found = intervals(changed)
    assert other.number not in found.search_change
    assert content(changed, found, {})["front"]
