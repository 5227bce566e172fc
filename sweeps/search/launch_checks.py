"""What a launch and its dry run check before anything is made or started."""

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
    """Check everything that a launch needs, in the order of what is soonest answered: whether its folder can be made,
    MLflow's store and the database, and what it reads. `--dry-run` checks the same. Nothing of the study is made.

    Args:
        inputs: as they were found before; None: they are checked.
        folder: of the study; None: the configuration's.

    Returns:
        The inputs, hashed.

    Raises:
        UserError: something cannot be used.
    """
    require_tensorflow()
    check_writable(folder or config.folder)
    _check_services(config)
    return inputs or check_inputs(config, console)


def _check_services(config: SweepConfig) -> None:
    """Ask MLflow's store and the database of `storage.url`, once and for seconds, whether they can be used.

    Raises:
        UserError: one cannot. Nothing of the study was made.
    """
    check_tracking()
    if (url := config.storage.url) is not None and (problem := server_problem(url, OPTUNA)):
        raise UserError(f"storage.url: {masked_address(url)} {problem}")
