"""Your own pictures: `images/`, and `masks/` with one PNG of class indices a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
from evaluation.errors import UserError

PARTS = ("train", "search", "heldout")


def open_folder(
    root: Path,
    *,
    class_names: Sequence[str] | None = None,
    search_share: float = 0.2,
    heldout_share: float = 0.2,
) -> Dataset:
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
    names = _class_names(root, class_names, labelled)
    encoding = label_encoding({**{value: value for value in range(len(names))}, VOID: VOID})
    if not labelled:
        parts = {"train": pictures, "all": pictures}
    else:
        parts = _parts(root, pictures, search_share, heldout_share)
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
    for key, share in (("search_share", search_share), ("heldout_share", heldout_share)):
        if not 0.0 <= share <= 1.0 or search_share + heldout_share > 1.0:
            raise UserError(f"{key}: shares must lie in [0, 1] and sum to at most 1, got {share}")
    train_share = 1.0 - search_share - heldout_share
    parts = split_by_hash(pictures, (search_share, heldout_share, train_share))
    return {"search": parts[0], "heldout": parts[1], "train": parts[2], "all": pictures}
