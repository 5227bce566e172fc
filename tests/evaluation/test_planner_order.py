"""The least-peak order against every order there is, and on graphs that a person can solve."""

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.planner.order.least_peak import Node, least_peak_order

NONE = frozenset()


def node(touches, after=(), scratch=0):
    return Node(frozenset(touches), frozenset(after), scratch)


def peak_of(sequence, nodes, size_bytes, at_start, at_end):
    """The peak by its definition, storage by storage."""
    sums = [nodes[index].scratch_bytes for index in sequence]
    for storage, size in enumerate(size_bytes):
        places = [place for place, index in enumerate(sequence) if storage in nodes[index].touches]
        first = 0 if storage in at_start else min(places, default=len(sequence))
        last = len(sequence) - 1 if storage in at_end else max(places, default=-1)
        if not places and not (storage in at_start and storage in at_end):
            continue
        for place in range(first, last + 1):
            sums[place] += size
    return max(sums, default=0)


def every_order(nodes, chosen=()):
    if len(chosen) == len(nodes):
        yield chosen
    for index, candidate in enumerate(nodes):
        if index not in chosen and candidate.after <= set(chosen):
            yield from every_order(nodes, (*chosen, index))


def random_problem(rng, nodes, *, wiring=2, extra=2):
    """A data flow: each node writes a storage of its own and reads some written before; next to it storages that
    several nodes touch, of which order says nothing."""
    listed, sizes = [], [rng.choice([0, 1, 3, 5, 8]) for _ in range(nodes + 1 + extra)]
    for index in range(nodes):
        sources = {rng.randint(0, index) for _ in range(rng.randint(1, wiring))}  # 0 is the input, k + 1 is node k's
        touches = {index + 1} | sources
        if extra and rng.random() < 0.3:
            touches.add(nodes + 1 + rng.randrange(extra))
        listed.append(node(touches, {source - 1 for source in sources if source}, rng.choice([0, 0, 0, 2])))
    storages = range(len(sizes))
    at_start = frozenset({0} | {s for s in storages if rng.random() < 0.1})
    at_end = frozenset(s for s in storages if rng.random() < 0.15)
    return listed, sizes, at_start, at_end


def check_against_every_order(problem):
    found = least_peak_order(*problem)
    assert found.proven
    assert found.sequence in set(every_order(problem[0]))
    assert found.peak_bytes == peak_of(found.sequence, *problem)
    assert found.peak_bytes == min(peak_of(sequence, *problem) for sequence in every_order(problem[0]))
    given_order = tuple(range(len(problem[0])))
    if peak_of(given_order, *problem) == found.peak_bytes:
        assert found.sequence == given_order


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 7), st.integers(1, 3))
def test_no_order_of_a_small_graph_is_better(seed, nodes, wiring):
    check_against_every_order(random_problem(random.Random(seed), nodes, wiring=wiring))


@pytest.mark.slow
def test_no_order_of_thousands_of_small_graphs_is_better():
    for seed in range(4000):
        rng = random.Random(seed)
        check_against_every_order(random_problem(rng, rng.randint(5, 8), wiring=rng.randint(1, 4)))


def test_the_branch_that_shrinks_goes_first():
    """input 10 -> a 10 -> a' 1 and input -> b 10 -> b' 1, then both joined: 10 + 10 + 1 while the second runs."""
    sizes = [10, 10, 1, 10, 1, 1]
    nodes = [
        node({0, 1}),
        node({0, 3}),
        node({1, 2}, {0}),
        node({3, 4}, {1}),
        node({2, 4, 5}, {2, 3}),
    ]
    found = least_peak_order(nodes, sizes, frozenset({0}), frozenset({5}))
    assert (found.sequence, found.peak_bytes, found.proven) == ((0, 2, 1, 3, 4), 21, True)
    assert peak_of(range(5), nodes, sizes, {0}, {5}) == 30


def test_a_skip_connection_is_narrowed_before_the_deep_branch():
    """The decoder's projection of a wide skip, written last in the file, moves before the encoder goes on."""
    sizes = [24, 6, 6, 6, 2, 8]
    nodes = [
        node({0, 1}),  # encoder from the skip
        node({1, 2}, {0}),
        node({2, 3}, {1}),
        node({0, 4}),  # the projection
        node({3, 4, 5}, {2, 3}),
    ]
    found = least_peak_order(nodes, sizes, frozenset({0}), frozenset({5}))
    assert found.sequence.index(3) < 2
    assert (found.peak_bytes, found.proven) == (24 + 6 + 2, True)


def test_hills_and_valleys():
    """Two chains from one input: one climbs to 9 and rests at 1, one climbs to 5 and rests at 4 (Liu, 1987): the higher
    hill goes first, since its valley is lower."""
    sizes = [0, 5, 4, 9, 1, 0]
    nodes = [node({1}), node({1, 2}, {0}), node({3}), node({3, 4}, {2}), node({2, 4, 5}, {1, 3})]
    found = least_peak_order(nodes, sizes, NONE, NONE)
    assert (found.sequence, found.peak_bytes, found.proven) == ((2, 3, 0, 1, 4), 10, True)


def test_scratch_counts_where_its_node_runs():
    sizes = [4, 4, 1]
    nodes = [node({0, 1}), node({0, 2}, (), 6), node({1, 2}, {0, 1})]
    assert least_peak_order(nodes, sizes, frozenset({0}), NONE).peak_bytes == 11  # the scratch while 0 and 2 are alive
    assert least_peak_order(nodes, sizes, frozenset({0}), NONE).sequence == (1, 0, 2)


def test_what_outlives_the_run_is_alive_in_all_of_it():
    nodes = [node({0}), node({1}, {0}), node({2}, {1})]
    sizes = [5, 7, 3, 100]
    assert least_peak_order(nodes, sizes, NONE, NONE).peak_bytes == 7
    assert least_peak_order(nodes, sizes, frozenset({2}), frozenset({0})).peak_bytes == 15
    assert least_peak_order(nodes, sizes, frozenset({3}), frozenset({3})).peak_bytes == 107


def test_nothing_and_sizes_of_nothing():
    assert least_peak_order([], [], NONE, NONE).sequence == ()
    nodes = [node({0}), node({1}), node({0, 1}, {0, 1})]
    found = least_peak_order(nodes, [0, 0], NONE, NONE)
    assert (found.sequence, found.peak_bytes, found.proven) == ((0, 1, 2), 0, True)


def test_a_given_order_that_cannot_run_is_refused():
    with pytest.raises(ValueError, match="node 0 must run after"):
        least_peak_order([node({0}, {1}), node({0})], [1], NONE, NONE)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_pieces_are_as_good_as_the_whole(seed, count):
    """Graphs joined end to end, each piece's nodes after all of the one before, against the search without pieces: a
    node next to everything, which touches nothing, leaves no downset that every order passes through."""
    rng = random.Random(seed)
    nodes, sizes, start, end = [], [], set(), set()
    for _ in range(count):
        more, more_sizes, more_start, more_end = random_problem(rng, rng.randint(1, 5))
        first, shift = len(nodes), len(sizes)
        for entry in more:
            touches, after = {s + shift for s in entry.touches}, {v + first for v in entry.after}
            nodes.append(node(touches, after | set(range(first)), entry.scratch_bytes))
        sizes += more_sizes
        start |= {s + shift for s in more_start}
        end |= {s + shift for s in more_end}
    whole = least_peak_order([*nodes, node(())], sizes, frozenset(start), frozenset(end))
    found = least_peak_order(nodes, sizes, frozenset(start), frozenset(end))
    assert found.proven
    assert whole.proven
    assert found.peak_bytes == whole.peak_bytes == peak_of(found.sequence, nodes, sizes, start, end)


@pytest.mark.parametrize("seed", range(6))
def test_the_fallback_is_honest(seed):
    """Few states: never worse than the given order, never better than the proven one, proven only if equal to it."""
    problem = random_problem(random.Random(seed), 24, wiring=2, extra=0)
    best = least_peak_order(*problem)
    given_peak = peak_of(range(24), *problem)
    assert best.proven
    assert best.peak_bytes < given_peak
    for states in (0, 1, 10, 100):
        found = least_peak_order(*problem, max_states=states)
        assert best.peak_bytes <= found.peak_bytes <= given_peak
        assert found.peak_bytes == peak_of(found.sequence, *problem)
        assert not found.proven or found.peak_bytes == best.peak_bytes


def test_the_fallback_does_not_claim_what_it_did_not_prove():
    problems = [random_problem(random.Random(seed), 24, wiring=2, extra=0) for seed in range(6)]
    assert not all(least_peak_order(*problem, max_states=1).proven for problem in problems)


def test_free_moves_keep_parallel_branches_out_of_the_search():
    """Twelve branches that climb and then shrink, 4^12 downsets, next to two that decide the peak: 200 then 100; the
    second must run next to the 100 that the first has left."""
    sizes, nodes = [], []
    for depth in range(3):
        for branch in range(12):
            source, after = (branch, ()) if depth == 0 else (12 * depth + branch, {12 * (depth - 1) + branch})
            nodes.append(node({source, 12 * (depth + 1) + branch}, after))
    for width in (5, 30, 20, 3):
        sizes += [width] * 12
    sizes += [200, 100, 200, 100]
    nodes += [node({48}), node({50}), node({48, 49}, {36}), node({50, 51}, {37}), node({49, 51}, {38, 39})]
    problem = nodes, sizes, frozenset(range(12)), frozenset(range(36, 48))
    found = least_peak_order(*problem, max_states=100)
    assert found.proven
    assert found.peak_bytes == peak_of(found.sequence, *problem) == 12 * 3 + 100 + 200 + 100


def lines_run(function, *arguments):
    """What a function returns, and how many lines of Python that took, those of what it calls included."""
    lines, former = 0, sys.gettrace()

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    sys.settrace(count)
    try:
        result = function(*arguments)
    finally:
        sys.settrace(former)
    return result, lines


def test_a_long_chain_takes_few_steps_and_is_left_as_it_is():
    rng = random.Random(0)
    lines = {}
    for length in (80, 160):
        sizes = [rng.randint(1, 1000) for _ in range(length + 1)]
        nodes = [node({i, i + 1}, {i - 1} if i else ()) for i in range(length)]
        found, lines[length] = lines_run(least_peak_order, nodes, sizes, frozenset({0}), frozenset({length}))
        assert found.sequence == tuple(range(length))
        assert found.proven
    assert lines[80] < 40_000  # 7,400, half a millisecond
    assert lines[160] < 2.5 * lines[80], "its steps grow faster than the chain"
