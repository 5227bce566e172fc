"""Data sets behind one small interface: RGB pictures, label maps, class names, splits. No TensorFlow here.

    dataset = open_dataset("ade20k", "../shared/data/ade20k_subset", classes=32)
    for sample in dataset.split("search"):
        sample.image, sample.label  # uint8 (H, W, 3), uint8 (H, W) with 255 = void

Training and calibration, search, and held-out pictures are never the same ones: see `splits/` for the fixed lists.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deeplab.datasets.ade20k import open_ade20k
from deeplab.datasets.camvid import open_camvid
from deeplab.datasets.cityscapes import open_cityscapes
from deeplab.datasets.folder import open_folder
from deeplab.datasets.interface import VOID, Dataset, Sample, Split, nearest
from deeplab.datasets.streets import open_streets
from deeplab.datasets.voc import open_voc
from evaluation.errors import UserError

__all__ = ["DATASETS", "VOID", "Dataset", "Sample", "Split", "open_dataset"]

DATASETS: dict[str, Callable[..., Dataset]] = {
    "streets": open_streets,
    "camvid": open_camvid,
    "cityscapes": open_cityscapes,
    "voc": open_voc,
    "ade20k": open_ade20k,
    "folder": open_folder,
}


def open_dataset(name: str, path: str | Path | None = None, **options: Any) -> Dataset:
    """Open a data set by name.

    Args:
        name: a key of `DATASETS`.
        path: its root folder; every data set but the generated `streets` needs one.
        options: keyword arguments of that data set's own `open_*` function, such as `classes` of ade20k.

    Raises:
        UserError: an unknown name or option, a missing folder, or a folder that is not laid out as expected.
    """
    if name not in DATASETS:
        raise UserError(f"unknown data set '{name}'{nearest(name, tuple(DATASETS))}")
    opener = DATASETS[name]
    parameters = inspect.signature(opener).parameters
    valid = tuple(key for key in parameters if key != "root")
    for key in options:
        if key not in valid:
            raise UserError(f"data set {name} has no option '{key}'{nearest(key, valid)}")
    if "root" not in parameters:
        if path is not None:
            raise UserError(f"data set {name} is generated and takes no path; remove path: {path}")
        return opener(**options)
    if path is None:
        raise UserError(f"data set {name} needs path: its root folder")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; data set {name} expects its root folder there")
    return opener(root, **options)
