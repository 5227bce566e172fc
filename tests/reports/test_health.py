"""What the report warns of: levels of a stage count, and a stage that follows the backbone stands where that does."""

from dataclasses import replace

import pytest

from reports.health import health
from reports.record import Bound, Early, State


def test_it_says_how_often_screening_was_wrong(study) -> None:
    record = study(*[State.COMPLETE] * 5, State.PRUNED)
    assert not [sentence for sentence in health(record, {}, {}) if "sure to be beaten" in sentence]
    above, below = record.front[0][0], record.front[1][0]
    marks = {
        5: {"bound": Bound(0.2, 0, 1, 0.3)},
        above: {"bound": Bound(0.0, 0, 1, 0.3)},
        below: {"bound": Bound(1.0, 0, 1, 0.3), "early": Early(3, 6, 1, -0.1)},
    }
    trials = tuple(replace(trial, **marks.get(trial.number, {})) for trial in record.trials)
    (sentence,) = [s for s in health(replace(record, trials=trials), {}, {}) if "sure to be beaten" in s]
    assert sentence.startswith("1 candidates were pruned")
    assert (
        "2 more, drawn at random, were measured all the same: 1 scored above the bound, 2 came on the front" in sentence
    )
    del marks[above], marks[below]
    trials = tuple(replace(trial, **marks.get(trial.number, {})) for trial in record.trials)
    (sentence,) = [s for s in health(replace(record, trials=trials), {}, {}) if "sure to be beaten" in s]
    assert "none of such was measured" in sentence


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
    (sentence,) = [sentence for sentence in health(record, {}, {}) if "edge of the space" in sentence]
    assert said in sentence
