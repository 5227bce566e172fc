"""PASCAL VOC 2012 segmentation in its official layout (Everingham et al. 2015): 20 classes and background."""

from __future__ import annotations

from pathlib import Path

from deeplab.datasets.files import (
    FileSplit,
    ImagePair,
    image_files,
    label_encoding,
    search_and_heldout,
    with_masks,
)
from deeplab.datasets.folder_layout import child, find_root
from deeplab.datasets.interface import VOID, Dataset
from deeplab.datasets.lists import listed_items, read_id_list
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options
from evaluation.errors import UserError

FOLDERS = ("JPEGImages", "SegmentationClass")
CLASS_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def open_voc(root: Path, options: Options) -> Dataset:
    """Splits `train`, `val`, `search` and `heldout` (halves of val) and `all`.

    `root` is VOC2012 or a folder one or two levels above it (VOCdevkit). The lists are `ImageSets/Segmentation/*.txt`,
    or `train.txt` and `val.txt` at the root for a part of the data set. Masks are palette PNG files, 255 void.

    Raises:
        UserError: folders or lists are missing, or a list names an image or mask that is not there.
    """
    root = _year_folder(root)
    images, masks = (child(root, name) for name in FOLDERS)
    official = child(root, "ImageSets/Segmentation")
    lists = official if official.is_dir() else root
    files = image_files(images)
    parts: dict[str, tuple[ImagePair, ...]] = {}
    for name in ("train", "val"):
        source = child(lists, f"{name}.txt")
        if not source.is_file():
            raise UserError(f"{source}: no such file; voc expects the list of its {name} images there")
        parts[name] = with_masks(listed_items(files, read_id_list(source), source), masks)
    parts["search"], parts["heldout"] = search_and_heldout("voc", parts["val"])
    parts["all"] = parts["train"] + parts["val"]
    encoding = label_encoding({**{value: value for value in range(21)}, 255: VOID})
    return Dataset("voc", CLASS_NAMES, {name: FileSplit(pairs, encoding) for name, pairs in parts.items()})


def _year_folder(root: Path) -> Path:
    """The folder of one year; of several years the last, 2012."""
    for below in ("", "VOC2012", "VOCdevkit/VOC2012"):
        folder = child(root, below)
        if all(child(folder, name).is_dir() for name in FOLDERS):
            return folder
    return find_root(root, "voc", FOLDERS)


VOC = DatasetKind(open_voc, Options, DefaultSplits("search", "heldout", "train"))
