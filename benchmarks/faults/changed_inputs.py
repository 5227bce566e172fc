"""The fault "changed inputs" of `benchmarks.faults`: files that a study reads are replaced while it is stopped.

A study that is resumed then must be refused and must stay as it is, whatever is changed and however well the change is
hidden (equal size, old modification time); once the files are back it must go on.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from deeplab.checkpoint import load_checkpoint, save_checkpoint
from deeplab.network import weights, with_weights
from evaluation.errors import USER_ERROR_STATUS
from sweeps.storage.journal import read_journal

IMAGES, CLASSES, HEIGHT, WIDTH = 8, 11, 24, 32
"""Of the data set; as many classes as the shipped network has."""
USES = ("train", "search", "heldout")


class Study(Protocol):
    """What this fault needs of a disturbed study."""

    folder: Path
    """Where it was started; `input_files` were written there."""
    study: Path
    """The study's own folder."""


class MixedDataError(Exception):
    """A study went on with inputs that are not those it was measured on."""


def input_files(folder: Path) -> dict[str, Any]:
    """Write a data set, a network and a target into a folder; returns the keys of a configuration that reads them."""
    data = folder / "data"
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (data / part).mkdir(parents=True)
    ids = [f"{number:02d}" for number in range(IMAGES)]
    for image_id in ids:
        image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(image).save(data / "images" / f"{image_id}.png", compress_level=0)
        mask = rng.integers(0, CLASSES, (HEIGHT, WIDTH), np.uint8)
        Image.fromarray(mask).save(data / "masks" / f"{image_id}.png", compress_level=0)
    for number, use in enumerate(USES):
        (data / f"{use}.txt").write_text("\n".join(ids[number :: len(USES)]) + "\n")
    (data / "classes.txt").write_text("\n".join(f"class {index}" for index in range(CLASSES)) + "\n")
    shutil.copyfile(str(files("deeplab") / "pretrained" / "streets.npz"), folder / "network.npz")
    (folder / "target.yaml").write_text("alignment_bytes: 16\n")
    return {
        "data": {"name": "folder", "path": "data", **{use: use for use in USES}},
        "network": {"source": "network.npz"},
        "target": "target.yaml",
    }


def _repaint(path: Path) -> None:
    """Another value in one pixel; the size of the file stays."""
    values = np.array(Image.open(path))
    values.flat[0] = (int(values.flat[0]) + 1) % CLASSES
    Image.fromarray(values).save(path, compress_level=0)


def _other_weights(path: Path) -> None:
    network = load_checkpoint(path).network
    name, values = min(weights(network).items())
    save_checkpoint(with_weights(network, {name: values + 1}), path)


def _shorter_list(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def _other_name(path: Path) -> None:
    path.write_text(path.read_text().replace("class 3", "class x"))


def _other_alignment(path: Path) -> None:
    path.write_text("alignment_bytes: 64\n")


def _of_use(folder: Path, use: str, part: str) -> Path:
    ids = (folder / "data" / f"{use}.txt").read_text().split()
    return folder / "data" / part / f"{ids[0]}.png"


CHANGES: tuple[tuple[Callable[[Path], Path], Callable[[Path], None]], ...] = (
    *((lambda folder, use=use: _of_use(folder, use, "masks"), _repaint) for use in USES),
    *((lambda folder, use=use: _of_use(folder, use, "images"), _repaint) for use in USES),
    (lambda folder: folder / "network.npz", _other_weights),
    (lambda folder: folder / "data" / "search.txt", _shorter_list),
    (lambda folder: folder / "data" / "classes.txt", _other_name),
    (lambda folder: folder / "target.yaml", _other_alignment),
)
"""The file that is changed, found in the folder, and how."""


def change_inputs(study: Study, resume: Callable[[], int], rng: random.Random) -> str | None:
    """Change one file, resume, and put the file back.

    Args:
        study: stopped; its configuration has the keys that `input_files` returned.
        resume: starts the study with `--resume`, waits until that ends, and returns the exit status.
        rng: which file, and whether its modification time is put back after the change.

    Returns:
        The name of the file; None where nothing was measured yet, so that inputs may still change.

    Raises:
        MixedDataError: the study was not refused, or refusing it changed its journal or its `study.json`.
    """
    if not read_journal(study.study):
        return None
    find, change = rng.choice(CHANGES)
    path = find(study.folder)
    kept = path.with_name(f"{path.name}.kept")
    shutil.copy2(path, kept)
    before = _files(study.study)
    change(path)
    if rng.random() < 0.5:
        os.utime(path, ns=(kept.stat().st_atime_ns, kept.stat().st_mtime_ns))
    status = resume()
    after = _files(study.study)
    os.replace(kept, path)
    if status != USER_ERROR_STATUS:
        raise MixedDataError(f"{path.name} was changed, and the study ended with status {status}")
    if before != after:
        raise MixedDataError(f"{path.name} was changed; the study was refused, but its journal or study.json differs")
    return path.name


def _files(study: Path) -> dict[str, bytes]:
    return {name: (study / name).read_bytes() for name in ("trials.jsonl", "study.json")}
