"""What workers say of a study's images and imported network before its search begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evaluation.errors import UserError
from reports.record import DataSet, ImportCheck
from sweeps.config.schema import SweepConfig
from sweeps.trial.evaluator import CONTRACT_IMAGES, ImportScores
from sweeps.workers.worker_pool import Failure


def described(answer: object, log: Path) -> DataSet:
    """What a worker said of the images.

    Args:
        answer: to `Evaluator.describe`: a data set, or a `Failure`.

    Raises:
        UserError: it did not come to that: the images cannot be read, or its process was ended.
    """
    if isinstance(answer, Failure):
        raise UserError(
            f"a worker could not open the network and the images ({answer.reason}); where memory or time was short, "
            f"raise search.worker_memory_mb or search.trial_seconds, or lower search.workers; see {log}"
        )
    assert isinstance(answer, DataSet), "that is what it answers"
    return answer


def checked_import(config: SweepConfig, answer: object) -> ImportCheck | None:
    """The imported network's score next to the figure published with its weights, where the configuration gives one.

    Args:
        answer: to `Evaluator.import_check`: scores, or a `Failure`.

    Raises:
        UserError: the score is off by more than the tolerance: everything measured after would be of another network.
    """
    check = config.import_check
    if check is None:
        return None
    if isinstance(answer, Failure):
        raise UserError(f"import_check: {answer.reason}; see {config.folder / 'workers.log'}")
    assert isinstance(answer, ImportScores), "that is what it answers"
    result = ImportCheck(check.split, len(answer.scores.image_ids), answer.scores.miou, check.miou, check.tolerance)
    if not result.passed:
        raise UserError(
            f"import_check: {config.network.source} scores mIoU {result.miou:.4f} on {result.images} images of "
            f"{check.split!r}, expected {check.miou} +- {check.tolerance}; check network, data, or import_check.miou"
            f"{_of_contracts(answer.contracts, min(CONTRACT_IMAGES, result.images))}"
        )
    return result


def _of_contracts(scores: Mapping[str, float], images: int) -> str:
    """What the network scores under other input contracts, the best first."""
    if not scores:
        return ""
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    said = ", ".join(f"{miou:.3f} for {name}" for name, miou in ordered)
    return f". On {images} of them, by what pixels are to the network (network.input): {said}"
