"""Images and masks in files: how they are paired, read, checked and listed."""

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
class ImagePair:
    """One image on disk; `mask` is None where the data set has no labels."""

    image_id: str
    image: Path
    mask: Path | None


@dataclass(frozen=True, eq=False)
class FileSplit(Split):
    """Images read from disk when asked for."""

    pairs: tuple[ImagePair, ...]
    encoding: np.ndarray
    """int16 (256,) or (65536,): value in the mask file -> label, VOID or INVALID."""
    hint: str = ""
    """End of the message about a value that is not allowed."""

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(pair.image_id for pair in self.pairs)

    def image(self, index: int) -> np.ndarray:
        return read_image(self.pairs[index].image)

    def sample(self, index: int) -> Sample:
        pair = self.pairs[index]
        if pair.mask is None:
            raise UserError(f"{pair.image}: has no mask; unlabelled images serve for calibration, not for scoring")
        image, label = read_pair(pair, self.encoding, self.hint)
        assert label is not None  # there is a mask
        return Sample(pair.image_id, image, label)

    def check(self) -> None:
        """Compare the sizes of images and masks by their headers alone: an orientation tag may swap width and
        height."""
        for pair in self.pairs:
            if pair.mask is not None:
                image, mask = header_size(pair.image), header_size(pair.mask)
                if sorted(image) != sorted(mask):
                    raise _sizes_differ(pair, mask, image)

    def take(self, count: int) -> FileSplit:
        return replace(self, pairs=self.pairs[:count])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.encoding.tobytes())
        for pair in self.pairs:
            digest.update(pair.image_id.encode() + b"\0")
            for path in (pair.image, pair.mask):
                digest.update(file_digest(path) if path else hashlib.sha256(b"").digest())
        return f"files-{len(self.pairs)}-{digest.hexdigest()}"

    def part_fingerprint(self, indices: Sequence[int]) -> str:
        return replace(self, pairs=tuple(self.pairs[index] for index in indices)).fingerprint()

    def unlabelled(self) -> FileSplit:
        return replace(self, pairs=tuple(replace(pair, mask=None) for pair in self.pairs))

    def files(self, index: int) -> tuple[Path, ...]:
        pair = self.pairs[index]
        return (pair.image,) if pair.mask is None else (pair.image, pair.mask)


def read_pair(pair: ImagePair, encoding: np.ndarray, hint: str = "") -> tuple[np.ndarray, np.ndarray | None]:
    """An image, uint8 (H, W, 3), and its labels, uint8 (H, W), or None where it has no mask.

    Args:
        pair: the two files.
        encoding: int16 (256,) or (65536,): label, VOID or INVALID of each value in the mask.
        hint: the end of the message of a value that is not allowed.

    Raises:
        UserError: a file is missing, damaged or of a kind that is not read, a label is not allowed, or the two differ
            in size. Nothing else can be wrong with a pair of files.
    """
    image = read_image(pair.image)
    if pair.mask is None:
        return image, None
    label = read_mask(pair.mask, encoding, hint)
    if label.shape != image.shape[:2]:
        raise _sizes_differ(pair, label.shape[::-1], image.shape[1::-1])
    return image, label


def _sizes_differ(pair: ImagePair, mask: tuple[int, ...], image: tuple[int, ...]) -> UserError:
    """The error of an image and a mask that differ in size; sizes are (width, height)."""
    turned = " once its orientation tag is applied" if image != header_size(pair.image) else ""
    return UserError(
        f"{pair.mask}: mask is {mask[0]}x{mask[1]}, its image {pair.image.name} {image[0]}x{image[1]}{turned}; "
        "label the image at its own size, as a viewer shows it"
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
    """Classes that no value in a mask file encodes."""
    return tuple(sorted(set(range(classes)) - set(encoding.tolist())))


def pair_folders(images: Path, masks: Path | None) -> tuple[ImagePair, ...]:
    """Every image of a folder with the mask of the same name but for the suffix, sorted by name.

    Hidden files are left out, and so are files without the suffix of an image (`Thumbs.db`, `desktop.ini`).

    Raises:
        UserError: a folder is missing, a file name cannot be shown, two images have the same name but for the suffix,
            or an image has no mask of its own.
    """
    paths = image_files(images)
    if masks is None:
        return tuple(ImagePair(stem, path, None) for stem, path in paths.items())
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
            raise UserError(f"{path}: same name as {found[path.stem].name}; image names must differ")
        found[path.stem] = path
    return found


def with_masks(images: Mapping[str, Path], folder: Path) -> tuple[ImagePair, ...]:
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
            raise UserError(f"{image}: has no mask {folder / stem}.png{found}; add it or remove the image")
        if len(candidates) > 1 or taken.setdefault(candidates[0], image) != image:
            names = " or ".join(path.name for path in candidates)
            raise UserError(f"{image}: its mask may be {names} in {folder}, of another image, too; name masks exactly")
        pairs.append(ImagePair(stem, image, candidates[0]))
    return tuple(pairs)


def _rank(mask: Path) -> int:
    """Rank of a mask's format: of two masks of one name, the one of lower rank is taken."""
    suffix = mask.suffix.lower()
    return MASK_SUFFIXES.index(suffix) if suffix in MASK_SUFFIXES and not mask.is_dir() else len(MASK_SUFFIXES)


def shipped_ids(name: str) -> list[str]:
    """Ids of a list in `deeplab/datasets/splits/`; none where there is no such list."""
    path = Path(str(package_files("deeplab.datasets") / "splits" / f"{name}.txt"))
    return [line.text for line in read_id_list(path)] if path.exists() else []


def search_and_heldout(name: str, pairs: Sequence[ImagePair]) -> tuple[tuple[ImagePair, ...], tuple[ImagePair, ...]]:
    """Two disjoint halves: by the lists NAME_search.txt and NAME_heldout.txt in `deeplab/datasets/splits/` where both
    exist and all their images are here, else by hash."""
    ids = {pair.image_id for pair in pairs}
    lists = [shipped_ids(f"{name}_{half}") for half in ("search", "heldout")]
    if all(lists) and all(image_id in ids for half in lists for image_id in half):
        by_id = {pair.image_id: pair for pair in pairs}
        return tuple(by_id[i] for i in lists[0]), tuple(by_id[i] for i in lists[1])
    first, second = split_by_hash(pairs, (0.5, 0.5))
    return first, second


def split_by_hash(
    pairs: Sequence[ImagePair], shares: Sequence[float], salt: str = ""
) -> tuple[tuple[ImagePair, ...], ...]:
    """Disjoint parts with the given shares (summing to 1), by the order of SHA-256 of the ids.

    Depends on nothing but the ids: not on the machine, the order of the files or any random state.
    """
    order = sorted(pairs, key=lambda pair: hashlib.sha256(f"{salt}{pair.image_id}".encode()).hexdigest())
    ends = [round(sum(shares[: i + 1]) * len(order)) for i in range(len(shares))]
    parts = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return tuple(tuple(sorted(part, key=lambda pair: pair.image_id)) for part in parts)
