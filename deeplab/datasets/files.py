"""Pictures and masks in files: how they are paired, read, checked and listed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab.datasets.interface import Sample, Split
from evaluation.errors import UserError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm")
INVALID = -1
"""Entry of a label encoding for a file value that must not occur."""


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
    """int16 (256,): value in the mask file -> label, VOID or INVALID."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(picture.image_id for picture in self.pictures)

    def image(self, index: int) -> np.ndarray:
        return read_image(self.pictures[index].image)

    def sample(self, index: int) -> Sample:
        picture = self.pictures[index]
        if picture.mask is None:
            raise UserError(f"{picture.image}: has no mask; unlabelled pictures serve for calibration, not for scoring")
        image = read_image(picture.image)
        label = read_mask(picture.mask, self.encoding)
        if label.shape != image.shape[:2]:
            raise _sizes_differ(picture, label.shape[::-1], image.shape[1::-1])
        return Sample(picture.image_id, image, label)

    def check(self) -> None:
        """Sizes of pictures and masks, from their headers alone."""
        for picture in self.pictures:
            if picture.mask is not None:
                with _header(picture.image) as image, _header(picture.mask) as mask:
                    if image.size != mask.size:
                        raise _sizes_differ(picture, mask.size, image.size)

    def take(self, count: int) -> FileSplit:
        return replace(self, pictures=self.pictures[:count])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.encoding.tobytes())
        for picture in self.pictures:
            digest.update(picture.image_id.encode() + b"\0")
            for path in (picture.image, picture.mask):
                digest.update(hashlib.sha256(path.read_bytes() if path else b"").digest())
        return f"files-{len(self.pictures)}-{digest.hexdigest()}"


def read_image(path: Path) -> np.ndarray:
    """A picture as uint8 (H, W, 3) RGB. Raises `UserError` for a file that is missing or no picture."""
    with _opened(path) as picture:
        return np.asarray(picture.convert("RGB"))


def read_mask(path: Path, encoding: np.ndarray) -> np.ndarray:
    """A mask as labels uint8 (H, W) through `encoding`. Raises `UserError` for colours or a value out of range."""
    with _opened(path) as picture:
        if picture.mode not in ("L", "P", "1", "I", "I;16"):
            raise UserError(
                f"{path}: mask is {picture.mode}, expected one channel of class indices (8-bit grey or palette PNG)"
            )
        values = np.asarray(picture).astype(np.int64)
    known = (values >= 0) & (values < len(encoding))
    labels = np.where(known, encoding[np.where(known, values, 0)], INVALID)
    if (labels == INVALID).any():
        row, column = np.argwhere(labels == INVALID)[0]
        allowed = _ranges(np.flatnonzero(encoding != INVALID))
        raise UserError(f"{path}: label {values[row, column]} at row {row}, column {column}; allowed are {allowed}")
    return labels.astype(np.uint8)


def _sizes_differ(picture: PicturePath, mask: tuple[int, ...], image: tuple[int, ...]) -> UserError:
    """Sizes are (width, height)."""
    return UserError(
        f"{picture.mask}: mask is {mask[0]}x{mask[1]}, its picture {picture.image.name} {image[0]}x{image[1]}; "
        "label the picture at its own size"
    )


def _opened(path: Path) -> Image.Image:
    picture = _header(path)
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from None
    return picture


def _header(path: Path) -> Image.Image:
    """The picture with its size and mode known, its pixels not yet decoded."""
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).replace(str(path), "file").replace("\n", " ")
    return UserError(f"{path}: not a readable picture ({reason}); replace it")


def _ranges(values: np.ndarray) -> str:
    """[0, 1, 2, 255] -> '0-2, 255'."""
    groups = np.split(values, np.flatnonzero(np.diff(values) != 1) + 1)
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)


def label_encoding(entries: dict[int, int]) -> np.ndarray:
    """The table of a `FileSplit` from {value in the file: label}; every other value is invalid."""
    table = np.full(256, INVALID, np.int16)
    for value, label in entries.items():
        table[value] = label
    return table


def pair_folders(images: Path, masks: Path | None) -> tuple[PicturePath, ...]:
    """Every picture of a folder with the mask of the same stem (`.png`), sorted by name.

    Raises:
        UserError: a folder is missing, two pictures share a stem, or a picture has no mask.
    """
    for folder in (images, masks):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    found: dict[str, PicturePath] = {}
    for path in paths:
        if path.stem in found:
            raise UserError(f"{path}: same name as {found[path.stem].image.name}; picture names must differ")
        mask = masks / f"{path.stem}.png" if masks is not None else None
        if mask is not None and not mask.is_file():
            raise UserError(f"{path}: has no mask {mask}; add it or remove the picture")
        found[path.stem] = PicturePath(path.stem, path, mask)
    return tuple(found.values())


def read_id_list(path: Path) -> list[str]:
    """Ids, one a line; blank lines and those that start with # are skipped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; expected one picture name a line") from None
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def chosen(pictures: Sequence[PicturePath], ids: Iterable[str], source: Path) -> tuple[PicturePath, ...]:
    """The pictures of a list, in its order. Raises `UserError` for an id that has no picture or occurs twice."""
    by_id = {picture.image_id: picture for picture in pictures}
    picked: dict[str, PicturePath] = {}
    for image_id in ids:
        if image_id not in by_id:
            raise UserError(f"{source}: names picture '{image_id}', which is not there")
        if image_id in picked:
            raise UserError(f"{source}: names picture '{image_id}' twice")
        picked[image_id] = by_id[image_id]
    return tuple(picked.values())


def shipped_ids(name: str) -> list[str]:
    """Ids of a list in `deeplab/datasets/splits/`."""
    return read_id_list(Path(str(package_files("deeplab.datasets") / "splits" / f"{name}.txt")))


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
