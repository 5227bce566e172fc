"""The model card of an exported network, after Mitchell et al. 2019, "Model Cards for Model Reporting"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from evaluation.accuracy import UNRELIABLE_NOTE, bootstrap_interval
from evaluation.measurement import Execution
from reports.health import unlabelled_classes
from reports.paired import paired_interval
from reports.promises import PlanStatus, plan_status, told_status
from reports.record import StudyRecord, Trial

_FORMATS = {
    "network.tflite": "the same network for LiteRT and tools that read TFLite",
    "network-tflm.tflite": "the same with this program's offsets for TensorFlow Lite Micro",
    "labels.txt": "names of the classes, one a line, in the order of their numbers",
}


def model_card(
    record: StudyRecord, trial: Trial, files: Sequence[str], refusals: Mapping[str, str], seen: Execution | None
) -> str:
    """The text of the model card.

    Args:
        files: names of the other files next to the C sources.
        refusals: reason of a missing format, by file name.
        seen: the run of the exported program; None if it was not run.
    """
    parts = (_head(record, trial), _memory(record, trial, seen), _accuracy(record, trial), _classes(record, trial))
    return "\n".join((*parts, _files(files, refusals), _origin(record)))


def _head(record: StudyRecord, trial: Trial) -> str:
    source = record.config.get("network", {}).get("source", "")
    return (
        f"# {record.study}, {trial.label}\n\n"
        f"A semantic segmentation network, DeepLab on MobileNetV2: **{trial.name}** of {_code(source)}.\n\n"
        "It takes an RGB frame of uint8 and gives the class of each pixel. It was compressed for a device of little "
        "memory, and knows no more than the network it was made from: use it on images like those it was measured "
        "on, and measure it on yours before you rely on it.\n"
    )


def _memory(record: StudyRecord, trial: Trial, seen: Execution | None) -> str:
    measured = trial.measured
    memory, cost = measured.memory, measured.cost
    rows = [
        ("peak memory", f"{memory.peak_memory_bytes:,} B"),
        ("arena", f"{memory.arena_bytes:,} B"),
        ("weights", f"{memory.weights_bytes:,} B" + (" in flash" if memory.flash_bytes else "")),
        ("tables and stack", f"{memory.runtime_bytes:,} B"),
        ("multiply-accumulates per image", f"{cost.macs:,}"),
        ("parameters", f"{cost.parameters:,}"),
    ]
    if seen is None or plan_status(record.executions.get(trial.number)) is PlanStatus.EXCEEDED:
        rows.append(("C program, run by the study", told_status(record, trial.number)))
    if seen is not None:
        words = "; ".join(("within plan",) if seen.holds else ("exceeds plan", *seen.excesses))
        rows.append(("C program, run by the exporting machine", words))
    if seen is not None and seen.failure is None:
        rows += [
            ("arena written up to", f"byte {seen.high_water_bytes:,} (seen on {seen.images} images)"),
            ("labels equal to those scored", f"{100 * seen.label_agreement:.3f} %"),
            ("time per image, one thread of the exporting machine", f"{seen.milliseconds:.1f} ms"),
        ]
    return "## Memory and time\n\n" + _table(("quantity", "value"), rows)


def _accuracy(record: StudyRecord, trial: Trial) -> str:
    seed, baseline = int(record.config.get("seed", 0)), record.baseline
    rows, marked = [], False
    on_search = baseline.measured.scores if baseline else None
    splits = [("search", trial.measured.scores, on_search)]
    if trial.number in record.heldout:
        splits.append(("held out", record.heldout[trial.number], record.heldout.get(0)))
    for use, scores, reference in splits:
        if not scores.scored_classes:
            continue
        interval, change = bootstrap_interval(scores, seed=seed), "\u2013"
        marked = marked or not interval.is_reliable
        difference = paired_interval(scores, reference, seed) if reference is not None and trial.number != 0 else None
        if difference is not None:
            change = f"{difference.estimate:+.4f} ({difference.lower:+.4f} to {difference.upper:+.4f}{difference.mark})"
        rows.append(
            (
                use,
                f"{len(scores.image_ids)}",
                f"{scores.miou:.4f} ({interval.lower:.4f} to {interval.upper:.4f}{interval.mark})",
                change,
            )
        )
    name = record.data.name if record.data else "the study's images"
    return (
        f"## Accuracy on {name}\n\n"
        + _table(("images", "how many", "mIoU (95 % interval)", "against the uncompressed network (paired)"), rows)
        + (f"\n{UNRELIABLE_NOTE}.\n" if marked else "")
        + "\nThe network was selected by its score on the search images, which is biased upwards; "
        "that on the held-out images is not.\n"
        + "".join(f"\n**{escape(sentence, quote=False)}**\n" for sentence in unlabelled_classes(record))
    )


def _classes(record: StudyRecord, trial: Trial) -> str:
    scores = trial.measured.scores
    names = record.data.class_names if record.data else ()
    rows = [
        (
            str(index),
            _plain(names[index]) if index < len(names) else f"class {index}",
            f"{scores.per_class_iou[index]:.3f}",
        )
        for index in scores.scored_classes
    ]
    return "## Classes\n\n" + _table(("number", "class", "IoU on the search images"), rows)


def _files(files: Sequence[str], refusals: Mapping[str, str]) -> str:
    rows = [("network.h, network.c, kernels.h, kernels.c", "the program: see README.md")]
    rows += [(f"`{name}`", _FORMATS.get(name, "")) for name in files]
    rows += [(f"`{name}`", f"not written: {_plain(why)}") for name, why in refusals.items()]
    return "## Files\n\n" + _table(("file", "content"), rows)


def _origin(record: StudyRecord) -> str:
    environment = record.environment
    commit = environment.git_commit or "unknown"
    rows = [
        ("made by", _code(environment.command)),
        ("commit", commit + (" with uncommitted changes" if environment.git_dirty else "")),
        ("started", environment.started),
        ("seed", str(record.config.get("seed"))),
    ]
    if record.data is not None:
        rows += [(f"fingerprint of {name}", f"`{value}`") for name, value in sorted(record.data.fingerprints.items())]
    return "## Origin\n\n" + _table(("item", "value"), rows)


def _plain(text: str) -> str:
    """Escape Markdown and HTML: a class may be named <script>, *, or [x](y)."""
    text = re.sub(r"[\\`*_\[\]#~$!]", r"\\\g<0>", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """A code span, delimited by more backticks than any run in the text (CommonMark 0.31, section 6.1)."""
    text = " ".join(text.split()) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"
