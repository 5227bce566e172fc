"""The space: every point once, the float network once, names people can read."""

import pytest

from deeplab.compression import Compression
from sweeps.space import BASELINE, Candidate, Space

SPACE = Space(("channels", "magnitude"), (0.5, 0.0), (32, 8, 4), (8, 16, 32), (4, 1))


def test_candidates_are_distinct_and_counted_by_hand() -> None:
    # (channels 0, channels .5, magnitude .5) x (4, 8 bits x 8, 16 bits, float) x (1, 4 tiles); magnitude 0 = channels 0
    candidates = SPACE.candidates()
    assert len(candidates) == len(set(candidates)) == 3 * (2 * 2 + 1) * 2
    assert BASELINE in candidates
    assert all(not c.compression.is_float or c.compression.activation_bits == 32 for c in candidates)


def test_two_of_four_is_one_sparsity() -> None:
    space = Space(("channels", "2:4"), (0.0, 0.25, 0.5), (8,), (8,), (1,))
    pruned = [c.compression for c in space.candidates() if c.compression.pruning == "2:4"]
    assert pruned == [Compression("2:4", 0.5, 8, 8)]
    assert space.candidate("2:4", 0.0, 8, 8, 1) == space.candidate("channels", 0.0, 8, 8, 1)
    assert str(space.candidate("2:4", 0.25, 8, 8, 1)) == "2:4, w8 a8, 1 tile"
    with pytest.raises(ValueError, match=r"2:4 pruning has sparsity 0\.5, got 0\.75"):
        Compression("2:4", 0.75)


def test_smallest_is_the_corner() -> None:
    assert SPACE.smallest() == Candidate(Compression("channels", 0.5, 4, 8), 4)


def test_params_round_trip() -> None:
    for candidate in SPACE.candidates():
        assert Candidate.from_params(candidate.as_params()) == candidate


def test_names() -> None:
    assert str(Candidate(Compression("channels", 0.25, 8, 8), 4)) == "channels 25 %, w8 a8, 4 tiles"
    assert str(Candidate(Compression("channels", 0.125, 4, 16), 2)) == "channels 12.5 %, w4 a16, 2 tiles"
    assert str(BASELINE) == "unpruned, float, 1 tile"


def test_no_tile_is_no_candidate() -> None:
    with pytest.raises(ValueError, match="tile_count"):
        Candidate(tile_count=0)
