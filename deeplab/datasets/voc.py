"""PASCAL VOC 2012 segmentation in its official layout (Everingham et al. 2015): 20 classes and background."""

from __future__ import annotations

from pathlib import Path

from deeplab.datasets.files import (
    FileSplit,
    PicturePath,
    chosen,
    label_encoding,
    read_id_list,
    search_and_heldout,
)
from deeplab.datasets.interface import VOID, Dataset
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options
from evaluation.errors import UserError

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

    `root` is VOC2012 or a folder above it (VOCdevkit). The lists are `ImageSets/Segmentation/*.txt`, or `train.txt` and
    `val.txt` at the root for a part of the data set. Masks are palette PNG files, 255 void.

    Raises:
        UserError: folders or lists are missing, or a list names a picture or mask that is not there.
    """
    root = _year_folder(root)
    images, masks = root / "JPEGImages", root / "SegmentationClass"
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; voc expects JPEGImages/ and SegmentationClass/ below {root}")
    official = root / "ImageSets" / "Segmentation"
    lists = official if official.is_dir() else root
    parts: dict[str, tuple[PicturePath, ...]] = {}
    for name in ("train", "val"):
        source = lists / f"{name}.txt"
        if not source.is_file():
            raise UserError(f"{source}: no such file; voc expects the list of its {name} pictures there")
        parts[name] = _listed(source, images, masks)
    parts["search"], parts["heldout"] = search_and_heldout("voc", parts["val"])
    parts["all"] = parts["train"] + parts["val"]
    encoding = label_encoding({**{value: value for value in range(21)}, 255: VOID})
    return Dataset("voc", CLASS_NAMES, {name: FileSplit(pictures, encoding) for name, pictures in parts.items()})


def _year_folder(root: Path) -> Path:
    for below in ("", "VOC2012", "VOCdevkit/VOC2012"):
        if (root / below / "JPEGImages").is_dir():
            return root / below
    return root


def _listed(source: Path, images: Path, masks: Path) -> tuple[PicturePath, ...]:
    """Only the listed pictures are looked at: the official folder holds 17,125, most of them without a mask."""
    ids = read_id_list(source)
    pictures = []
    for image_id in dict.fromkeys(ids):
        image, mask = images / f"{image_id}.jpg", masks / f"{image_id}.png"
        if not image.is_file():
            raise UserError(f"{source}: names picture '{image_id}', but there is no {image}")
        if not mask.is_file():
            raise UserError(f"{image}: has no mask {mask}")
        pictures.append(PicturePath(image_id, image, mask))
    return chosen(pictures, ids, source)


VOC = DatasetKind(open_voc, Options, DefaultSplits("search", "heldout", "train"))
