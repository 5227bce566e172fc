"""The stand-in trial is found by worker processes because they inherit the parent's path."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.config import SweepConfig
from sweeps.config_file import load_config

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

CONFIG = """
study: stand-in
seed: 3
data: {name: streets}
space:
  sparsity: [0.0, 0.25, 0.5]
  weight_bits: [4, 8, 32]
  activation_bits: [8, 32]
  tile_count: [1, 2, 4]
search: {trials: 8}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SweepConfig]:
    """`config("search.trials=4")`: a small configuration with overrides, in an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return lambda *overrides: load_config(tmp_path / "config.yaml", overrides)
