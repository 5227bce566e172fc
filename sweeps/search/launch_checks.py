"""Checks of `launch` and `--dry-run` before any file is written or process started."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from deeplab.requirements import require_tensorflow
from evaluation.addresses import masked_address
from evaluation.errors import UserError
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs
from sweeps.storage.databases import OPTUNA, server_problem
from sweeps.storage.study_folder import check_writable
from sweeps.tracking.address import check_tracking
from sweeps.trial.preflight import check_inputs


def check_launch(
    config: SweepConfig, console: Console | None = None, inputs: Inputs | None = None, folder: Path | None = None
) -> Inputs:
    """Check the study's folder, MLflow's store, the database and the inputs, fastest first. Nothing of the study is
    written; `--dry-run` checks the same.

    Args:
        inputs: result of an earlier check; None: they are checked here.
        folder: folder of the study; None: the configuration's.

    Returns:
        The inputs, hashed.

    Raises:
        UserError: one of them cannot be used.
    """
    require_tensorflow()
    check_writable(folder or config.folder)
    _check_services(config)
    return inputs or check_inputs(config, console)


def _check_services(config: SweepConfig) -> None:
    """Probe MLflow's store and the database of `storage.url`, once and for at most a few seconds.

    Raises:
        UserError: one of them cannot be used.
    """
    check_tracking()
    if (url := config.storage.url) is not None and (problem := server_problem(url, OPTUNA)):
        raise UserError(f"storage.url: {masked_address(url)} {problem}")
