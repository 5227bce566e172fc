"""What the report warns of: levels of a stage count, and a stage that follows the backbone stands where that does."""

from dataclasses import replace

import pytest

from reports.health import health
from reports.record import State


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
    (sentence,) = [sentence for sentence in health(record, {}) if "edge of the space" in sentence]
    assert said in sentence
