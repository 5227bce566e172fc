"""A check of every image and mask that a study will read, before it starts.

Files are checked in parallel, and each content once: content that passed before is not decoded again (`file_facts`).
Generated images have no files and are not checked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deeplab.datasets import VOID, Split
from evaluation.errors import UserError
from sweeps.config.schema import SweepConfig
from sweeps.inputs.file_facts import FileFacts, facts_of, source_digest
from sweeps.inputs.splits import Images, open_part

NAMED = 3
"""Most further bad files that a message names."""
LINE_EVERY_S = 10.0
"""Seconds between two lines of progress without a terminal."""
_LABELS = 256

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class ImageUse:
    """One use of images in a study."""

    key: str
    """Key of the configuration that names the images, e.g. "data.search"."""
    split: Split
    labelled: bool
    """Whether masks are read too."""
    scored: bool = False
    """Whether these images are scored, so that a labelled class must occur."""


@dataclass(frozen=True)
class _Item:
    use: ImageUse
    index: int

    def name(self) -> str:
        """Name of the check; it depends on the content, the label encoding, and the code that reads them."""
        content = self.use.split.part_fingerprint([self.index])
        return f"{source_digest('deeplab.datasets')[:16]}-{'labelled' if self.use.labelled else 'image'}-{content}"

    def labels(self) -> bytes:
        """Decode the image and its mask. Returns the labels that occur as 256 bits (32 bytes); b"" without a mask."""
        if not self.use.labelled:
            self.use.split.image(self.index)
            return b""
        seen = np.bincount(self.use.split.sample(self.index).label.ravel(), minlength=_LABELS) > 0
        return np.packbits(seen).tobytes()


@dataclass(frozen=True)
class _Bad:
    item: _Item
    message: str

    @property
    def file(self) -> str:
        """Name of the file in the message."""
        paths = self.item.use.split.files(self.item.index)
        return next((path.name for path in paths if self.message.startswith(f"{path}:")), paths[-1].name)


def uses_of(config: SweepConfig, images: Images) -> list[ImageUse]:
    """The uses of images in a study, in the order in which errors are reported."""
    uses = [ImageUse("data.search", images.search, True, True), ImageUse("data.heldout", images.heldout, True, True)]
    trains = bool(config.finetune.steps or config.quantization.aware_steps)
    if images.train is not None and trains and config.finetune.loss == "labels":
        uses.append(ImageUse("data.train", images.train, True))
    uses.append(ImageUse("data.calibration" if config.data.calibration else "data.train", images.calibration, False))
    if config.import_check is not None:
        split = open_part(images.dataset, config.import_check.split)
        uses.append(ImageUse("import_check.split", split, True, True))
    return uses


def check_images(uses: Sequence[ImageUse], facts: FileFacts, console: Console) -> None:
    """Check every image and mask.

    Raises:
        UserError: a file cannot be read or used; the message names the first, and the number of others.
    """
    items = _distinct(uses)
    if not items:
        return
    paths = [path for item in items for path in item.use.split.files(item.index)]
    facts.load_digests(paths)
    with _Bar(console, len(items)) as bar, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        named = list(bar.track("reading", _each(pool, _Item.name, items)))
        facts.save_digests(paths)
        names = {item: name for item, name in zip(items, named, strict=True) if isinstance(name, str)}
        known = facts.passed(list(names.values()))
        fresh = [item for item, name in names.items() if name not in known]
        if fresh:
            bar.say("checking 1 image" if len(fresh) == 1 else f"checking {len(fresh)} images and their masks")
        found = list(bar.track("checking", _each(pool, _Item.labels, fresh)))
    seen = {item: labels for item, labels in zip(fresh, found, strict=True) if isinstance(labels, bytes)}
    facts.save_passed({names[item]: labels for item, labels in seen.items()})
    bad = [answer for answer in (*named, *found) if isinstance(answer, _Bad)]
    if bad:
        raise _refused(bad, items)
    _check_scored(uses, seen | {item: known[name] for item, name in names.items() if name in known})


def _distinct(uses: Sequence[ImageUse]) -> list[_Item]:
    """Every image file once, with its mask if any use reads masks."""
    items: dict[tuple[Path, ...], _Item] = {}
    for use in sorted(uses, key=lambda use: not use.labelled):
        for index in range(len(use.split)):
            if paths := use.split.files(index):
                items.setdefault(paths[:1], _Item(use, index))
    return list(items.values())


def _each(pool: ThreadPoolExecutor, function: Callable[[_Item], R], items: Iterable[_Item]) -> Iterator[R | _Bad]:
    def answer(item: _Item) -> R | _Bad:
        try:
            return function(item)
        except UserError as error:
            return _Bad(item, str(error))
        except Exception as error:  # any error of a library that cannot read the file
            path = item.use.split.files(item.index)[-1]
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
            return _Bad(item, f"{path}: it or its image cannot be read ({reason}); replace it")

    return pool.map(answer, items)


def _refused(bad: Sequence[_Bad], items: Sequence[_Item]) -> UserError:
    order = {item: place for place, item in enumerate(items)}
    first, *others = sorted(bad, key=lambda one: order[one.item])
    more = ""
    if others:
        shown = ", ".join(dict.fromkeys(one.file for one in others[:NAMED]))
        more = f" (and {len(others)} more: {shown}{', ...' if len(others) > NAMED else ''})"
    return UserError(f"{first.item.use.key}: {first.message}{more}")


def _check_scored(uses: Sequence[ImageUse], seen: dict[_Item, bytes]) -> None:
    """Raise `UserError` for scored images whose labels are all void: they have no mIoU."""
    by_image = {item.use.split.files(item.index)[0]: labels for item, labels in seen.items()}
    for use in uses:
        paths = [use.split.files(index) for index in range(len(use.split))] if use.scored else []
        if not paths or not all(paths):
            continue
        bits = np.frombuffer(b"".join(by_image[path[0]] for path in paths), np.uint8).reshape(-1, _LABELS // 8)
        labels = np.flatnonzero(np.unpackbits(bits, axis=1).any(axis=0))
        if not set(labels.tolist()) - {VOID}:
            raise UserError(
                f"{use.key}: no mask of its {len(paths)} images holds a class, all pixels are void, so no score can be "
                f"taken (the first is {paths[0][-1]}); give masks with labels, or other images"
            )


class _Bar:
    """A progress bar on a terminal; elsewhere a line at the start of decoding, and one every few seconds."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, highlight=False)

    def track(self, what: str, answers: Iterable[T]) -> Iterator[T]:
        task = self._progress.add_task(f"{what} images and masks", total=self._total)
        last = time.monotonic()
        for count, answer in enumerate(answers, 1):
            self._progress.advance(task)
            if time.monotonic() - last > LINE_EVERY_S:
                last = time.monotonic()
                self.say(f"{what} images and masks: {count}")
            yield answer
        self._progress.remove_task(task)


def checked(config: SweepConfig, images: Images, console: Console | None = None) -> list[ImageUse]:
    """Check the images that a study reads; returns their uses."""
    uses = uses_of(config, images)
    check_images(uses, facts_of(config), console or Console(quiet=True))
    return uses
