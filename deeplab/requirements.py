"""Packages that only some commands need: whether they are installed, without loading them."""

from __future__ import annotations

from importlib.util import find_spec

from evaluation.errors import UserError

TRAINING = {
    "keras": "keras",
    "tensorflow": "tensorflow",
    "tensorflow-model-optimization": "tensorflow_model_optimization",
    "tf-keras": "tf_keras",
}
"""Distribution -> package, of the extra `train`."""


def require_tensorflow() -> None:
    """Check that the packages which train and score networks are installed.

    Raises:
        UserError: naming the distributions that are missing, and how to install them.
    """
    missing = [distribution for distribution, package in TRAINING.items() if find_spec(package) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not installed; training and scoring need it: "
            "pip install 'petitlab[train]' -c constraints.txt"
        )
