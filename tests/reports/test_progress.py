"""The growth of the hypervolume is that of the trials so far, and importance finds what was built in."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reports.front import FrontPoint, hypervolume
from reports.importance import importance, searched_levels
from reports.progress import growth, hypervolumes
from reports.record import State

POINTS = st.lists(
    st.one_of(st.none(), st.tuples(st.integers(0, 8), st.integers(1, 12)).map(lambda p: FrontPoint(0, p[0] / 8, p[1]))),
    max_size=10,
)


@given(POINTS)
def test_each_entry_is_the_hypervolume_of_the_points_so_far(points) -> None:
    found = hypervolumes(points, 10.0)
    for count in range(1, len(points) + 1):
        known = [point for point in points[:count] if point is not None]
        assert abs(found[count - 1] - hypervolume(known, 10.0)) < 1e-12


def test_growth_follows_the_clock_and_ends_at_the_reports_figure(study) -> None:
    record = study(*[State.COMPLETE] * 4, State.FAILED)
    reference = record.baseline.measurement.memory.peak_memory_bytes
    seen = growth(record)
    assert seen.trials == (1, 2, 3, 4, 5)
    assert seen.seconds == (10.0, 12.0, 14.0, 16.0, 18.0)
    assert list(seen.shares) == sorted(seen.shares)
    assert abs(seen.shares[-1] - hypervolume(record.feasible_points(), reference)) < 1e-12
    late = replace(record, trials=tuple(replace(t, finished_s=100.0 - t.number) for t in record.trials))
    assert growth(late).seconds == (96.0, 97.0, 98.0, 99.0, 100.0)
    untimed = replace(record, trials=tuple(replace(t, finished_s=None) for t in record.trials))
    assert growth(untimed).seconds is None
    assert growth(replace(record, trials=record.trials[1:])) is None


def test_importance_goes_to_what_moves_the_figure(study) -> None:
    """Memory of these trials falls with the tiles alone, accuracy with sparsity alone."""
    record = study(State.COMPLETE)
    base = record.trials[0]
    trials = []
    for number in range(24):
        sparsity, tiles = (number % 4) / 8, 2 ** (number // 4 % 3)
        scores = base.measurement.scores
        confusions = scores.confusions.copy()
        lost = confusions[:, 0, 0] * sparsity
        confusions[:, 0, 0] -= lost.astype(int)
        confusions[:, 0, 1] += lost.astype(int)
        memory = replace(base.measurement.memory, peak_memory_bytes=1_000_000 // tiles)
        measured = replace(base.measurement, scores=replace(scores, confusions=confusions), memory=memory)
        params = {"pruning": "channels", "sparsity": sparsity, "weight_bits": 8, "activation_bits": 8}
        trials.append(replace(base, number=number, params=params | {"tile_count": tiles}, measurement=measured))
    record = replace(record, trials=tuple(trials))
    assert searched_levels(record) == {"sparsity": [0.0, 0.125, 0.25, 0.375], "tile_count": [1, 2, 4]}
    shares = importance(record)
    assert shares.miou["sparsity"] > 0.9
    assert shares.memory["tile_count"] > 0.9
    assert importance(replace(record, trials=record.trials[:9])) is None


def test_a_stage_without_bits_of_its_own_counts_with_the_backbones(study) -> None:
    record = study(State.COMPLETE, State.COMPLETE)
    first, second = record.trials
    second = replace(second, params=dict(second.params) | {"aspp_weight_bits": 4})
    levels = searched_levels(replace(record, trials=(first, second)))
    assert levels["aspp_weight_bits"] == [4, 32]
