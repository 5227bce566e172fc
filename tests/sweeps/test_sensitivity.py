"""The command: what it prints of the shipped network, which levels it takes, and what it refuses."""

import re
import sys
from pathlib import Path

import pytest

from evaluation.errors import UserError
from sweeps.cli import sensitivity
from sweeps.config.load import load_config
from sweeps.config.space import Candidate
from sweeps.trial.context import open_context
from sweeps.trial.network_evaluator import NetworkEvaluator

REPOSITORY = Path(__file__).resolve().parents[2]
FEW = ("data.search=search[:6]", "data.heldout=heldout[:2]", "data.train=train[:8]")


def config(*overrides: str):
    return load_config(REPOSITORY / "pareto.yaml", overrides)


def test_the_fewest_bits_of_the_space_are_tried() -> None:
    assert sensitivity.levels_of(config(), None, None) == ([4], [6])
    staged = config("space.aspp_weight_bits=[3, 8]", "space.decoder_activation_bits=[4]")
    assert sensitivity.levels_of(staged, None, None) == ([3], [4])
    wide = config("space.weight_bits=[8, 32]", "space.activation_bits=[16, 32]")
    assert sensitivity.levels_of(wide, None, None) == ([4], [4])
    assert sensitivity.levels_of(config(), [6, 2, 6], [4, 6]) == ([2, 6], [4, 6])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--weight-bits", "8"],
         "error: --weight-bits 8: not below the 8 bits of the start; choose from 2, 3, 4, 5, 6\n"),
        (["--activation-bits", "5"],
         "error: --activation-bits 5: not below the 8 bits of the start; choose from 4, 6\n"),
        (["-o", "space.aspp_weight_bits=[1]"],
         "error: -o space.aspp_weight_bits=[1]: space.aspp_weight_bits: 1 is not a level; "
         "choose from 2, 3, 4, 5, 6, 8, 16\n"),
    ],
)  # fmt: skip
def test_other_levels_are_refused_in_one_line(monkeypatch, capsys, arguments, said) -> None:
    monkeypatch.setattr(sys, "argv", ["sensitivity", str(REPOSITORY / "pareto.yaml"), *arguments])
    with pytest.raises(SystemExit) as ended:
        sensitivity.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == said


def test_a_file_that_is_not_there_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match="no such file"):
        sensitivity.sensitivity(tmp_path / "none.yaml")


@pytest.mark.slow
def test_the_command_prints_every_part_of_the_shipped_network_in_order(tmp_path, monkeypatch, capsys) -> None:
    overrides = [*FEW, f"out={tmp_path}", "quantization.edge_weight_bits=8"]
    options = [word for override in overrides for word in ("-o", override)]
    arguments = [str(REPOSITORY / "pareto.yaml"), "--weight-bits", "3", "--activation-bits", "4", "--tiles", "1"]
    monkeypatch.setattr(sys, "argv", ["sensitivity", *arguments, *options])
    sensitivity.main()
    printed = capsys.readouterr().out
    assert "streets: each part alone from 8 bits; 6 search images, 1 tile" in printed
    row = re.compile(
        r"^ *(backbone|ASPP|decoder|edges|depthwise) +([34])-bit (weights|activations) +"
        r"([+-]\d\.\d{5}) +(\d+\.\d\d) % +"
        r"([+-]\d\.\d{4}) +([+-]\d\.\d{4}) to ([+-]\d\.\d{4})† +(-?\d+\.\d\d) +(\S+|saves nothing) *$",
        re.MULTILINE,
    )
    rows = row.findall(printed)
    assert {cells[:3] for cells in rows} == {
        ("backbone", "3", "weights"), ("ASPP", "3", "weights"), ("decoder", "3", "weights"), ("edges", "3", "weights"),
        ("backbone", "4", "activations"), ("ASPP", "4", "activations"), ("decoder", "4", "activations"),
        ("depthwise", "3", "weights"),
    }  # fmt: skip
    assert len(rows) == 8
    costs = [float("inf") if cells[-1].startswith("saves") else float(cells[-1]) for cells in rows]
    assert costs == sorted(costs, reverse=True)

    # Edges that the study holds at 8 bits are lowered all the same where they are what is asked about.
    (cells,) = [cells for cells in rows if cells[0] == "edges"]
    assert float(cells[8]) > 0

    # A trial at the bits of a row is the row's network: scored from the same cache, of the same memory.
    context = open_context(config(*overrides))
    by_hand = {}
    for name, own in (("start", {}), ("row", {"aspp_weight_bits": 3})):
        space = config("space.aspp_weight_bits=[3, 8]").space.space()
        candidate = space.candidate("channels", 0.0, 8, 8, 1, **own)
        assert candidate == Candidate(candidate.compression)
        by_hand[name] = NetworkEvaluator(context).evaluate(candidate)
    (cells,) = [cells for cells in rows if cells[0] == "ASPP" and cells[2] == "weights"]
    change = by_hand["row"].scores.miou - by_hand["start"].scores.miou
    assert float(cells[5]) == pytest.approx(change, abs=6e-5)
    saved = by_hand["start"].memory.peak_memory_bytes - by_hand["row"].memory.peak_memory_bytes
    assert float(cells[8]) == pytest.approx(saved / 1e3, abs=6e-3)
