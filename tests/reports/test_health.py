"""What the report warns of."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from evaluation.accuracy import Interval
from reports.health import data_warnings, health, unlabelled_classes
from reports.record import Bound, Early, State
from sweeps.finish.summary import End, print_outcome


def test_it_says_how_often_screening_was_wrong(study) -> None:
    record = study(*[State.COMPLETE] * 5, State.PRUNED)
    assert not [sentence for sentence in health(record, {}, {}, {}) if "pruned as dominated" in sentence]
    above, below = record.front[0][0], record.front[1][0]
    marks = {
        5: {"bound": Bound(0.2, 0, 1, 0.3)},
        above: {"bound": Bound(0.0, 0, 1, 0.3)},
        below: {"bound": Bound(1.0, 0, 1, 0.3), "early": Early(3, 6, 1, -0.1)},
    }
    trials = tuple(replace(trial, **marks.get(trial.number, {})) for trial in record.trials)
    (sentence,) = [s for s in health(replace(record, trials=trials), {}, {}, {}) if "pruned as dominated" in s]
    assert sentence.startswith("1 candidate was pruned")
    assert (
        "2 more, drawn at random, were measured nevertheless: 1 scored above the bound, 2 came on the front" in sentence
    )
    del marks[above], marks[below]
    trials = tuple(replace(trial, **marks.get(trial.number, {})) for trial in record.trials)
    (sentence,) = [s for s in health(replace(record, trials=trials), {}, {}, {}) if "pruned as dominated" in s]
    assert "none of them was measured" in sentence


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"aspp_weight_bits": 6}, "(weight_bits 4)"),
        ({"aspp_weight_bits": 4}, "(weight_bits 4, aspp_weight_bits 4)"),
        ({}, "(weight_bits 4, aspp_weight_bits 4)"),  # follows the backbone
    ],
)
def test_a_smallest_point_at_the_edge_of_a_stages_levels_is_said(study, own, said) -> None:
    record = study(State.COMPLETE, State.COMPLETE, State.COMPLETE)
    smallest = record.front[0][0]
    space = {
        "weight_bits": [4, 8],
        "aspp_weight_bits": [4, 6],
        "decoder_weight_bits": None,
        "decoder_activation_bits": [4, 8],
    }
    trials = [replace(trial, params=dict(trial.params) | own) for trial in record.trials]
    record = replace(record, config={**record.config, "space": space}, trials=tuple(trials))
    assert record.trial(smallest).params["weight_bits"] == 4
    (sentence,) = [sentence for sentence in health(record, {}, {}, {}) if "edge of the space" in sentence]
    assert said in sentence


@pytest.mark.parametrize(
    ("search", "heldout", "said"),
    [
        ((-0.002, 0.004), (-0.016, -0.008), "on the held-out images it does: \u22120.012, interval \u22120.016 to"),
        ((-0.002, 0.004), (-0.016, 0.008), "does not differ significantly from the baseline: the interval contains 0"),
        ((-0.004, -0.001), (-0.016, -0.008), None),
    ],
)
def test_the_held_out_images_have_the_last_word_on_what_the_choice_costs(study, search, heldout, said) -> None:
    record = study(State.COMPLETE, State.COMPLETE, State.COMPLETE)
    changes = [{1: Interval(sum(ends) / 2, *ends, 0.95, 50)} for ends in (search, heldout)]
    found = [
        sentence for sentence in health(replace(record, chosen=1), *changes, {}) if "differ significantly" in sentence
    ]
    assert bool(found) == (said is not None)
    assert said is None or said in found[0]


def test_a_class_that_is_void_by_definition_is_not_missed(study) -> None:
    record = study(State.COMPLETE)
    names, colours = (*record.data.class_names, "other"), (*record.data.palette, "#009E73")
    data = replace(record.data, class_names=names, palette=colours)
    assert "1 of 5 classes (other) is in no label" in unlabelled_classes(replace(record, data=data))[0]
    data = replace(data, void_classes=(4,), search_classes=(0, 1, 2, 3))
    assert unlabelled_classes(replace(record, data=data)) == []
    assert not [sentence for sentence in data_warnings(data) if "in no label" in sentence]
    (sentence,) = [s for s in data_warnings(replace(data, search_classes=(0, 1, 2))) if "in no label" in s]
    assert sentence.startswith(f"1 of 4 classes ({names[3]}) is in no label")
    assert sentence.endswith("A mask gives each class by its number, 0 to 4: see whether yours do.")


def overlaps(record, on_front) -> list[str]:
    """The sentences on points that do not differ significantly, or are on the front by chance."""
    return [s for s in health(record, {}, {}, on_front) if "differ significantly" in s or "of the resamples" in s]


def test_one_pair_of_neighbours_is_spoken_of_as_one(study) -> None:
    record = study(*[State.COMPLETE] * 5)
    equal = record.trial(record.front[0][0]).measurement.scores
    trials = tuple(
        replace(trial, measurement=replace(trial.measurement, scores=equal)) if trial.measurement else trial
        for trial in record.trials
    )
    alike = replace(record, trials=trials)
    (many,) = overlaps(alike, {})
    assert many.startswith(
        f"Of {len(record.front) - 1} pairs of neighbours on the front {len(record.front) - 1} do not differ "
    )
    (one,) = overlaps(replace(alike, front=record.front[:2]), {})
    assert one.startswith("The two points of the front do not differ significantly on these images: the 95 % interval")
    text = io.StringIO()
    alone = replace(record, trials=trials[:1], front=(), chosen=None)
    print_outcome(End(alone, Path("r"), (Path("r/r.pdf"),), None, (), None), Console(file=text, width=200))
    assert "1 distinct trial (0 pruned, 0 failed)." in text.getvalue()
    doubtful = overlaps(replace(record, front=record.front[:1]), {record.front[0][0]: 0.1})
    assert doubtful[0].startswith("1 of 1 points is on the front")
