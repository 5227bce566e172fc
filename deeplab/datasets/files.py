"""Pictures and masks in files: how they are paired, read, checked and listed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path
from unicodedata import category

import numpy as np

from deeplab.datasets.digests import file_digest
from deeplab.datasets.folder_layout import folded, visible
from deeplab.datasets.images import IMAGE_SUFFIXES, INVALID, MASK_SUFFIXES, header_size, read_image, read_mask
from deeplab.datasets.interface import Sample, Split
from deeplab.datasets.lists import read_id_list
from evaluation.errors import UserError


@dataclass(frozen=True)
class PicturePath:
    """One picture on disk; `mask` is None where the data set has no labels."""

    image_id: str
    image: Path
    mask: Path | None


@dataclass(frozen=True, eq=False)
class FileSplit(Split):
    """Pictures read from disk when asked for."""

    pictures: tuple[PicturePath, ...]
    encoding: np.ndarray
    """int16 (256,) or (65536,): value in the mask file -> label, VOID or INVALID."""
    hint: str = ""
    """What the message of a value that is not allowed says at its end."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(picture.image_id for picture in self.pictures)

    def image(self, index: int) -> np.ndarray:
        return read_image(self.pictures[index].image)

    def sample(self, index: int) -> Sample:
        picture = self.pictures[index]
        if picture.mask is None:
            raise UserError(f"{picture.image}: has no mask; unlabelled pictures serve for calibration, not for scoring")
        image, label = read_pair(picture, self.encoding, self.hint)
        assert label is not None  # there is a mask
        return Sample(picture.image_id, image, label)

    def check(self) -> None:
        """Sizes of pictures and masks, from their headers alone: an orientation tag may swap width and height."""
        for picture in self.pictures:
            if picture.mask is not None:
                image, mask = header_size(picture.image), header_size(picture.mask)
                if sorted(image) != sorted(mask):
                    raise _sizes_differ(picture, mask, image)

    def take(self, count: int) -> FileSplit:
        return replace(self, pictures=self.pictures[:count])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.encoding.tobytes())
        for picture in self.pictures:
            digest.update(picture.image_id.encode() + b"\0")
            for path in (picture.image, picture.mask):
                digest.update(file_digest(path) if path else hashlib.sha256(b"").digest())
        return f"files-{len(self.pictures)}-{digest.hexdigest()}"

    def part_fingerprint(self, indices: Sequence[int]) -> str:
        return replace(self, pictures=tuple(self.pictures[index] for index in indices)).fingerprint()

    def unlabelled(self) -> FileSplit:
        return replace(self, pictures=tuple(replace(picture, mask=None) for picture in self.pictures))

    def files(self, index: int) -> tuple[Path, ...]:
        picture = self.pictures[index]
        return (picture.image,) if picture.mask is None else (picture.image, picture.mask)


def read_pair(picture: PicturePath, encoding: np.ndarray, hint: str = "") -> tuple[np.ndarray, np.ndarray | None]:
    """An image, uint8 (H, W, 3), and its labels, uint8 (H, W), or None where it has no mask.

    Args:
        picture: the two files.
        encoding: int16 (256,) or (65536,): label, VOID or INVALID of each value in the mask.
        hint: the end of the message of a value that is not allowed.

    Raises:
        UserError: a file is missing, damaged or of a kind that is not read, a label is not allowed, or the two differ
            in size. Nothing else can be wrong with a pair of files.
    """
    image = read_image(picture.image)
    if picture.mask is None:
        return image, None
    label = read_mask(picture.mask, encoding, hint)
    if label.shape != image.shape[:2]:
        raise _sizes_differ(picture, label.shape[::-1], image.shape[1::-1])
    return image, label


def _sizes_differ(picture: PicturePath, mask: tuple[int, ...], image: tuple[int, ...]) -> UserError:
    """Sizes are (width, height)."""
    turned = " once its orientation tag is applied" if image != header_size(picture.image) else ""
    return UserError(
        f"{picture.mask}: mask is {mask[0]}x{mask[1]}, its picture {picture.image.name} {image[0]}x{image[1]}{turned}; "
        "label the picture at its own size, as a viewer shows it"
    )


def label_encoding(entries: dict[int, int]) -> np.ndarray:
    """The table of a `FileSplit` from {value in the file: label}; every other value is invalid.

    int16 (256,), or (65536,) where a value needs 16 bits.
    """
    table = np.full(256 if max(entries) < 256 else 65536, INVALID, np.int16)
    for value, label in entries.items():
        table[value] = label
    return table


def void_classes(encoding: np.ndarray, classes: int) -> tuple[int, ...]:
    """Classes that no value in a mask file stands for."""
    return tuple(sorted(set(range(classes)) - set(encoding.tolist())))


def pair_folders(images: Path, masks: Path | None) -> tuple[PicturePath, ...]:
    """Every image of a folder with the mask of the same name but for the suffix, sorted by name.

    Hidden files are left out, and so is what has no suffix of an image (`Thumbs.db`, `desktop.ini`).

    Raises:
        UserError: a folder is missing, a file name cannot be shown, two images have the same name but for the suffix,
            or an image has no mask of its own.
    """
    paths = image_files(images)
    if masks is None:
        return tuple(PicturePath(stem, path, None) for stem, path in paths.items())
    return with_masks(paths, masks)


def image_files(folder: Path) -> dict[str, Path]:
    """The image files of a folder by their names without suffix, sorted by name."""
    found: dict[str, Path] = {}
    for path in visible(folder):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.is_dir():
            continue
        if hidden := [ord(character) for character in path.stem if category(character) in ("Cc", "Cs")]:
            name = ascii(path.name)[:80]
            raise UserError(
                f"{folder}: the name of the file {name} holds the character U+{hidden[0]:04X}, which cannot be shown; "
                "rename the file"
            )
        if path.stem in found:
            raise UserError(f"{path}: same name as {found[path.stem].name}; picture names must differ")
        found[path.stem] = path
    return found


def with_masks(images: Mapping[str, Path], folder: Path) -> tuple[PicturePath, ...]:
    """Each image with its mask in `folder`: of the same name, or of one that differs in letter case alone.

    Raises:
        UserError: an image has no mask, or one that another image has, too.
    """
    exact: dict[str, Path] = {}
    alike: dict[str, list[Path]] = {}
    others: dict[str, Path] = {}
    for path in sorted(visible(folder), key=lambda path: (_rank(path), path)):
        if _rank(path) == len(MASK_SUFFIXES):
            others.setdefault(path.stem, path)
        elif exact.setdefault(path.stem, path) is path:
            alike.setdefault(folded(path.stem), []).append(path)
    pairs, taken = [], {path: images[stem] for stem, path in exact.items() if stem in images}
    for stem, image in images.items():
        candidates = [exact[stem]] if stem in exact else alike.get(folded(stem), [])
        if not candidates:
            found = f"; {others[stem].name} is of a format that changes class indices" if stem in others else ""
            raise UserError(f"{image}: has no mask {folder / stem}.png{found}; add it or remove the picture")
        if len(candidates) > 1 or taken.setdefault(candidates[0], image) != image:
            names = " or ".join(path.name for path in candidates)
            raise UserError(
                f"{image}: its mask may be {names} in {folder}, of another picture, too; name masks exactly"
            )
        pairs.append(PicturePath(stem, image, candidates[0]))
    return tuple(pairs)


def _rank(mask: Path) -> int:
    """Of two masks of one name the one in the first of the formats is taken."""
    suffix = mask.suffix.lower()
    return MASK_SUFFIXES.index(suffix) if suffix in MASK_SUFFIXES and not mask.is_dir() else len(MASK_SUFFIXES)


def shipped_ids(name: str) -> list[str]:
    """Ids of a list in `deeplab/datasets/splits/`."""
    path = Path(str(package_files("deeplab.datasets") / "splits" / f"{name}.txt"))
    return [line.text for line in read_id_list(path)]


def search_and_heldout(
    name: str, pictures: Sequence[PicturePath]
) -> tuple[tuple[PicturePath, ...], tuple[PicturePath, ...]]:
    """Two disjoint halves: by the fixed lists shipped for `name` where all their pictures are here, else by hash."""
    ids = {picture.image_id for picture in pictures}
    lists = [shipped_ids(f"{name}_{half}") for half in ("search", "heldout")]
    if all(image_id in ids for half in lists for image_id in half):
        by_id = {picture.image_id: picture for picture in pictures}
        return tuple(by_id[i] for i in lists[0]), tuple(by_id[i] for i in lists[1])
    first, second = split_by_hash(pictures, (0.5, 0.5))
    return first, second


def split_by_hash(
    pictures: Sequence[PicturePath], shares: Sequence[float], salt: str = ""
) -> tuple[tuple[PicturePath, ...], ...]:
    """Disjoint parts with the given shares (summing to 1), by the order of SHA-256 of the ids.

    Depends on nothing but the ids: not on the machine, the order of the files or any random state.
    """
    order = sorted(pictures, key=lambda picture: hashlib.sha256(f"{salt}{picture.image_id}".encode()).hexdigest())
    ends = [round(sum(shares[: i + 1]) * len(order)) for i in range(len(shares))]
    parts = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return tuple(tuple(sorted(part, key=lambda picture: picture.image_id)) for part in parts)
