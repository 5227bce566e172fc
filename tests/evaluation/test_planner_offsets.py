"""Offsets: images a person can solve, every order tried, perfect packings, and real buffer lists."""

import itertools
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.rectangles import HEIGHT_BYTES, STEPS, cut_rectangle
from evaluation.planner.placement import Block, Placement, load_bytes, place, placement_fault
from evaluation.planner.placement.anytime import minimise
from evaluation.planner.placement.first_fit import first_placement
from evaluation.planner.placement.greedy import best_greedy, neighbours_in_time, pairs_in_time
from evaluation.planner.placement.problem import problem_of
from evaluation.planner.show.buffers_csv import read_buffers

# More than any search of the small cases here takes, so that each is decided.
PLENTY = 200_000


def overlaps(blocks, offsets):
    return [
        (i, j)
        for i, a in enumerate(blocks)
        for j, b in enumerate(blocks[:i])
        if max(a.lower, b.lower) < min(a.upper, b.upper)
        if offsets[i] < offsets[j] + b.size_bytes and offsets[j] < offsets[i] + a.size_bytes
    ]


def height(blocks, offsets):
    used = [o + b.size_bytes for b, o in zip(blocks, offsets, strict=True) if b.size_bytes and b.lower < b.upper]
    return max(used, default=0)


def greedy(blocks):
    size = [block.size_bytes for block in blocks]
    return best_greedy(blocks, size, neighbours_in_time(blocks, size), load_bytes(blocks)).height


def least_height(blocks):
    """Of all orders, each block laid on top of those before it that share its time: one of them is the best."""
    best = None
    for order in itertools.permutations(range(len(blocks))):
        top = {}
        for i in order:
            under = [top[j] for j in top if blocks[j].lower < blocks[i].upper and blocks[i].lower < blocks[j].upper]
            top[i] = max(under, default=0) + blocks[i].size_bytes
        best = min(max(top.values()), best or 1 << 60)
    return best


IMAGES = [
    ([(0, 2, 4)], 4),
    ([(0, 2, 4), (2, 3, 4)], 4),  # one after the other: the same place
    ([(0, 2, 4), (1, 3, 4)], 8),
    ([(0, 2, 4), (1, 3, 2), (2, 4, 4)], 6),  # the middle one must not be in the way
    ([(0, 3, 1), (0, 1, 3), (1, 3, 2), (2, 4, 3)], 6),
    ([(0, 1, 2), (0, 3, 1), (2, 5, 2), (4, 5, 1), (1, 2, 2)], 3),
]


@pytest.mark.parametrize("node_limit", [0, PLENTY])
@pytest.mark.parametrize(("image", "expected"), IMAGES)
def test_small_images_are_solved(image, expected, node_limit):
    blocks = [Block(*block) for block in image]
    placement = place(blocks, node_limit=node_limit)
    assert placement.height_bytes == expected
    assert not overlaps(blocks, placement.offsets)
    assert placement.load_bytes == load_bytes(blocks)
    if node_limit:
        assert placement.proven


def test_a_height_above_the_load_is_proven_by_search():
    """At most 7 at any time, and yet nothing below 8: all 40,320 orders say so."""
    lives = [(3, 5, 2), (2, 5, 2), (5, 9, 3), (4, 7, 3), (1, 3, 3), (2, 4, 2), (5, 6, 1), (1, 2, 3)]
    blocks = [Block(*life) for life in lives]
    placement = place(blocks, node_limit=PLENTY)
    assert placement.load_bytes == 7
    assert placement.height_bytes == placement.bound_bytes == least_height(blocks) == 8
    assert placement.proven
    # Heuristics alone cannot know.
    assert not place(blocks).proven


small_blocks = st.lists(
    st.builds(
        lambda lower, life, size: Block(lower, lower + life, size),
        st.integers(0, 6), st.integers(1, 5), st.integers(1, 7),
    ),
    min_size=1, max_size=7,
)  # fmt: skip


@given(small_blocks)
@settings(max_examples=300, deadline=None)
def test_exact_search_agrees_with_every_order(blocks):
    """The search alone, without the greedy start: it finds the least height, and proves that nothing is lower."""
    least = least_height(blocks)
    problem = problem_of(blocks, [block.size_bytes for block in blocks])
    unit = problem.unit
    found = minimise(problem, 10**6, -(-load_bytes(blocks) // unit), node_limit=PLENTY)
    assert found.height * unit == found.bound * unit == least
    placed = dict(zip(problem.source, (found.offsets * unit).tolist(), strict=True))
    offsets = [placed[i] for i in range(len(blocks))]
    assert not overlaps(blocks, offsets)
    assert height(blocks, offsets) == least
    # Below that nothing is to be found, and it says so.
    below = minimise(problem, least // unit, 0, node_limit=PLENTY)
    assert below.offsets is None
    assert below.height * unit == below.bound * unit == least


blocks_strategy = st.lists(
    st.builds(
        lambda lower, life, size: Block(lower, lower + life, size),
        st.integers(0, 20), st.integers(0, 8), st.integers(0, 100),
    ),
    max_size=20,
)  # fmt: skip


@given(
    blocks=blocks_strategy,
    offsets=st.lists(st.integers(-1, 150), min_size=20, max_size=20),
    capacity=st.integers(0, 300),
)
def test_the_check_of_a_placement_agrees_with_every_pair(blocks, offsets, capacity):
    offsets = offsets[: len(blocks)]
    used = [(o, o + b.size_bytes) for o, b in zip(offsets, blocks, strict=True) if b.size_bytes and b.lower < b.upper]
    is_true = not overlaps(blocks, offsets) and all(start >= 0 and end <= capacity for start, end in used)
    assert (placement_fault(blocks, offsets, capacity) is None) == is_true


def test_a_placement_without_an_offset_for_each_block_is_false():
    assert placement_fault([Block(0, 1, 1)], [], 9) == "0 offsets for 1 buffers"


@given(blocks_strategy, st.integers(0, 20))
def test_a_first_placement_is_valid_however_early_time_runs_out(blocks, looks):
    many = [Block(b.lower, b.upper, b.size_bytes + i % 7) for i in range(12) for b in blocks]
    left = iter(range(looks))
    found = first_placement(many, [b.size_bytes for b in many], lambda: next(left, None) is None)
    assert placement_fault(many, found.offsets, found.height) is None
    assert load_bytes(many) <= found.height <= sum(b.size_bytes for b in many)


@given(blocks_strategy)
def test_pairs_in_time_are_counted_right(blocks):
    alive = [Block(b.lower, b.upper + 1, 1) for b in blocks]
    assert pairs_in_time(alive) == sum(map(len, neighbours_in_time(alive, [1] * len(alive))))


def test_a_height_below_its_bound_cannot_be():
    with pytest.raises(ValueError, match="below its bound"):
        Placement((0,), 3, 4, 4)


@given(small_blocks, st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_a_capacity_is_met_or_proven_out_of_reach(blocks, capacity):
    least = least_height(blocks)
    placement = place(blocks, moves=0, node_limit=PLENTY, capacity_bytes=capacity)
    assert not overlaps(blocks, placement.offsets)
    assert (placement.height_bytes <= capacity) == (least <= capacity)
    assert (placement.bound_bytes > capacity) == (least > capacity)
    assert placement.bound_bytes <= least <= placement.height_bytes


@pytest.mark.parametrize("node_limit", [0, 2000])
@given(blocks=blocks_strategy, alignment=st.sampled_from([1, 4, 16]))
@settings(deadline=None)
def test_nothing_overlaps_and_everything_is_aligned(node_limit, blocks, alignment):
    placement = place(blocks, alignment, moves=200, node_limit=node_limit)
    assert not overlaps(blocks, placement.offsets)
    assert all(offset % alignment == 0 for offset in placement.offsets)
    rounded = [Block(b.lower, b.upper, -(-b.size_bytes // alignment) * alignment) for b in blocks]
    assert placement.load_bytes == load_bytes(rounded)
    assert placement.height_bytes == height(rounded, placement.offsets)
    assert placement.height_bytes >= placement.bound_bytes >= placement.load_bytes
    assert placement.height_bytes <= greedy(rounded)


@given(blocks_strategy)
def test_load_is_the_largest_sum_over_time(blocks):
    slow = max((sum(b.size_bytes for b in blocks if b.lower <= t < b.upper) for t in range(30)), default=0)
    assert load_bytes(blocks) == slow


@given(st.integers(20, 80), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_boxes_of_a_cut_rectangle_fill_it(count, seed):
    blocks = cut_rectangle(count, 1.0, seed)
    assert sum((b.upper - b.lower) * b.size_bytes for b in blocks) == STEPS * HEIGHT_BYTES
    assert load_bytes(blocks) == HEIGHT_BYTES


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kept", [1.0, 0.9])
def test_cut_rectangles_are_packed_again(kept, seed):
    """No byte to waste where all boxes are kept; greedy orders end 20 to 40 % above."""
    blocks = cut_rectangle(60, kept, seed)
    placement = place(blocks, moves=0, node_limit=PLENTY, capacity_bytes=HEIGHT_BYTES)
    assert placement.height_bytes <= HEIGHT_BYTES < greedy(blocks)
    assert not overlaps(blocks, placement.offsets)


@pytest.mark.parametrize("kept", [1.0, 0.8])
def test_small_tight_packings_are_never_called_infeasible(kept):
    """Packings without a unit to waste, of few units: where a rule of the search cuts too much, its proof is wrong."""
    for seed in range(1500):
        blocks = cut_rectangle(8 + seed % 8, kept, seed, steps=8, height_bytes=10, grain_bytes=1)
        problem = problem_of(blocks, [block.size_bytes for block in blocks])
        found = minimise(problem, 10**6, 0, 10 // problem.unit, node_limit=PLENTY)
        assert found.height * problem.unit <= 10, (seed, blocks)
        assert found.bound * problem.unit <= 10, (seed, blocks)


@pytest.mark.parametrize("node_limit", [1, 100, 3000])
def test_same_nodes_same_offsets_never_worse_than_greedy(node_limit):
    blocks = cut_rectangle(150, 0.9, 7)
    first = place(blocks, moves=20, node_limit=node_limit)
    assert first == place(blocks, moves=20, node_limit=node_limit)
    assert first.height_bytes <= greedy(blocks)
    assert not overlaps(blocks, first.offsets)


@pytest.mark.parametrize("timeout_s", [0.0, 0.05, 0.5])
def test_no_time_limit_is_worse_than_greedy(timeout_s):
    blocks = cut_rectangle(300, 1.0, 1)
    placement = place(blocks, timeout_s=timeout_s)
    assert placement.bound_bytes <= placement.height_bytes <= greedy(blocks)
    assert not overlaps(blocks, placement.offsets)


def test_blocks_across_their_whole_part_lie_at_its_bottom():
    """A pyramid is all bottoms, part after part: nothing is left to search, however deep."""
    blocks = [Block(i, 4000 - i, 1 + i % 3) for i in range(1500)]
    problem = problem_of(blocks, [block.size_bytes for block in blocks])
    assert problem.parts == ()
    offsets = problem.floor.tolist()
    assert offsets == list(itertools.accumulate([b.size_bytes for b in blocks[:-1]], initial=0))


def test_parts_are_divided_where_nothing_lives_across():
    blocks = [Block(0, 9, 5), Block(0, 2, 1), Block(1, 3, 1), Block(3, 5, 1), Block(4, 6, 1)]
    problem = problem_of(blocks, [block.size_bytes for block in blocks])
    assert [part.blocks for part in problem.parts] == [(1, 2), (3, 4)]
    assert problem.floor.tolist() == [0, 5, 5, 5, 5]


def test_what_greedy_proves_needs_no_compiled_code():
    """A plan of a small network must stay in milliseconds."""
    code = (
        "import sys; from evaluation.planner.placement import Block, place\n"
        "assert place([Block(0, 2, 4), Block(1, 3, 2), Block(2, 4, 4)], timeout_s=5.0).proven\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def read(path):
    return [buffer.block for buffer in read_buffers(path)]


@pytest.mark.parametrize(
    ("name", "bound_mib"),
    [
        ("pl20_mobilenet_v1_224_f32", 4.594),
        ("pl20_mobilenet_v2_224_f32", 5.742),
        ("pl20like_deeplab_v3_257_dm05_f32", 4.320),
        ("pl20like_inception_v3_299_f32", 7.913),
        ("pl20like_posenet_mv1_075_353x257_f32", 6.271),
    ],
)
@pytest.mark.parametrize("node_limit", [0, PLENTY])
def test_published_networks_reach_their_bound(shared, name, bound_mib, node_limit):
    blocks = read(shared(f"planner_cases/offsets/{name}.csv"))
    placement = place(blocks, node_limit=node_limit)
    assert round(placement.load_bytes / 2**20, 3) == bound_mib
    assert placement.proven
    assert placement.bound_bytes == placement.load_bytes
    assert not overlaps(blocks, placement.offsets)


def test_untiled_deeplab_reaches_its_bound(shared):
    placement = place(read(shared("planner_cases/offsets/dlv3plus_mnv2_513_os16_int8.csv")))
    assert round(placement.load_bytes / 1e6, 2) == 10.12
    assert placement.proven


@pytest.mark.parametrize(
    ("letter", "capacity"),
    [(letter, 1_048_576) for letter in "ACEGIK"] + [("C", 1_039_360)],
)
def test_hard_cases_are_solved_at_capacity(shared, letter, capacity):
    """Greedy orders alone end 17-40 % above the bound; MiniMalloc (C++) takes 1 to 9 s each (SOURCE.txt)."""
    blocks = read(shared(f"planner_cases/offsets/minimalloc_{letter}.csv"))
    placement = place(blocks, moves=0, node_limit=PLENTY, capacity_bytes=capacity)
    assert not overlaps(blocks, placement.offsets)
    assert placement.height_bytes == height(blocks, placement.offsets) <= capacity < 1.17 * greedy(blocks)
    assert placement.load_bytes == (1_039_360 if letter == "C" else 1_048_576)
    if capacity == placement.load_bytes:
        assert placement.proven


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_larger_cut_rectangles_are_packed_again(seed):
    """Harder than the published cases: no byte to waste in 150 boxes."""
    blocks = cut_rectangle(150, 1.0, seed)
    placement = place(blocks, timeout_s=30.0, capacity_bytes=HEIGHT_BYTES)
    assert placement.proven
    assert not overlaps(blocks, placement.offsets)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "kept"), [(300, 0.8), (400, 0.8), (500, 0.7)])
@pytest.mark.parametrize("seed", range(4))
def test_long_lists_with_room_are_solved(count, kept, seed):
    """Lists as long as the published ones, a fifth or more of the room to spare."""
    blocks = cut_rectangle(count, kept, seed)
    placement = place(blocks, timeout_s=30.0, capacity_bytes=HEIGHT_BYTES)
    assert placement.height_bytes <= HEIGHT_BYTES < greedy(blocks)
    assert not overlaps(blocks, placement.offsets)
