"""ADE20K scene parsing (SceneParse150; Zhou et al. 2017): 150 classes, or the 32 of the mobile networks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from deeplab.datasets.ade20k_classes import CLASS_NAMES
from deeplab.datasets.files import FileSplit, label_encoding, pair_folders, search_and_heldout, void_classes
from deeplab.datasets.folder_layout import child, find_root
from deeplab.datasets.interface import VOID, Dataset
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options

MOBILE_CLASSES = 32
"""The head of the MLPerf mobile networks: class 0 is `other`, 1..31 are the 31 most frequent classes."""


class Ade20kOptions(Options):
    """Options of `ade20k`."""

    classes: Literal[150, 32] = 150
    """150 makes file labels 1..150 into 0..149 and 0 void. 32 keeps labels 1..31 and makes 0 and all above 31 void, so
    that class 0 can be predicted but is never right: the scoring of the MLPerf mobile task."""


def open_ade20k(root: Path, options: Ade20kOptions) -> Dataset:
    """Splits `val` (= `all`), `search` and `heldout` (fixed disjoint halves of 50), and `train` where it is there.

    The layout is the official one (`images/validation`, `annotations/validation`, and `training`), or flat `images/`
    and `annotations/` for a part of the validation images.

    Args:
        root: the folder above `images`.
        options: how many classes.

    Raises:
        UserError: missing folders, or an image without its mask.
    """
    if options.classes == 150:
        entries, names = {0: VOID, **{value: value - 1 for value in range(1, 151)}}, CLASS_NAMES
    else:
        entries = {value: value if 1 <= value < MOBILE_CLASSES else VOID for value in range(151)}
        names = ("other", *CLASS_NAMES[: MOBILE_CLASSES - 1])
    root = find_root(root, "ade20k", ("images", "annotations"))
    images, masks = child(root, "images"), child(root, "annotations")
    official = child(images, "validation").is_dir()
    below = "validation" if official else ""
    validation = pair_folders(child(images, below), child(masks, below))
    search, heldout = search_and_heldout("ade20k", validation)
    parts = {"val": validation, "search": search, "heldout": heldout, "all": validation}
    if official and child(images, "training").is_dir():
        parts["train"] = pair_folders(child(images, "training"), child(masks, "training"))
    encoding = label_encoding(entries)
    splits = {name: FileSplit(pairs, encoding) for name, pairs in parts.items()}
    return Dataset("ade20k", names, splits, void_classes=void_classes(encoding, len(names)))


ADE20K = DatasetKind(open_ade20k, Ade20kOptions, DefaultSplits("search", "heldout", "train"))
