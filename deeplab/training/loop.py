"""The training loop: open the data, make or load the network, step, validate, keep the best, save the state."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from deeplab.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, write_atomically
from deeplab.datasets import Dataset, Split, open_dataset
from deeplab.importing import load_network
from deeplab.network import classes, input_size
from deeplab.scoring import score
from deeplab.training.batches import Batches, ahead, class_weights
from deeplab.training.config import TrainConfig
from deeplab.training.network import starting_network
from deeplab.training.provenance import provenance
from deeplab.training.state import TrainingState, load_state, save_state
from deeplab.training.trainer import Trainer
from evaluation.accuracy import Predict, Scores, score_images
from evaluation.errors import UserError
from evaluation.graph import Graph

BEST, STATE, CURVE = "best.npz", "state.npz", "curve.json"
_SCORING_BATCH = 25


@dataclass(frozen=True)
class TrainingProgress:
    """Figures of a progress display after a step."""

    step: int
    steps: int
    loss: float
    """Running mean over about the last 50 steps."""
    images_per_s: float
    """Images a second over the last 50 steps."""
    best_miou: float
    """Best mIoU so far; NaN before the first validation."""
    validated_miou: float | None
    """mIoU of a step that validated; else None."""


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    command: str = "",
    show: Callable[[TrainingProgress], None] = lambda progress: None,
    stop_after: int | None = None,
) -> Checkpoint:
    """Train by a configuration and return the checkpoint with the best validation mIoU, as stored in best.npz.

    Args:
        config: network, data and schedule.
        resume: continue from state.npz of the output folder; its configuration must be this one.
        command: the command line, for the checkpoint's notes.
        show: called after every step.
        stop_after: save the state and stop after this step (for tests and time slices).

    Raises:
        UserError: data, start file or output folder are not as they should be.
    """
    dataset = open_dataset(config.data.name, config.data.path, **config.data.options)
    train_split, val_split = dataset.split(config.data.train), dataset.split(config.data.val)
    for name in config.data.score:
        dataset.split(name)
    network, start = starting_network(config.network, len(dataset.class_names))
    teacher = _teacher(config, dataset)
    state = _starting_state(config, resume)

    origin = {"command": command, **provenance()}  # now: the checkout may move on while this process trains
    options, crop = config.training, config.augmentation.crop or config.network.input_size
    balance = class_weights(train_split, classes(network), options.class_weights)
    trainer = Trainer(network, crop, options, balance, start, teacher)
    if state.arrays:
        trainer.restore(state.arrays)
    cache_bytes = int(options.cache_mb * 1e6)
    augmentation, whole = config.augmentation, config.network.input_size
    batches = Batches(train_split, options.batch_size, *crop, augmentation, options.seed, cache_bytes, whole)

    begin, loss, before = time.monotonic(), math.nan, state.seconds
    ends = deque([begin], maxlen=50)
    last = options.steps if stop_after is None else min(stop_after, options.steps)
    first = state.step
    if _is_exhausted(config, state):
        last = first
    for step, batch in enumerate(ahead(batches, first, last), start=first):
        value = trainer.fit(step, *batch)
        if not math.isfinite(value):
            raise UserError(f"training.learning_rate: the loss is {value} at step {step}; try a lower rate than it is")
        loss = value if math.isnan(loss) else loss + (value - loss) * max(0.02, 1 / (step - first + 1))
        done = step + 1
        seconds = time.monotonic() - begin
        state = replace(state, step=done, seconds=before + seconds)
        validated = None
        if done % options.validate_every == 0 or done == options.steps:
            validated = _score(trainer.predict, network, val_split).miou
            entry = {"step": done, "loss": round(loss, 4), "miou": round(validated, 5), "seconds": round(state.seconds)}
            state = replace(state, curve=(*state.curve, entry))
            if math.isnan(state.best_miou) or validated > state.best_miou:
                state = replace(state, best_miou=validated)
                notes = {**origin, **_notes(config, dataset, state)}
                save_checkpoint(trainer.network(), config.output / BEST, notes, config.checkpoint_dtype)
        if done % options.save_every == 0 or done == last or validated is not None:
            save_state(replace(state, arrays=trainer.variables()), config.output / STATE)
            write_atomically(config.output / CURVE, json.dumps(state.curve, indent=1).encode())
        ends.append(time.monotonic())
        rate = (len(ends) - 1) * options.batch_size / max(ends[-1] - ends[0], 1e-9)
        show(TrainingProgress(done, options.steps, loss, rate, state.best_miou, validated))
        if validated is not None and _is_exhausted(config, state):
            break
    if state.step < options.steps and not _is_exhausted(config, state):
        return Checkpoint(trainer.network())
    return _score_best(config, dataset)


def _teacher(config: TrainConfig, dataset: Dataset) -> Graph | None:
    if config.training.teacher is None:
        return None
    teacher = load_network(config.training.teacher)
    if classes(teacher) != len(dataset.class_names):
        raise UserError(
            f"training.teacher: {config.training.teacher} has {classes(teacher)} classes, {config.data.name} "
            f"{len(dataset.class_names)}; give a network of the same classes"
        )
    return teacher


def _is_exhausted(config: TrainConfig, state: TrainingState) -> bool:
    """Whether the mIoU has not risen for as many validations as are waited for."""
    patience = config.training.patience
    if patience is None or not state.curve:
        return False
    mious = [entry["miou"] for entry in state.curve]
    return len(mious) - 1 - mious.index(max(mious)) >= patience


def _starting_state(config: TrainConfig, resume: bool) -> TrainingState:
    path, fields = config.output / STATE, config.model_dump(mode="json", exclude={"output"})
    if not resume:
        if path.exists():
            raise UserError(f"{path}: a training was begun here; go on with --resume, or choose another output")
        try:
            config.output.mkdir(parents=True, exist_ok=True)
            write_atomically(config.output / CURVE, b"[]")
        except OSError as error:
            raise UserError(f"output: cannot write into {config.output} ({error.strerror})") from None
        return TrainingState(0, math.nan, fields, (), 0.0, ())
    if not path.exists():
        raise UserError(f"{path}: no such file; nothing to resume, start without --resume")
    state = load_state(path)
    if difference := _first_difference(_with_defaults(state.config), fields):
        key, was, is_now = difference
        raise UserError(f"{path}: begun with {key} = {was!r}, the configuration now says {is_now!r}; set it back")
    return state


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """A state's configuration with the keys that are newer than it."""
    found = dict(config)
    for name, field in TrainConfig.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(found.get(name), dict):
            defaults = {key: own.default for key, own in kind.model_fields.items() if not own.is_required()}
            found[name] = {**json.loads(json.dumps(defaults)), **found[name]}
    return found


def _first_difference(was: dict, is_now: dict, prefix: str = "") -> tuple[str, object, object] | None:
    for key in sorted({*was, *is_now}):
        old, new = was.get(key), is_now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if found := _first_difference(old, new, f"{prefix}{key}."):
                return found
        elif old != new:
            return f"{prefix}{key}", old, new
    return None


def _score(predict: Predict, network: Graph, split: Split) -> Scores:
    samples = ((sample.image_id, sample.image, sample.label) for sample in split)
    size = input_size(network)
    return score_images(predict, samples, classes(network), 255, input_size=size, batch_size=_SCORING_BATCH)


def _notes(config: TrainConfig, dataset: Dataset, state: TrainingState) -> dict[str, object]:
    return {
        "config": state.config,
        "class_names": list(dataset.class_names),
        "step": state.step,
        "seconds": round(state.seconds),
        "seed": config.training.seed,
        "data": {name: dataset.split(name).fingerprint() for name in (config.data.train, config.data.val)},
        "miou": {config.data.val: round(state.best_miou, 5)},
    }


def _score_best(config: TrainConfig, dataset: Dataset) -> Checkpoint:
    """Score the stored best once on the splits asked for, and write the scores into its notes."""
    path = config.output / BEST
    best = load_checkpoint(path)
    if not config.data.score:
        return best
    scores = dict(best.notes["miou"])
    for name in config.data.score:
        scores[name] = round(score(best.network, dataset, dataset.split(name)).miou, 5)
    best = replace(best, notes={**best.notes, "miou": scores})
    save_checkpoint(best.network, path, best.notes, config.checkpoint_dtype)
    return best
