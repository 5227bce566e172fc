"""Cityscapes in its official layout (Cordts et al. 2016): 19 classes, `leftImg8bit/` and `gtFine/`, a folder a city."""

from __future__ import annotations

from pathlib import Path

from deeplab.datasets.files import FileSplit, ImagePair, label_encoding, split_by_hash
from deeplab.datasets.folder_layout import find_root
from deeplab.datasets.interface import VOID, Dataset
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options
from evaluation.errors import UserError

CLASS_NAMES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)

# cityscapesScripts, helpers/labels.py: the `id` of the classes with a trainId, in the order of the trainIds.
_SCORED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_LARGEST_ID = 33
_IMAGE_END = "_leftImg8bit.png"

# Kind of mask -> meaning of its values. -1, the licence plate, is 255 where a file of bytes holds it at all.
_ENCODINGS = {
    "labelIds": {
        **dict.fromkeys((*range(_LARGEST_ID + 1), 255), VOID),
        **{value: label for label, value in enumerate(_SCORED_IDS)},
    },
    "labelTrainIds": {**{label: label for label in range(len(CLASS_NAMES))}, 255: VOID},
}


def open_cityscapes(root: Path, options: Options) -> Dataset:
    """Splits `train`, `val`, `search` and `heldout` (parts of val), `all` (train and val), `test_images`.

    `search` and `heldout` are different cities of val (Frankfurt, 267 images; Lindau and Munster, 233): frames of one
    city come from the same drives, often from the same street, so halves by hash would hold near-twins of each other.
    The official test labels are withheld (their files hold void only), so those images come without labels, for
    calibration and distillation. Ids are the official stems, such as `frankfurt_000000_000294`.

    Masks are `*_gtFine_labelIds.png`, whose ids become the 19 trainIds or void; where images have none,
    `*_gtFine_labelTrainIds.png`, as cityscapesScripts writes them.

    Args:
        root: the folder above `leftImg8bit` and `gtFine`.

    Raises:
        UserError: folders are missing, or an image has no mask.
    """
    root = find_root(root, "cityscapes", ("leftImg8bit", "gtFine"))
    found = {name: _images(root, name) for name in ("train", "val", "test")}
    if not found["val"]:
        raise _no_folder(root / "leftImg8bit" / "val", root)
    kind = _kind_of_masks(root, [*found["train"], *found["val"]])
    parts = {name: tuple(_labelled(root, name, path, kind) for path in found[name]) for name in ("train", "val")}
    parts["search"], parts["heldout"] = _by_city(parts["val"])
    parts["all"] = parts["train"] + parts["val"]
    parts["test_images"] = tuple(ImagePair(_stem(path), path, None) for path in found["test"])
    encoding = label_encoding(_ENCODINGS[kind])
    splits = {name: FileSplit(images, encoding) for name, images in parts.items() if images or name != "train"}
    return Dataset("cityscapes", CLASS_NAMES, splits)


def _no_folder(folder: Path, root: Path) -> UserError:
    return UserError(
        f"{folder}: no such folder, or no *{_IMAGE_END} in its folders of cities; cityscapes expects "
        f"leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/ below {root}"
    )


def _images(root: Path, split: str) -> list[Path]:
    paths = (root / "leftImg8bit" / split).glob(f"*/*{_IMAGE_END}")
    return sorted(path for path in paths if not path.name.startswith("."))


def _stem(image: Path) -> str:
    return image.name.removesuffix(_IMAGE_END)


def _mask(root: Path, split: str, image: Path, kind: str) -> Path:
    return root / "gtFine" / split / image.parent.name / f"{_stem(image)}_gtFine_{kind}.png"


def _kind_of_masks(root: Path, images: list[Path]) -> str:
    """trainIds only where no image has the official mask: one that lacks it among others is a mistake to name."""
    official, derived = (
        any(_mask(root, path.parents[1].name, path, kind).is_file() for path in images) for kind in _ENCODINGS
    )
    return "labelTrainIds" if derived and not official else "labelIds"


def _labelled(root: Path, split: str, image: Path, kind: str) -> ImagePair:
    mask = _mask(root, split, image, kind)
    if not mask.is_file():
        raise UserError(f"{image}: has no mask {mask}; add it (gtFine_trainvaltest.zip) or remove the image")
    return ImagePair(_stem(image), image, mask)


def _by_city(images: tuple[ImagePair, ...]) -> tuple[tuple[ImagePair, ...], tuple[ImagePair, ...]]:
    """Two parts without a city in common and of about equal size; halves by hash where there is one city only."""
    cities: dict[str, list[ImagePair]] = {}
    for image in images:
        cities.setdefault(image.image.parent.name, []).append(image)
    if len(cities) < 2:
        first, second = split_by_hash(images, (0.5, 0.5))
        return first, second
    halves: tuple[list[ImagePair], list[ImagePair]] = ([], [])
    for city in sorted(cities, key=lambda name: (-len(cities[name]), name)):
        min(halves, key=len).extend(cities[city])
    return tuple(halves[0]), tuple(halves[1])


CITYSCAPES = DatasetKind(open_cityscapes, Options, DefaultSplits("search", "heldout", "train"))
