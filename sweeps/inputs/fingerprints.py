"""Digests of the inputs of a study outside its configuration: network, images, masks, classes, target, program.

The digests are stored in `study.json` and the record, and their details (a digest per file) in `inputs.json` of the
study's folder, for messages that name the changed files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from deeplab.datasets import Split
from deeplab.datasets.digests import file_digest
from deeplab.network import fingerprint as network_fingerprint
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner import Target
from reports.files import existing_file, replace_file
from reports.record import StudyRecord, Trial
from sweeps.config.schema import SweepConfig
from sweeps.inputs import environment
from sweeps.inputs.file_facts import source_digest
from sweeps.inputs.splits import Images

INPUTS_FILE = "inputs.json"
NAMED = 2
"""Most files that a message names."""
NETWORK, CLASSES, TARGET, PROGRAM = "network graph", "class names", "target", "program"
USES = ("search", "heldout", "train", "calibration")
MAKES_NETWORK = (NETWORK, CLASSES, TARGET, "train", "calibration")
"""Inputs on which a candidate's network and plan depend."""
_DIGITS = 16
"""Hexadecimal digits of a file's digest in `inputs.json`."""


@dataclass(frozen=True)
class Inputs:
    """The present inputs of a study."""

    digests: Mapping[str, str]
    """Digests by input: `NETWORK`, `CLASSES`, `TARGET` (if it is a file), the `USES` of images, and `PROGRAM`, the
    measuring source and libraries."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Details of each digest, in JSON types. Images: a list of [id, image, its digest, mask, its digest]."""


def fingerprint(config: SweepConfig, baseline: Graph, images: Images, target: Target) -> Inputs:
    """Hash the inputs of a study; files with a known digest are not read again.

    Raises:
        UserError: a file is missing or cannot be read.
    """
    details: dict[str, Any] = {
        NETWORK: config.network.source,
        CLASSES: list(images.dataset.class_names),
    }
    digests = {NETWORK: network_fingerprint(baseline), CLASSES: _digest(details[CLASSES]), PROGRAM: _program()}
    if Path(config.target).suffix:
        # Values that differ from the defaults, instead of bytes, so that a field added later does not change the
        # digest.
        details[TARGET] = {f.name: getattr(target, f.name) for f in fields(target) if _is_set(target, f)}
        digests[TARGET] = _digest(details[TARGET])
    for use, split in image_uses(config, images).items():
        digests[use] = split.fingerprint()
        source = config.data.calibration if use == "calibration" and config.data.calibration else config.data
        details[use] = _rows(split, source.path)
    return Inputs(digests, details)


def image_uses(config: SweepConfig, images: Images) -> dict[str, Split]:
    """The images on which scores depend, by use. `train` is included only if training uses its labels."""
    uses = {"search": images.search, "heldout": images.heldout, "calibration": images.calibration}
    trains = bool(config.finetune.steps or config.quantization.aware_steps)
    if images.train is not None and trains and config.finetune.loss == "labels":
        uses["train"] = images.train
    return uses


def read_details(folder: Path) -> Mapping[str, Any]:
    """The content of `inputs.json`; empty if it is missing or damaged, since it is used in messages only."""
    try:
        file = existing_file(folder, INPUTS_FILE)
        found = None if file is None else json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, UserError):
        return {}
    return found if isinstance(found, dict) else {}


def write_details(inputs: Inputs, folder: Path) -> None:
    content = json.dumps(inputs.details, separators=(",", ":"), default=str) + "\n"
    replace_file(folder / INPUTS_FILE, content.encode())


def changed_inputs(before: Mapping[str, str], details: Mapping[str, Any], now: Inputs) -> dict[str, tuple[str, str]]:
    """Changed inputs: description -> (digest before, digest now). Uses that only one side has are omitted, and so is
    the program, which a user cannot restore.

    Args:
        before: digests of the earlier run.
        details: details of the earlier run, from `read_details`; without them no file is named.
        now: inputs of this run.
    """
    changed = {}
    for what in before:
        old, new = before[what], now.digests.get(what)
        # A use on one side only is a change of the configuration.
        if what != PROGRAM and new is not None and old != new:
            changed[_words(what, details.get(what), now.details.get(what))] = old, new
    return changed


def require_same_inputs(record: StudyRecord, trial: Trial, present: Mapping[str, str]) -> None:
    """Raise `UserError` if the network or images that a trial's network was made from have changed.

    Args:
        present: present fingerprints by use. For a study without fingerprints per trial only that of the network is
            compared.
    """
    known = next((span.digests for span in record.inputs if trial.number in span.trials), None)
    if known is None:
        kept = record.data.fingerprints if record.data is not None else {}
        known = {NETWORK: kept[NETWORK]} if NETWORK in kept else {}
    changed = [use for use in MAKES_NETWORK if use in present and known.get(use, present[use]) != present[use]]
    if changed:
        raise UserError(
            f"{trial.label} cannot be made again: the study's {' and '.join(changed)} changed since it was measured; "
            "put the files back, or run a new study on those that are there now"
        )


def _words(what: str, before: Any, now: Any) -> str:
    try:
        if what == NETWORK:
            return f"network ({now} has other weights)" if now == before or not before else f"network ({now})"
        if what == CLASSES:
            return f"class names ({_differing(before, now)})"
        if what == TARGET:
            keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
            return f"target file ({', '.join(keys)})"
        return _changed_images(what, before, now)
    except (TypeError, ValueError, AttributeError, IndexError, KeyError):  # unusable details of the earlier run
        return what if what in (NETWORK, CLASSES, TARGET) else f"{what} images or masks"


def _differing(before: Sequence[str], now: Sequence[str]) -> str:
    if len(before) != len(now):
        return f"{len(before)} before, {len(now)} now"
    number = next(index for index, pair in enumerate(zip(before, now, strict=True)) if pair[0] != pair[1])
    return f"class {number} was {before[number]!r}, is {now[number]!r}"


def _changed_images(use: str, before: Sequence[Sequence[Any]], now: Sequence[Sequence[Any]]) -> str:
    """The changed images and masks of one use, by name."""
    if not before and not now:
        return f"{use} images (this version draws others)"
    old, new = {row[0]: row for row in before}, {row[0]: row for row in now}
    common = [name for name in new if name in old]
    found = {
        f"{use} images": [new[name][1] for name in common if new[name][2] != old[name][2]],
        f"{use} masks": [new[name][3] or name for name in common if new[name][4] != old[name][4]],
        f"{use} images added": [new[name][1] for name in new if name not in old],
        f"{use} images removed": [old[name][1] for name in old if name not in new],
    }
    said = [f"{words} ({_named(names)})" for words, names in found.items() if names]
    return " and ".join(said) or f"{use} images (their order, or the meaning of mask values)"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _rows(split: Split, root: Path | None) -> list[list[str | None]]:
    rows = []
    for index, image_id in enumerate(split.image_ids):
        paths = split.files(index)
        if not paths:
            return []
        said = [value for path in paths for value in (_relative(path, root), file_digest(path).hex()[:_DIGITS])]
        rows.append([image_id, *said, *[None] * (4 - len(said))])
    return rows


def _relative(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root)) if root is not None and path.is_relative_to(root) else str(path)


def _program() -> str:
    return _digest([source_digest("deeplab", "evaluation"), environment.versions()])


def _is_set(target: Target, one: Field[Any]) -> bool:
    value: object = getattr(target, one.name)
    return one.name != "name" and value != one.default


def _digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, default=str).encode()).hexdigest()
