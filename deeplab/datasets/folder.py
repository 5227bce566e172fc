"""Your own pictures: `images/`, and `masks/` with one PNG of class indices a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from deeplab.datasets.files import (
    FileSplit,
    PicturePath,
    chosen,
    label_encoding,
    pair_folders,
    read_id_list,
    split_by_hash,
)
from deeplab.datasets.interface import VOID, Dataset
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options
from evaluation.errors import UserError

PARTS = ("train", "search", "heldout")


class FolderOptions(Options):
    """Options of `folder`."""

    class_names: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Names of the classes, in the order of their label values. null: the lines of classes.txt."""
    search_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the images that are in the split `search`, in [0, 1], where there are no lists."""
    heldout_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the images that are in the split `heldout`, in [0, 1], where there are no lists."""


def open_folder(root: Path, options: FolderOptions) -> Dataset:
    """Splits `train`, `search`, `heldout` and `all`.

    Class names, by label value, come from the option or from `classes.txt` (one a line); label 255 is void. Which
    picture is in which split says `train.txt`, `search.txt` and `heldout.txt` at the root (all three, ids without
    suffix); without them a hash of the ids divides by the given shares. Without `masks/` the pictures are
    unlabelled: `train` and `all` hold them, for calibration and distillation.

    Raises:
        UserError: no images, a picture without its mask, no class names, shares that leave nothing, or lists that
            overlap.
    """
    images, masks = root / "images", root / "masks"
    labelled = masks.is_dir()
    pictures = pair_folders(images, masks if labelled else None)
    if not pictures:
        raise UserError(f"{images}: holds no pictures (.jpg, .png, .bmp or .ppm)")
    names = _class_names(root, options.class_names, labelled)
    encoding = label_encoding({**{value: value for value in range(len(names))}, VOID: VOID})
    if not labelled:
        parts = {"train": pictures, "all": pictures}
    else:
        parts = _parts(root, pictures, options.search_share, options.heldout_share)
    return Dataset("folder", names, {name: FileSplit(part, encoding) for name, part in parts.items()})


def _class_names(root: Path, given: Sequence[str] | None, labelled: bool) -> tuple[str, ...]:
    source = root / "classes.txt"
    if given is None and source.is_file():
        given = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    if given is None and not labelled:
        return ()
    if not given:
        raise UserError(f"{source}: no such file; list the class names there, one a line, or give class_names")
    if len(set(given)) < len(given) or not 1 <= len(given) <= VOID:
        raise UserError(f"{root}: class names must be 1 to {VOID} different ones, got {len(given)}")
    return tuple(given)


def _parts(
    root: Path, pictures: tuple[PicturePath, ...], search_share: float, heldout_share: float
) -> dict[str, tuple[PicturePath, ...]]:
    lists = {name: root / f"{name}.txt" for name in PARTS}
    there = [name for name, path in lists.items() if path.is_file()]
    if there and len(there) < len(PARTS):
        missing = next(path for name, path in lists.items() if name not in there)
        raise UserError(f"{missing}: no such file, but {there[0]}.txt is there; give all three lists or none")
    if there:
        ids = {name: read_id_list(path) for name, path in lists.items()}
        for name, other in (("train", "search"), ("train", "heldout"), ("search", "heldout")):
            if both := sorted(set(ids[name]) & set(ids[other])):
                raise UserError(f"{lists[other]}: picture '{both[0]}' is in {name}.txt too; splits must be disjoint")
        return {**{name: chosen(pictures, ids[name], lists[name]) for name in PARTS}, "all": pictures}
    if search_share + heldout_share > 1.0:
        raise UserError(
            f"search_share {search_share} and heldout_share {heldout_share} sum to more than 1; lower one of them"
        )
    train_share = 1.0 - search_share - heldout_share
    parts = split_by_hash(pictures, (search_share, heldout_share, train_share))
    return {"search": parts[0], "heldout": parts[1], "train": parts[2], "all": pictures}


FOLDER = DatasetKind(open_folder, FolderOptions, DefaultSplits("search", "heldout", "train"))
