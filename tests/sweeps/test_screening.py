"""Screening alone: what bounds what, which trial dominates, and when scoring may end."""

from types import SimpleNamespace

import numpy as np
import pytest
from standin_trial import scores

from evaluation.accuracy import Scores
from evaluation.measurement import Cost, Measurement, MemoryFigures
from reports.record import State, Trial
from sweeps.config.constraints import planned_costs
from sweeps.config.schema import ScreeningConfig
from sweeps.config.space import Candidate, Compression
from sweeps.search.loop import Search
from sweeps.search.optuna_study import PendingTrial
from sweeps.trial.screening import Screen, compare, interim_checks, screen, upper_difference

OPTIONS = ScreeningConfig(margin=0.01, audit=0.0)


def candidate(
    sparsity: float = 0.0, bits: int = 8, tiles: int = 1, pruning: str = "channels", **more: int
) -> Candidate:
    return Candidate(Compression(pruning, sparsity, bits, more.pop("activation_bits", 8), **more), tiles)


def memory(peak: int) -> MemoryFigures:
    return MemoryFigures(peak, 0, 0, 0, peak, peak, True, "")


def told(number: int, of: Candidate, miou: float, peak: int, macs: int = 100, feasible: bool = True) -> Trial:
    right = round(10_000 * miou)
    confusion = np.array([[[right, 10_000 - right], [0, 0]]], np.int64)
    only = Scores.of(["a"], confusion, (0,))
    measured = Measurement(only, memory(peak), Cost(macs, 0.0, 1))
    return Trial(number, of.as_params(), str(of), State.COMPLETE, feasible, measured)


def screened(
    of: Candidate,
    trials: list[Trial],
    costs: tuple[str, ...] = ("peak_memory_mb",),
    options: ScreeningConfig = OPTIONS,
    miou_drop: float | None = None,
) -> Screen:
    return screen(of, 9, trials, costs, options, miou_drop, 0)


@pytest.mark.parametrize(
    ("one", "other", "finer"),
    [
        (candidate(), candidate(0.5), True),
        (candidate(0.5), candidate(), False),
        (candidate(bits=8), candidate(bits=4), True),
        (candidate(bits=4), candidate(bits=8), False),
        (candidate(0.25, 8), candidate(0.5, 4), True),
        (candidate(0.5, 8), candidate(0.25, 4), False),
        (candidate(0.25, tiles=8), candidate(0.5, tiles=1), True),
        (candidate(0.25, pruning="magnitude"), candidate(0.5), False),
        (candidate(pruning="magnitude"), candidate(0.5), True),
        (candidate(bits=8, aspp_weight_bits=4), candidate(bits=8), False),
        (candidate(bits=8), candidate(bits=8, aspp_weight_bits=4), True),
        (candidate(bits=8, activation_bits=8), candidate(bits=8, activation_bits=16), False),
        (Candidate(), candidate(), True),
    ],
)
def test_what_keeps_more_of_the_network(one: Candidate, other: Candidate, finer: bool) -> None:
    assert compare(one, other) == (finer, False)


def test_tiles_make_no_other_network() -> None:
    assert compare(candidate(0.5, tiles=1), candidate(0.5, tiles=8)) == (True, True)


def test_the_least_of_all_bounds_counts_with_the_margin() -> None:
    trials = [told(0, Candidate(), 0.9, 900), told(1, candidate(), 0.85, 500), told(2, candidate(0.5), 0.5, 100)]
    found = screened(candidate(0.25), trials)
    assert found.bound == pytest.approx(0.86)
    assert found.source == 1
    same = screened(candidate(0.5, tiles=4), trials)
    assert (same.bound, same.source) == (0.5, 2)


def test_a_candidate_is_foretold_only_where_a_rival_costs_no_more_and_scores_as_much() -> None:
    trials = [told(0, Candidate(), 0.9, 900), told(1, candidate(bits=8), 0.8, 500), told(2, candidate(0.25), 0.82, 300)]
    found = screened(candidate(bits=4), trials)
    assert found.bound == pytest.approx(0.81)
    bound = found.predicted_bound(planned_costs(memory(300), 1))
    assert (bound.dominating, bound.source, bound.dominating_miou) == (2, 1, 0.82)
    assert found.predicted_bound(planned_costs(memory(299), 1)) is None
    tight = screened(candidate(bits=4), trials, options=ScreeningConfig(margin=0.03, audit=0.0))
    assert tight.predicted_bound(planned_costs(memory(300), 1)) is None


def test_an_infeasible_trial_bounds_but_is_no_rival() -> None:
    trials = [told(1, candidate(), 0.8, 500, feasible=False)]
    found = screened(candidate(bits=4), trials)
    assert found.source == 1
    assert found.predicted_bound(planned_costs(memory(600), 1)) is None


def test_a_third_cost_must_be_no_more_either() -> None:
    trials = [told(1, candidate(), 0.9, 500, macs=100)]
    found = screened(candidate(tiles=2), trials, ("peak_memory_mb", "macs"))
    assert found.predicted_bound(planned_costs(memory(500), 99)) is None
    assert found.predicted_bound(planned_costs(memory(500), 100)).dominating == 1


def test_a_bound_below_what_the_drop_allows_needs_no_rival() -> None:
    trials = [told(0, Candidate(), 0.9, 900), told(1, candidate(0.5), 0.7, 500)]
    found = screened(candidate(0.5, bits=4), trials, miou_drop=0.1)
    bound = found.predicted_bound(planned_costs(memory(1), 1))
    assert (bound.dominating, bound.dominating_miou) == (None, pytest.approx(0.8))
    assert screened(candidate(0.5, bits=4), trials, miou_drop=0.25).predicted_bound(planned_costs(memory(1), 1)) is None


def test_switched_off_nothing_is_foretold() -> None:
    trials = [told(0, Candidate(), 0.9, 100)]
    off = screened(candidate(), trials, options=ScreeningConfig(enabled=False))
    assert off.predicted_bound(planned_costs(memory(600), 1)) is None
    assert off.stop_scoring(trials[0].measurement.scores, 10, planned_costs(memory(600), 1)) is None


def test_a_share_is_audited_the_same_in_every_run() -> None:
    options = ScreeningConfig(audit=0.3)
    drawn = [screen(candidate(), number, [], ("macs",), options, None, 5).audited for number in range(400)]
    assert drawn == [screen(candidate(), number, [], ("macs",), options, None, 5).audited for number in range(400)]
    assert 80 < sum(drawn) < 160


def noisy(right: float, images: int, seed: int) -> Scores:
    hit = np.random.default_rng(seed).normal(right, 0.05, (images, 3)).clip(0, 1)
    confusions = np.zeros((images, 3, 3), np.int64)
    for c in range(3):
        confusions[:, c, c] = hits = (1000 * hit[:, c]).astype(int)
        confusions[:, c, (c + 1) % 3] = 1000 - hits
    return Scores.of([f"p{i}" for i in range(images)], confusions)


def test_the_upper_end_of_the_difference_errs_as_seldom_as_it_says() -> None:
    """Two networks of one quality: that the first looks surely worse on 12 images should happen once in a hundred."""
    wrong = sum(
        upper_difference(noisy(0.7, 12, 2 * n), noisy(0.7, 48, 2 * n + 1), confidence=0.99) < 0 for n in range(600)
    )
    assert wrong <= 18  # 600 draws of 0.01 to 0.02; the bootstrap of so few images is a little narrow
    assert upper_difference(noisy(0.5, 12, 1), noisy(0.7, 48, 2), confidence=0.99) < 0


def test_a_class_that_no_scored_image_shows_yet_does_not_count() -> None:
    dominating = scores(Candidate())
    part = dominating.subset(dominating.image_ids[:2], dominating.scored_classes)
    blank = np.array(part.confusions)
    blank[:, 3] = 0
    unseen = Scores.of(part.image_ids, blank, part.scored_classes)
    assert upper_difference(unseen, Scores.of(dominating.image_ids, dominating.confusions), 0.99) > -0.05


def test_interim_checks_are_at_shares_of_the_images() -> None:
    assert interim_checks(100) == [25, 50]
    assert interim_checks(20) == [8, 10]
    assert interim_checks(8) == []


def test_only_what_was_known_when_a_candidate_was_asked_weighs_against_it(config) -> None:
    """Also where the question is handed out again after a stop, when more is known."""
    settings = config("screening.enabled=true")
    search = Search(settings, None, SimpleNamespace(trials={}), None, None, None, None)
    search.told = {1: told(1, candidate(), 0.5, 100), 2: told(2, candidate(0.25), 0.9, 50)}
    *_, against = search.request_for(PendingTrial(3, candidate(0.5), 0, known=1)).arguments
    assert [dominating.number for dominating in against.front_trials] == [1]
