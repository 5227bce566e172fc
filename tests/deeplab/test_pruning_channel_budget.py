"""Which group gives channels: prices at the peak by hand, and the promises of a path on real plans."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.compression import Compression, compressed_shapes
from deeplab.network import fingerprint, parameters
from deeplab.pruning import channel_budget
from deeplab.pruning.channel_budget import PathStep, PruningPath, keep_for, narrowest, pruning_path
from deeplab.pruning.channels import with_widths
from deeplab.pruning.groups import channel_groups, take_channels
from deeplab.pruning.ranking import Ranking, ranked
from evaluation.errors import UserError
from evaluation.planner import plan
from tests.deeplab.tiny import random_network

NETWORK = mobilenet_v2_deeplab(input_height=192, input_width=256, classes=5, width_multiplier=0.35, aspp_width=64,
                            skip_width=16, decoder_width=64)  # fmt: skip
INT8 = Compression(weight_bits=8, activation_bits=8)


def planned(network, tile_count=1):
    graph = compressed_shapes(network, INT8)
    return graph, plan(graph, tile_count)


def even_rankings(network):
    return ranked({group.name: np.ones(group.channels) for group in channel_groups(network)})


@pytest.fixture(scope="module", autouse=True)
def large_rounds():
    """The planner is asked less often: tests need few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_budget, "ROUND", 1 / 20)
        yield


@pytest.fixture(scope="module")
def path():
    random = np.random.default_rng(0)
    rankings = ranked({group.name: random.uniform(size=group.channels) for group in channel_groups(NETWORK)})
    return pruning_path(NETWORK, rankings, planned, weight_bytes=1.0, until=0.5)


def test_a_path_narrows_and_ends_where_it_was_told_to(path):
    for before, after in pairwise(path.steps):
        counts = zip(before.removed, after.removed, strict=True)
        assert all(name == same and fewer <= more for (name, fewer), (same, more) in counts)
        assert before.removed != after.removed
    peaks = [step.peak_memory_bytes for step in path.steps]
    assert peaks[-1] <= 0.5 * peaks[0] < peaks[-2]


@pytest.mark.parametrize("saving", [0.0, 0.1, 0.33, 0.5])
def test_what_a_saving_keeps_is_planned_to_save_it(path, saving):
    peak = planned(take_channels(NETWORK, keep_for(path, saving)))[1].peak_memory_bytes
    assert peak == path.step_for(saving).peak_memory_bytes
    assert peak <= (1 - saving) * planned(NETWORK)[1].peak_memory_bytes


def test_the_reference_plan_may_be_in_tiles():
    """Where tiles have lowered the arena, weights are most of the memory: other groups give."""

    def end(tile_count):
        rankings = even_rankings(NETWORK)
        tiles = partial(planned, tile_count=tile_count)
        return pruning_path(NETWORK, rankings, tiles, weight_bytes=1.0, until=0.08).steps[-1]

    whole, tiled = end(1), end(4)
    assert tiled.peak_memory_bytes < whole.peak_memory_bytes
    assert dict(tiled.removed) != dict(whole.removed)


def test_more_saving_never_brings_a_channel_back(path):
    savings = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    for less, more in pairwise(savings):
        kept, fewer = keep_for(path, less), keep_for(path, more)
        assert all(set(fewer[name]) <= set(kept[name]) for name in kept)
    assert all((np.diff(indices) > 0).all() for indices in keep_for(path, 0.5).values())
    assert all(len(keep_for(path, 0.0)[ranking.group]) == len(ranking.order) for ranking in path.rankings)


def test_the_least_important_channels_of_a_group_go(path):
    for ranking in path.rankings:
        kept = keep_for(path, 0.4)[ranking.group]
        assert set(ranking.order[: len(ranking.order) - len(kept)]).isdisjoint(kept)


def test_every_group_keeps_its_floor():
    path = pruning_path(NETWORK, even_rankings(NETWORK), planned, weight_bytes=1.0, until=0.99)
    left = {group.name: group.channels - dict(path.steps[-1].removed)[group.name] for group in channel_groups(NETWORK)}
    assert left == {group.name: max(4, group.channels // 8) for group in channel_groups(NETWORK)}
    with pytest.raises(UserError, match="cannot save 98 % of the peak memory, only"):
        keep_for(path, 0.98)


def test_the_planner_is_asked_for_each_network_of_the_path_once():
    asked = []

    def answer(narrower):
        asked.append(narrower)
        return planned(narrower)

    rankings = even_rankings(NETWORK)
    path = pruning_path(NETWORK, rankings, answer, weight_bytes=1.0, until=0.3)
    assert asked[0] is NETWORK
    assert len({fingerprint(narrower) for narrower in asked}) == len(asked) == len(path.steps)
    for step, narrower in zip(path.steps, asked, strict=True):
        widths = {name: len(rankings[name].order) - count for name, count in step.removed}
        assert fingerprint(narrower) == fingerprint(with_widths(NETWORK, widths))


def test_the_first_chunk_is_cheap_and_alive_at_the_peak(monkeypatch):
    monkeypatch.setattr(channel_budget, "ROUND", 1e-6)

    def first(costs):
        step = pruning_path(NETWORK, ranked(costs), planned, weight_bytes=0.0, until=1e-6).steps[1]
        return {name: count for name, count in step.removed if count}

    graph, whole = planned(NETWORK)
    alive = {graph.tensors[whole.buffers[index].tensors[0]].name for index in whole.high_water_buffers}
    assert {"block_1/expand", "block_1/depthwise"} <= alive
    costs = {group.name: np.ones(group.channels) for group in channel_groups(NETWORK)}
    assert first(costs) == {"block_1/expand": 3}  # a 16th of 48
    costs["block_1/expand"] *= 1e6
    assert "block_1/expand" not in first(costs)


def test_worth_is_what_the_planner_says_a_channel_saves(monkeypatch):
    """As the temperature falls, prices gather at the peak: where one step stands alone there, worth is a difference of
    plans."""
    monkeypatch.setattr(channel_budget, "TEMPERATURE", 1e-4)
    graph, whole = planned(NETWORK)
    worth = channel_budget.channel_worth(NETWORK, graph, whole, weight_bytes=0.0)
    for group in channel_groups(NETWORK):
        keep = {group.name: np.arange(group.channels - 1)}
        saved = whole.lower_bound_bytes - planned(take_channels(NETWORK, keep))[1].lower_bound_bytes
        assert saved == pytest.approx(worth[group.name], abs=64), group.name  # buffers are whole units of 16 bytes
    assert max(worth.values()) > 1000


def test_weights_of_a_channel_are_what_the_cut_removes():
    whole = random_network(NETWORK)
    for group in channel_groups(NETWORK):
        narrow = take_channels(whole, {group.name: np.arange(group.channels - 1)})
        biases = len(group.writers) + len(group.depthwise)
        assert parameters(whole) - parameters(narrow) == channel_budget.weights_a_channel(NETWORK, group) + biases


def test_groups_tied_at_the_peak_give_by_turns():
    """Two decoder steps of equal size: lowering one alone saves nothing, yet a path past the tie is found."""
    path = pruning_path(NETWORK, even_rankings(NETWORK), planned, weight_bytes=0.0, until=0.4)
    assert path.steps[-1].peak_memory_bytes <= 0.6 * path.reference_bytes
    assert sum(1 for _, count in path.steps[-1].removed if count) >= 3


def test_a_saving_is_the_first_step_that_reaches_it():
    steps = tuple(PathStep((("a", n),), peak) for n, peak in enumerate((100, 90, 95, 60)))
    path = PruningPath((Ranking("a", (2, 0, 1, 3), (1.0, 1.0, 1.0, 1.0)),), steps)
    assert [path.step_for(saving).removed[0][1] for saving in (0.0, 0.05, 0.1, 0.11, 0.4)] == [0, 1, 1, 3, 3]
    assert keep_for(path, 0.4)["a"].tolist() == [3]
    assert keep_for(path, 0.1)["a"].tolist() == [0, 1, 3]


def test_the_narrowest_network_is_where_every_path_ends(monkeypatch):
    monkeypatch.setattr(channel_budget, "ROUND", 1 / 4)
    random = np.random.default_rng(1)
    rankings = ranked({group.name: random.uniform(size=group.channels) for group in channel_groups(NETWORK)})
    whole = pruning_path(NETWORK, rankings, planned, weight_bytes=1.0)
    kept = {ranking.group: ranking.kept(dict(whole.steps[-1].removed)[ranking.group]) for ranking in whole.rankings}
    assert fingerprint(narrowest(NETWORK)) == fingerprint(take_channels(NETWORK, kept))
