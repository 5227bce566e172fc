"""The context that all trials of a study share: network, images, target, stage cache."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from deeplab.compression import FIXED_WEIGHT_BITS, Compression
from deeplab.datasets import Sample, Split
from deeplab.datasets.part import Kept
from deeplab.image_windows import Read, TrainingBatches, frames, read
from deeplab.network import fingerprint, input_size
from evaluation.graph import Graph
from evaluation.json_codec import from_json, to_json
from evaluation.planner import Target, load_target
from sweeps.config.schema import SweepConfig
from sweeps.inputs.file_facts import facts_of
from sweeps.inputs.fingerprints import NETWORK
from sweeps.inputs.opened import open_inputs
from sweeps.inputs.splits import Images, unchanged
from sweeps.storage.blob_store import open_store
from sweeps.storage.stage_cache import StageCache

SHARED_BYTES = 1 << 26
"""Largest size of images, in bytes, that workers share through the cache; more are read from their files by each."""


@dataclass
class Context:
    """The context of all trials of a study. It opens quickly, since images are decoded on first use."""

    config: SweepConfig
    baseline: Graph
    """The float network, nothing removed."""
    images: Images
    target: Target
    cache: StageCache
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time in seconds by stage, of the running trial."""
    statistics: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Statistics of the baseline by kind and layer, see `sweeps.trial.baseline`."""

    def with_fixed_bits(self, compression: Compression) -> Compression:
        """The compression with the bit-widths that the configuration fixes, where it has none of its own."""
        if compression.is_float:
            return compression
        held = {
            name: getattr(compression, name) or getattr(self.config.quantization, name) for name in FIXED_WEIGHT_BITS
        }
        return replace(compression, **held)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        uses = {"search": self.images.search, "heldout": self.images.heldout, "train": self.images.train}
        uses["calibration"] = self.images.calibration
        splits = [split for split in uses.values() if split is not None]
        paths = [path for split in splits for index in range(len(split)) for path in split.files(index)]
        facts = facts_of(self.config)
        facts.load_digests(paths)
        found = {use: split.fingerprint() for use, split in uses.items() if split is not None}
        facts.save_digests(paths)
        return {NETWORK: fingerprint(self.baseline), **found}

    @cached_property
    def calibration_frames(self) -> np.ndarray:
        """The calibration images at the network's size, uint8 (N, height, width, 3)."""
        split, size = self.images.calibration, input_size(self.baseline)
        if 3 * len(split) * math.prod(size) > SHARED_BYTES:
            return frames(split, *size)
        return self._shared(split, *size, labelled=False).images

    @property
    def learns_from(self) -> str:
        """The use of the training images: `calibration` for distillation, else `train`."""
        return "calibration" if self.config.finetune.loss == "distill" else "train"

    @cached_property
    def batches(self) -> TrainingBatches:
        """The batches of fine-tuning, the same for all candidates, so that an image is read once."""
        options = self.config.finetune
        split, size = getattr(self.images, self.learns_from), input_size(self.baseline)
        labelled = options.loss == "labels"
        return TrainingBatches(
            split,
            *size,
            batch=options.batch,
            crop=options.crop,
            labelled=labelled,
            seed=self.config.seed,
            made=self._shared(split, *size, labelled) if 4 * len(split) * math.prod(size) <= SHARED_BYTES else None,
        )

    def _shared(self, split: Split, height: int, width: int, labelled: bool) -> Read:
        """Images that one worker reads, or generates, for all."""
        return self.cache.cached(
            "read",
            {"images": split.fingerprint(), "size": [height, width], "labelled": labelled},
            lambda: read(split, height, width, labelled),
            _read_bytes,
            _parse_read,
        )

    @cached_property
    def search(self) -> Split:
        """The search images for scoring; one worker reads, or generates, them for all."""
        return self._kept("search")

    @cached_property
    def heldout(self) -> Split:
        """The held-out images for scoring."""
        return self._kept("heldout")

    def _kept(self, use: str) -> Split:
        split: Split = getattr(self.images, use)
        first = split.sample(0)
        if len(split) * (first.image.nbytes + first.label.nbytes) > SHARED_BYTES:
            return split
        samples = self.cache.cached(
            "samples",
            {"images": split.fingerprint()},
            lambda: list(split),
            _samples_bytes,
            lambda content: _parse_samples(content, split.image_ids),
        )
        return Kept(split, samples)

    @cached_property
    def labelled_classes(self) -> tuple[int, ...]:
        """Classes in the labels of the search images, ascending; cached by the images' fingerprint."""
        return self.cache.cached(
            "labelled",
            {"images": self.images.search.fingerprint(), "void": self.images.dataset.void},
            lambda: labelled_classes(self.search, self.images.dataset.void),
            partial(to_json, tuple[int, ...]),
            partial(from_json, tuple[int, ...]),
        )

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun


def _read_bytes(made: Read) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in made._asdict().items() if array is not None})
    return buffer.getvalue()


def _parse_read(content: bytes) -> Read:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return Read(archive["images"], archive.get("labels"))


def _samples_bytes(samples: Sequence[Sample]) -> bytes:
    buffer = io.BytesIO()
    pairs = {f"{kind}{index}": getattr(s, kind) for index, s in enumerate(samples) for kind in ("image", "label")}
    np.savez(buffer, **pairs)
    return buffer.getvalue()


def _parse_samples(content: bytes, image_ids: Sequence[str]) -> list[Sample]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return [
            Sample(image_id, archive[f"image{index}"], archive[f"label{index}"])
            for index, image_id in enumerate(image_ids)
        ]


def labelled_classes(split: Split, void: int) -> tuple[int, ...]:
    """Classes in the labels of a split, ascending. Every image is read; raises `UserError` for an unreadable one."""
    found: set[int] = set()
    for sample in split:
        found |= set(np.unique(sample.label).tolist())
    return tuple(sorted(found - {void}))


def open_context(config: SweepConfig) -> Context:
    """Open network, images and cache of a study. Raises `UserError` where they do not match."""
    baseline, images = open_inputs(config)
    limit_bytes = None if config.cache.max_gb is None else config.cache.max_gb * 1e9
    cache = StageCache(open_store(config.cache_place), limit_bytes)
    return Context(config, baseline, unchanged(images), load_target(config.target), cache)
