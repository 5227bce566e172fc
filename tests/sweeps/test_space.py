"""The space: every point once, the float network once, names people can read."""

import json

import pytest

from deeplab.compression import Compression
from deeplab.stages import STAGES
from sweeps.config.space import BASELINE, Candidate, Space

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


STAGED = Space(
    ("channels",), (0.0,), (32, 8, 4), (8, 6, 16, 32), (2, 1), aspp_weight_bits=(8, 4), decoder_activation_bits=(8, 6)
)


def test_a_space_without_stages_is_searched_in_the_order_it_always_was() -> None:
    by_hand = []
    for pruning in ("channels", "magnitude"):
        for sparsity in (0.0, 0.5):
            for weights in (4, 8, 32):
                for activations in (8, 16):
                    for tiles in (1, 4):
                        method = pruning if sparsity else "channels"
                        bits = (weights, 32 if weights == 32 else activations)
                        by_hand.append(Candidate(Compression(method, sparsity, *bits), tiles))
    assert list(SPACE.candidates()) == list(dict.fromkeys(by_hand))
    assert list(SPACE.levels()) == ["pruning", "sparsity", "weight_bits", "activation_bits", "tile_count"]
    assert list(BASELINE.as_params()) == list(SPACE.levels())


def test_stages_multiply_the_space_and_no_network_is_in_it_twice() -> None:
    # 2 weights x (6, 8 bits x 2 of the decoder, or 16) x 2 of the ASPP x 2 tiles, and float in 1 and 2 tiles
    candidates = STAGED.candidates()
    assert len(candidates) == len(set(candidates)) == 2 * (2 * 2 + 1) * 2 * 2 + 2

    def every_width(candidate: Candidate) -> tuple[object, ...]:
        bits = candidate.compression.bits
        if bits is None:
            return ("float", candidate.tile_count)
        weights = tuple(bits.weights_of(stage) for stage in STAGES)
        return (*weights, *(bits.activations_of(stage) for stage in STAGES), candidate.tile_count)

    assert len({every_width(candidate) for candidate in candidates}) == len(candidates)
    assert all(candidate == candidate.canonical for candidate in candidates)
    assert STAGED.smallest() == Candidate(Compression("channels", 0.0, 4, 6), 2)
    assert list(STAGED.levels()) == [
        "pruning", "sparsity", "weight_bits", "activation_bits", "aspp_weight_bits", "decoder_activation_bits",
        "tile_count",
    ]  # fmt: skip


def test_a_stage_that_repeats_the_backbone_has_no_name_of_its_own() -> None:
    said = Compression("magnitude", 0.0, 4, 8, 4, 8, 8, 6, edge_weight_bits=8)
    assert Candidate(said, 2).canonical == Candidate(
        Compression("channels", 0.0, 4, 8, None, 8, None, 6, edge_weight_bits=8), 2
    )
    assert STAGED.candidate("channels", 0.0, 4, 8, 1, aspp_weight_bits=4, decoder_activation_bits=8) == Candidate(
        Compression(weight_bits=4, activation_bits=8)
    )
    for weights, activations in ((32, 8), (32, 32)):
        levels = {"aspp_weight_bits": 4, "decoder_activation_bits": 6}
        assert STAGED.candidate("channels", 0.0, weights, activations, 1, **levels) == BASELINE
    wide = STAGED.candidate("channels", 0.0, 8, 16, 1, aspp_weight_bits=4, decoder_activation_bits=6)
    assert wide == Candidate(Compression(weight_bits=8, activation_bits=16, aspp_weight_bits=4))


def test_params_of_stages_round_trip_and_name_only_what_differs() -> None:
    for candidate in STAGED.candidates():
        assert Candidate.from_params(json.loads(json.dumps(candidate.as_params()))) == candidate
    mixed = Candidate(Compression("channels", 0.25, 4, 8, decoder_weight_bits=6, aspp_activation_bits=4), 8)
    assert mixed.as_params() == {
        "pruning": "channels", "sparsity": 0.25, "weight_bits": 4, "activation_bits": 8,
        "decoder_weight_bits": 6, "aspp_activation_bits": 4, "tile_count": 8,
    }  # fmt: skip
    assert mixed.bits_of("decoder_weight_bits") == 6
    assert mixed.bits_of("aspp_weight_bits") == 4
    assert mixed.bits_of("decoder_activation_bits") == 8


def test_names_of_stages() -> None:
    bits = Compression("channels", 0.25, 4, 8, 8, None, 6, None)
    assert str(Candidate(bits, 4)) == "channels 25 %, w4 a8, ASPP w8 a6, 4 tiles"
    bits = Compression("channels", 0.0, 4, 8, None, 6, 4, 6)
    assert str(Candidate(bits)) == "unpruned, w4 a8, ASPP a4, decoder w6 a6, 1 tile"
    assert len({str(candidate) for candidate in STAGED.candidates()}) == len(STAGED.candidates())
