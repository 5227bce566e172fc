"""What a study starts from, network and images, checked before anything is started."""

from __future__ import annotations

from importlib.util import find_spec

from rich.console import Console

from evaluation.errors import UserError
from evaluation.planner import load_target
from sweeps.config.load import check_files
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import Inputs, fingerprint
from sweeps.inputs.image_checks import checked
from sweeps.inputs.opened import open_inputs
from sweeps.trial.levels import check_levels


def check_inputs(config: SweepConfig, console: Console | None = None) -> Inputs:
    """Check everything that a study reads: network, target, levels of the space, every image and every mask.

    A study is only begun after this, so that a mistake leaves no half-made study behind, and costs no ranking and no
    trial. What was checked before and has not changed is not read again.

    Args:
        console: shows how far the images are; None: nothing is shown.

    Returns:
        What was found, hashed.

    Raises:
        UserError: for anything wrong.
    """
    check_files(config)
    if config.search.sampler == "gp" and find_spec("torch") is None:
        raise UserError("search.sampler: gp needs PyTorch, which is not installed; pip install torch, or choose ehvi")
    target = load_target(config.target)
    baseline, images = open_inputs(config)
    check_levels(config, baseline, target)
    checked(config, images, console)
    return fingerprint(config, baseline, images, target)
