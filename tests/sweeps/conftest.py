"""The stand-in trial is found by worker processes because they inherit the parent's path."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

sys.path.insert(0, str(Path(__file__).parent))

from standin_sweeps import CONFIG

from sweeps.config.load import load_config
from sweeps.config.schema import SweepConfig
from sweeps.storage.sqlite import fold_log


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: creating its tables takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    fold_log(path)
    return path


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Callable[..., SweepConfig]:
    """`config("search.trials=4")`: a small configuration with overrides, in an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "config.yaml").write_text(CONFIG)
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return lambda *overrides: load_config(tmp_path / "config.yaml", overrides)
