"""The stand-in trial is found by worker processes because they inherit the parent's path."""

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from alembic.util import pyfiles
from mlflow import MlflowClient

sys.path.insert(0, str(Path(__file__).parent))

from standin_sweeps import CONFIG

from deeplab.checkpoint import save_checkpoint
from evaluation.planner import load_target
from sweeps.config.load import load_config
from sweeps.config.schema import SweepConfig
from sweeps.inputs.file_facts import FACTS_FILE
from sweeps.inputs.opened import open_inputs
from sweeps.storage.sqlite import fold_log
from sweeps.trial.context import Context, open_context
from sweeps.trial.levels import check_levels
from tests.deeplab.tiny import random_network, tiny_network

REPOSITORY = Path(__file__).resolve().parents[2]
KEPT_LEVELS = Path(".cache") / FACTS_FILE
"""In `out`."""


@pytest.fixture(scope="session", autouse=True)
def revisions_read_once() -> Iterator[None]:
    """Optuna has each of its revision scripts run three times for every new database, a third of the time of opening a
    study; here they are run once in a process."""
    load = pyfiles.load_module_py
    load_once = cache(load)

    def loaded(module_id: str, path: str) -> ModuleType:
        is_revision = Path(path).parent.name == "versions"  # env.py, next to that folder, does the work, each time
        return load_once(module_id, path) if is_revision else load(module_id, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyfiles, "load_module_py", loaded)
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: creating its tables takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    fold_log(path)
    return path


@pytest.fixture(scope="session")
def checked_levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a study keeps of having planned the levels of the stand-in space, which takes as long as all its trials."""
    folder = tmp_path_factory.mktemp("levels")
    (folder / "config.yaml").write_text(CONFIG)
    config = load_config(folder / "config.yaml", [f"out={folder}"])
    baseline, _ = open_inputs(config)
    check_levels(config, baseline, load_target(config.target))
    return folder / KEPT_LEVELS


@pytest.fixture
def config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, checked_levels: Path
) -> Callable[..., SweepConfig]:
    """`config("search.trials=4")`: a small configuration with overrides, in an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "config.yaml").write_text(CONFIG)
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    (tmp_path / "studies" / KEPT_LEVELS).parent.mkdir(parents=True)
    shutil.copyfile(checked_levels, tmp_path / "studies" / KEPT_LEVELS)
    return lambda *overrides: load_config(tmp_path / "config.yaml", overrides)


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory, stage_cache: str) -> Context:
    """The trials of the shipped network on a few images."""
    overrides = [
        stage_cache,
        f"out={tmp_path_factory.mktemp('studies')}",
        "data.search=search[:8]",
        "data.heldout=heldout[:4]",
        "data.train=train[:8]",
        "finetune.steps=3",
    ]
    return open_context(load_config(REPOSITORY / "pareto.yaml", overrides))


@pytest.fixture(scope="session")
def open_tiny(tmp_path_factory: pytest.TempPathFactory, stage_cache: str) -> Callable[..., Context]:
    """`open_tiny("finetune.steps=3")`: a context whose network has five blocks; most of its weights are in its ASPP."""
    folder = tmp_path_factory.mktemp("tiny")
    aspp = {"pool": 16, "pointwise": 48, "atrous": [(3, 48)], "project": 64}
    network = tiny_network(input_height=48, input_width=64, classes=11, **aspp)
    save_checkpoint(random_network(network), folder / "tiny.npz")
    overrides = [
        stage_cache,
        f"out={folder}",
        f"network.source={folder / 'tiny.npz'}",
        "data.search=search[:2]",
        "data.heldout=heldout[:2]",
        "data.train=train[:4]",
    ]
    return lambda *more: open_context(load_config(REPOSITORY / "pareto.yaml", [*overrides, *more]))
