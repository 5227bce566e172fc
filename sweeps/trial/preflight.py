"""Checks of the inputs of a study before it starts."""

from __future__ import annotations

from importlib.util import find_spec

from rich.console import Console

from deeplab.runtime.kernel_library import kernel_library
from evaluation.errors import UserError
from evaluation.planner import load_target
from sweeps.config.load import check_files
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs, fingerprint
from sweeps.inputs.image_checks import checked
from sweeps.inputs.opened import open_inputs
from sweeps.trial.levels import check_levels


def check_inputs(config: SweepConfig, console: Console | None = None) -> Inputs:
    """Check network, target, levels of the space, and every image and mask.

    This runs before a study is created, so that an error leaves no partial study behind and costs no ranking or trial.
    Unchanged files that were checked before are not read again.

    Args:
        console: shows the progress of the images; None: nothing is shown.

    Returns:
        The hashed inputs.

    Raises:
        UserError: a check fails.
    """
    check_files(config)
    if config.search.sampler == "gp" and find_spec("torch") is None:
        raise UserError("search.sampler: gp needs PyTorch, which is not installed; pip install torch, or choose ehvi")
    kernel_library().load(())  # a compiler that is missing or fails is told now
    target = load_target(config.target)
    baseline, images = open_inputs(config)
    check_levels(config, baseline, target)
    checked(config, images, console)
    return fingerprint(config, baseline, images, target)
