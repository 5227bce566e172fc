"""Data sets behind one small interface: RGB images, label maps, class names, splits. No TensorFlow here.

    dataset = open_dataset("ade20k", "../shared/data/ade20k_subset", classes=32)
    for sample in dataset.split("search"):
        sample.image, sample.label  # uint8 (H, W, 3), uint8 (H, W) with 255 = void

Training and calibration, search, and held-out images are never the same ones: see `splits/` for the fixed lists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deeplab.datasets.ade20k import ADE20K
from deeplab.datasets.camvid import CAMVID
from deeplab.datasets.cityscapes import CITYSCAPES
from deeplab.datasets.folder import FOLDER
from deeplab.datasets.interface import VOID, Dataset, Sample, Split, nearest
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options, checked_options
from deeplab.datasets.streets import STREETS
from deeplab.datasets.voc import VOC
from evaluation.errors import UserError

__all__ = [
    "DATASETS", "VOID", "Dataset", "DatasetKind", "DefaultSplits", "Options", "Sample", "Split", "checked_options",
    "open_dataset",
]  # fmt: skip

DATASETS: dict[str, DatasetKind] = {
    "streets": STREETS,
    "camvid": CAMVID,
    "cityscapes": CITYSCAPES,
    "voc": VOC,
    "ade20k": ADE20K,
    "folder": FOLDER,
}


def open_dataset(name: str, path: str | Path | None = None, **options: Any) -> Dataset:
    """Open a data set by name.

    Args:
        name: a key of `DATASETS`.
        path: its root folder, or a folder that holds the root folder; every data set but the generated `streets` needs
            one.
        options: fields of that data set's own options (`DATASETS[name].options`), such as `classes` of ade20k.

    Raises:
        UserError: an unknown name or option, a missing folder, or a folder that is not laid out as expected.
    """
    if name not in DATASETS:
        raise UserError(f"unknown data set '{name}'{nearest(name, tuple(DATASETS))}")
    kind = DATASETS[name]
    try:
        checked = checked_options(kind.options, options)
    except UserError as error:
        raise UserError(f"options of data set {name}: {error}") from None
    if kind.is_generated:
        if path is not None:
            raise UserError(f"data set {name} is generated and takes no path; remove path: {path}")
        return kind.open(checked)
    if path is None:
        raise UserError(f"data set {name} needs path: its root folder")
    try:
        root = Path(path).expanduser()
    except RuntimeError:  # ~ of a user who is not there
        raise UserError(f"{path}: no such home folder; write the path of the root folder out") from None
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; data set {name} expects its root folder there")
    return kind.open(root, checked)
