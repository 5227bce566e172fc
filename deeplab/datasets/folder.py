"""Your own images: `images/`, and `masks/` with one PNG of class indices an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Field

from deeplab.datasets.class_names import checked_class_names
from deeplab.datasets.files import FileSplit, ImagePair, label_encoding, pair_folders, split_by_hash, void_classes
from deeplab.datasets.folder_layout import child, find_root, visible
from deeplab.datasets.images import IMAGE_SUFFIXES
from deeplab.datasets.interface import VOID, Dataset
from deeplab.datasets.lists import listed_items, read_id_list, read_lines
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options, shown_value
from evaluation.errors import UserError

PARTS = ("train", "search", "heldout")
MaskValue = Annotated[int, Field(ge=0, le=65535)]


def _one_or_more(value: object) -> object:
    if isinstance(value, int):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a whole number or a list of them, found {shown_value(value)}")
    return value


class FolderOptions(Options):
    """Options of `folder`."""

    class_names: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Names of the classes, in the order of their label values from 0. null: the lines of classes.txt."""
    void: Annotated[tuple[MaskValue, ...], Field(strict=False), BeforeValidator(_one_or_more)] = (VOID,)
    """Value, or list of values, of the pixels in the masks that are not scored. All other values keep their numbers: a
    void value below the number of classes has a name and an output of the network like any other, which can be
    predicted but is never right and has no IoU. Give [11, 255] where both mark such pixels, and [] where none does."""
    search_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the images that are in the split `search`, in [0, 1], where there are no lists."""
    heldout_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the images that are in the split `heldout`, in [0, 1], where there are no lists."""


def open_folder(root: Path, options: FolderOptions) -> Dataset:
    """Splits `train`, `search`, `heldout` and `all`.

    `root` holds `images/` and `masks/`, or is a folder one or two levels above them. Class names, by label value, come
    from the option or from `classes.txt` (one a line). `train.txt`, `search.txt` and `heldout.txt` at the root (all
    three) say which image is in which split, one a line; without them a hash of the ids divides by the given shares.
    Without `masks/` the images are unlabelled: `train` and `all` hold them, for calibration and distillation.

    Raises:
        UserError: no images, an image without its mask, no class names or such that cannot be shown, shares that leave
            nothing, void values that leave no class, or lists that overlap.
    """
    if not child(root, "images").is_dir():
        root = find_root(root, "folder", ("images", "masks"))
    images, masks = child(root, "images"), child(root, "masks")
    labelled = masks.is_dir()
    pairs = pair_folders(images, masks if labelled else None)
    if not pairs:
        there = ", ".join(path.name for path in visible(images)[:5]) or "nothing"
        raise UserError(f"{images}: holds no images ({', '.join(IMAGE_SUFFIXES)}), found {there}")
    names = _class_names(root, options.class_names, labelled)
    encoding = _encoding(len(names), options.void)
    hint = "; name a value that is not scored in data.options.void"
    if not labelled:
        parts = {"train": pairs, "all": pairs}
    else:
        parts = _parts(root, pairs, options.search_share, options.heldout_share)
    splits = {name: FileSplit(part, encoding, hint) for name, part in parts.items()}
    note = "" if labelled else f"{masks}: no such folder, so there are no labels"
    return Dataset("folder", names, splits, void_classes=void_classes(encoding, len(names)), note=note)


def _encoding(classes: int, void: Sequence[int]) -> np.ndarray:
    entries = {value: value for value in range(classes)} | dict.fromkeys(void, VOID)
    if classes and all(label == VOID for label in entries.values()):
        raise UserError(f"data.options.void: the {len(void)} values leave none of the {classes} classes; remove some")
    return label_encoding(entries or {VOID: VOID})


def _class_names(root: Path, given: Sequence[str] | None, labelled: bool) -> tuple[str, ...]:
    source = child(root, "classes.txt")
    if given is not None:
        return checked_class_names(given, "class_names", VOID)
    if source.is_file():
        return checked_class_names([line.text for line in read_lines(source)], str(source), VOID)
    if not labelled:
        return ()
    raise UserError(f"{source}: no such file; list the class names there, one a line, or give class_names")


def _parts(
    root: Path, images: tuple[ImagePair, ...], search_share: float, heldout_share: float
) -> dict[str, tuple[ImagePair, ...]]:
    lists = {name: child(root, f"{name}.txt") for name in PARTS}
    there = [name for name, path in lists.items() if path.is_file()]
    if there and len(there) < len(PARTS):
        missing = next(path for name, path in lists.items() if name not in there)
        raise UserError(f"{missing}: no such file, but {there[0]}.txt is there; give all three lists or none")
    if there:
        by_id = {image.image_id: image for image in images}
        parts = {name: listed_items(by_id, read_id_list(path), path) for name, path in lists.items()}
        for name, other in (("train", "search"), ("train", "heldout"), ("search", "heldout")):
            if both := sorted(parts[name].keys() & parts[other].keys()):
                raise UserError(f"{lists[other]}: image '{both[0]}' is in {name}.txt too; splits must be disjoint")
        return {**{name: tuple(part.values()) for name, part in parts.items()}, "all": images}
    if search_share + heldout_share > 1.0:
        raise UserError(
            f"search_share {search_share} and heldout_share {heldout_share} sum to more than 1; lower one of them"
        )
    train_share = 1.0 - search_share - heldout_share
    divided = split_by_hash(images, (search_share, heldout_share, train_share))
    return {"search": divided[0], "heldout": divided[1], "train": divided[2], "all": images}


FOLDER = DatasetKind(open_folder, FolderOptions, DefaultSplits("search", "heldout", "train"))
