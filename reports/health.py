"""The warnings about a study, one sentence each, where they apply.

The same list is on page 1 of the report, at the end of a run in the terminal, in front.html and in MLflow. The warnings
about images (`data_warnings`) are also printed at the start of a run.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from evaluation.accuracy import LEAST_IMAGES, UNRELIABLE, Interval, enough_images
from reports import format as fmt
from reports.paired import paired_interval
from reports.promises import promise_warnings
from reports.record import DataSet, State, StudyRecord, Trial

FEW_TRIALS = 20
SMALL_SHARE = 0.1
LOW_AGREEMENT = 0.99
DOUBTFUL_SHARE = 0.5
NAMED_CLASSES = 6


def health(
    record: StudyRecord,
    change: Mapping[int, Interval],
    heldout_change: Mapping[int, Interval],
    on_front: Mapping[int, float],
) -> list[str]:
    """All warnings, worst first.

    Args:
        change: interval of the change in mIoU against the baseline on the search images, by trial number.
        heldout_change: the same on the held-out images.
        on_front: share of the resamples of the images in which a trial is on the front, by number.
    """
    return [
        *promise_warnings(record),
        *_images(record),
        *_trials(record),
        *_changes(record),
        *_screening(record),
        *_import(record),
        *_baseline(record, change, heldout_change),
        *_overlaps(record, on_front),
        *_edges(record),
        *_agreement(record),
    ]


def urgent_warnings(record: StudyRecord) -> list[str]:
    """The warnings of `health` that invalidate figures: exceeded promises, and a mean over one class or none."""
    shown = record.baseline or record.choice
    of_one = shown is not None and len(shown.measured.scores.scored_classes) < 2
    return promise_warnings(record) + (unlabelled_classes(record) if of_one else [])


def _trials(record: StudyRecord) -> list[str]:
    said = []
    failed = [trial for trial in record.trials if trial.state is State.FAILED]
    if failed:
        numbers = ", ".join(f"{trial.number:03d}" for trial in failed[:8]) + (" and more" if len(failed) > 8 else "")
        said.append(
            f"{len(failed)} of {len(record.trials)} trials failed ({numbers}); the front may lack their points."
        )
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
    if complete and not any(trial.feasible for trial in complete):
        said.append(f"{_completed(complete)} over a limit; the table of all trials says over which.")
    share = len(record.trials) / record.space_size if record.space_size else 1.0
    if len(record.trials) < FEW_TRIALS and share < 1:
        said.append(
            f"Only {len(record.trials)} of {record.space_size} candidates were tried; more trials may move the front."
        )
    elif share < SMALL_SHARE:
        said.append(
            f"{len(record.trials)} of {record.space_size} candidates ({fmt.percent(share)}) were tried; "
            "better ones may be among the rest."
        )
    return said


def _changes(record: StudyRecord) -> list[str]:
    """Changes of configuration or inputs between trials."""
    said = []
    for change in record.changes:
        if change["keys"]:
            said.append(
                f"The configuration was changed after {change['trials']} trials, which are kept as measured: "
                + ", ".join(f"{key} from {before} to {after}" for key, (before, after) in change["keys"].items())
                + "."
            )
        if inputs := change.get("inputs"):
            named = ", ".join(f"{what}, from {before} to {after}" for what, (before, after) in inputs.items())
            said.append(
                f"Inputs were changed after {change['trials']} trials, which are kept as measured; later "
                f"trials have other inputs, and scores of the two cannot be compared: {named} (ends of the digests)."
            )
    return said


def _screening(record: StudyRecord) -> list[str]:
    """How often pruning was wrong among the audited candidates, which were measured nevertheless."""
    complete = [trial for trial in record.trials if trial.state is State.COMPLETE]
    ended = [trial for trial in record.trials if trial.state is State.PRUNED and (trial.bound or trial.early)]
    audited = [trial for trial in complete if trial.bound or trial.early]
    if not ended and not audited:
        return []
    if not audited:
        return [
            f"{_candidates(len(ended))} pruned as dominated, and none of them was measured for comparison; the "
            "front may lack points."
        ]
    on_front = {number for equal in record.front for number in equal}
    above = [trial for trial in audited if trial.bound and trial.measured.scores.miou > trial.bound.miou]
    missed = sum(trial.number in on_front for trial in audited)
    return [
        f"{_candidates(len(ended))} pruned as dominated. {len(audited)} more, drawn at random, "
        f"{'was' if len(audited) == 1 else 'were'} measured nevertheless: {len(above)} scored above the bound, "
        f"{missed} came on the front."
    ]


def _completed(complete: Sequence[Trial]) -> str:
    return "The one trial that completed is" if len(complete) == 1 else f"All {len(complete)} trials that completed are"


def _candidates(count: int) -> str:
    return "1 candidate was" if count == 1 else f"{count} candidates were"


def _import(record: StudyRecord) -> list[str]:
    check = record.import_check
    if check is None or check.passed:
        return []
    return [f"The imported network scores {fmt.miou(check.miou)}, not {fmt.miou(check.expected_miou)} as published."]


def _baseline(record: StudyRecord, change: Mapping[int, Interval], heldout_change: Mapping[int, Interval]) -> list[str]:
    said = []
    if record.baseline is None:
        said.append("The baseline did not complete, so the loss by compression is unknown.")
    interval, unseen = (of.get(record.chosen) if record.chosen else None for of in (change, heldout_change))
    if interval is not None and _holds_zero(interval):
        told = "On the search images the selected configuration does not differ significantly from the baseline"
        if unseen is None or _holds_zero(unseen):
            said.append(f"{told}: the interval contains 0{interval.mark}.")
        else:
            found = f"{fmt.signed(unseen.estimate)}, interval {fmt.signed_interval(unseen)}"
            said.append(f"{told}, on the held-out images it does: {found}. The latter figure is unbiased.")
    if record.front:
        said.append(
            "The points were selected by their search scores, which are therefore biased upwards; "
            "the held-out scores, taken once, are unbiased."
        )
    return said


def _holds_zero(interval: Interval) -> bool:
    return interval.lower <= 0 <= interval.upper


def data_warnings(data: DataSet) -> list[str]:
    """The warnings about the images of a study that are known before its first trial."""
    return [
        *_unlabelled(data, data.search_classes),
        *_few_images(data.search_images, data.heldout_images),
    ]


def _images(record: StudyRecord) -> list[str]:
    """The warnings about images, from scores if there are any, and different classes in the held-out images."""
    shown, data = record.baseline or record.choice, record.data
    if shown is None:
        return [] if data is None else data_warnings(data)
    scored, heldout = shown.measured.scores, record.heldout.get(shown.number)
    said = unlabelled_classes(record)
    said += _few_images(len(scored.image_ids), len(heldout.image_ids) if heldout is not None else None)
    if heldout is not None and set(heldout.scored_classes) != set(scored.scored_classes):
        said.append(
            f"The held-out labels hold {len(heldout.scored_classes)} classes, those of the search images "
            f"{len(scored.scored_classes)}: the two mIoU are means over different classes."
        )
    return said


def unlabelled_classes(record: StudyRecord) -> list[str]:
    """A warning if a study scores fewer classes than it has, else none."""
    shown = record.baseline or record.choice
    if record.data is None or shown is None:
        return []
    return _unlabelled(record.data, shown.measured.scores.scored_classes)


def _unlabelled(data: DataSet, labelled: Sequence[int] | None) -> list[str]:
    """A warning about classes in no label of the search images, which are not part of the mIoU."""
    if labelled is None:
        return []
    names = data.class_names
    expected = [index for index in range(len(names)) if index not in data.void_classes]
    unseen = [names[index] for index in expected if index not in labelled]
    if not unseen:
        return []
    listed = ", ".join(unseen[:NAMED_CLASSES]) + (" and more" if len(unseen) > NAMED_CLASSES else "")
    left = [names[index] for index in labelled if index < len(names)]
    meaning = f" The mIoU is the IoU of {left[0]} alone." if len(left) == 1 else "" if left else " Nothing is scored."
    return [
        f"{len(unseen)} of {len(expected)} classes ({listed}) {'are' if len(unseen) > 1 else 'is'} in no label of the "
        f"search images, and not part of the mean.{meaning} A mask gives each class by its number, 0 to "
        f"{len(names) - 1}: see whether yours do."
    ]


def _few_images(search: int, heldout: int | None) -> list[str]:
    """A warning about splits with too few images for reliable intervals."""
    counts = {"search": search, "held-out": heldout}
    few = [f"{count} {use}" for use, count in counts.items() if count is not None and not enough_images(count)]
    if not few:
        return []
    return [
        f"Only {' and '.join(few)} images: intervals and shares of resamples of fewer than {LEAST_IMAGES} images are "
        f"unreliable (marked {UNRELIABLE})."
    ]


def _overlaps(record: StudyRecord, on_front: Mapping[int, float]) -> list[str]:
    """Warnings about points that are on the front, or better than a neighbour, perhaps by chance."""
    said = []
    doubtful = [equal[0] for equal in record.front if on_front.get(equal[0], 1.0) < DOUBTFUL_SHARE]
    if doubtful:
        numbers = ", ".join(f"{number:03d}" for number in doubtful)
        images = len(record.trial(doubtful[0]).measured.scores.image_ids)
        marked = "" if enough_images(images) else UNRELIABLE
        verb = "is" if len(doubtful) == 1 else "are"
        said.append(
            f"{len(doubtful)} of {len(record.front)} points {verb} on the front in less than half of the resamples of "
            f"the images{marked} ({numbers}): on other images another trial might be in their place."
        )
    seed, pairs = int(record.config.get("seed", 0)), []
    for smaller, larger in itertools.pairwise(equal[0] for equal in record.front):
        scores = record.trial(larger).measured.scores, record.trial(smaller).measured.scores
        if (difference := paired_interval(*scores, seed=seed)) is not None:
            pairs.append(difference)
    together = sum(difference.lower <= 0 for difference in pairs)
    marked = next((difference.mark for difference in pairs if difference.mark), "")
    if together:
        which = (
            f"Of {len(pairs)} pairs of neighbours on the front {together} do not differ significantly on these images"
        )
        if len(pairs) == 1:
            which = "The two points of the front do not differ significantly on these images"
        said.append(f"{which}: the 95 % interval of their difference in mIoU contains 0{marked}.")
    return said


def _edges(record: StudyRecord) -> list[str]:
    """A warning about dimensions in which the front's smallest point is at the last level."""
    if not record.front:
        return []
    smallest = record.trial(record.front[0][0])
    space = record.config.get("space", {})
    at_edge = []
    bits = [name for name in space if name.endswith("_bits")]
    for name, edge in (("sparsity", max), ("tile_count", max), *((name, min) for name in bits)):
        levels = space.get(name) or []
        if len(levels) > 1 and smallest.value(name) == edge(levels):
            at_edge.append(f"{name} {edge(levels):g}")
    if not at_edge:
        return []
    return [
        f"The smallest point of the front is at the edge of the space ({', '.join(at_edge)}); a wider space may help."
    ]


def _agreement(record: StudyRecord) -> list[str]:
    choice = record.choice
    if choice is None:
        return []
    seen = record.executions.get(choice.number)
    agreement = choice.measured.label_agreement if seen is None else seen.label_agreement
    reference = "the integer interpreter's" if seen is None else "its C program's"
    if agreement is None:  # scored by its program, which was not run once more
        return []
    if agreement < LOW_AGREEMENT:
        return [
            f"Only {fmt.percent(agreement)} of the selected configuration's labels equal {reference}; 99 % is usual."
        ]
    return [f"{fmt.percent(agreement)} of the selected configuration's labels equal {reference}."]
