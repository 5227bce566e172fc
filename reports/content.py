"""The content of the report: every sentence and number of the pages, as text, from the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.accuracy import UNRELIABLE_NOTE, Interval, bootstrap_interval
from evaluation.addresses import masked_address
from evaluation.measurement import MemoryFigures
from evaluation.planner.show.timeline import Timeline
from reports import format as fmt
from reports.content_budgets import budget_rows, budget_sentence
from reports.content_programs import program_rows
from reports.content_savings import chain_rows, largest_tensors, litert_bytes, other_rows
from reports.front import hypervolume
from reports.glossary import WORDS
from reports.health import health
from reports.membership import front_probability
from reports.paired import paired_interval
from reports.promises import plan_status, told_status
from reports.record import State, StudyRecord, Trial

LISTED_AT_HIGH_WATER = 6


@dataclass(frozen=True)
class Intervals:
    """95 % intervals by paired bootstrap over images, by trial number."""

    search: Mapping[int, Interval]
    heldout: Mapping[int, Interval]
    search_change: Mapping[int, Interval]
    """mIoU against the baseline."""
    heldout_change: Mapping[int, Interval]
    on_front: Mapping[int, float]
    """Share of the resamples in which each feasible trial is on the front."""


def intervals(record: StudyRecord) -> Intervals:
    """The intervals of the baseline and of the front's points (the first trial of each)."""
    seed = int(record.config.get("seed", 0))
    baseline = record.baseline
    wanted = {equal[0] for equal in record.front} | ({0} if baseline else set())
    search = {n: record.trial(n).measured.scores for n in sorted(wanted)}
    known = {"search": search, "heldout": dict(record.heldout)}
    alone, against = {}, {}
    for split, scores in known.items():
        alone[split] = {n: bootstrap_interval(s, seed=seed) for n, s in scores.items() if s.scored_classes}
        changes = {n: paired_interval(s, scores[0], seed) for n, s in scores.items() if 0 in alone[split] and n}
        against[split] = {n: change for n, change in changes.items() if change is not None}
    return Intervals(
        alone["search"], alone["heldout"], against["search"], against["heldout"], front_probability(record)
    )


def warnings_of(record: StudyRecord, of: Intervals) -> list[str]:
    """The warnings, worst first, that report, terminal, front.html and MLflow show."""
    return health(record, of.search_change, of.heldout_change, of.on_front)


def content(record: StudyRecord, of: Intervals, timelines: Mapping[int, Timeline]) -> dict[str, Any]:
    """All content of the template `report.typ`: strings, and numbers for layout."""
    marked = any(not interval.is_reliable for split in (of.search, of.heldout) for interval in split.values())
    return {
        "study": record.study,
        "network": _network(record),
        "answer": _answer(record, of),
        "memory": _memory(record),
        "budgets": budget_rows(record),
        "front": [_front_row(record, of, numbers) for numbers in record.front],
        "executions": program_rows(record),
        "counts": _counts(record),
        "hypervolume": _hypervolume(record),
        "has_other_runtimes": litert_bytes(record) is not None,
        "chain": chain_rows(record),
        "other_runtimes": other_rows(record),
        "largest": largest_tensors(timelines),
        "high_water": [_high_water(record, number, timeline) for number, timeline in timelines.items()],
        "overlays": [
            {
                "id": row.image_id,
                "note": row.note,
                "files": [row.image_file, row.label_file, row.baseline_file, row.choice_file],
            }
            for row in record.overlays
        ],
        "classes": _classes(record),
        "health": warnings_of(record, of),
        "unreliable": UNRELIABLE_NOTE if marked else None,
        "trials": [_trial_row(record, trial) for trial in record.trials],
        "words": [(one.word, one.meaning.replace("`", "")) for one in WORDS if one.in_report],
        "reproduce": _reproduce(record),
        "data": _data(record),
    }


def _network(record: StudyRecord) -> str:
    source = str(record.config.get("network", {}).get("source", ""))
    return "the built-in street-scene network" if source == "streets" else source.replace("\\", "/").rsplit("/", 1)[-1]


def _answer(record: StudyRecord, of: Intervals) -> dict[str, Any]:
    choice, baseline = record.choice, record.baseline
    if choice is None:
        return {"chosen": None, "why": record.chosen_reason}
    n = choice.number
    memory, scores = choice.measured.memory, choice.measured.scores
    answer: dict[str, Any] = {
        "chosen": choice.label,
        "name": choice.name,
        "why": record.chosen_reason,
        "peak": fmt.megabytes(memory.peak_memory_bytes),
        "miou": fmt.miou(scores.miou),
        "miou_interval": fmt.interval(of.search[n]),
        "classes": len(scores.scored_classes),
        "images": len(scores.image_ids),
        "factor": None,
        "is_baseline": n == 0,
        "budget": budget_sentence(record, memory),
        "on_front": fmt.resampled_share(of.on_front[n], len(scores.image_ids)) if n in of.on_front else None,
        "within_plan": plan_status(record.executions.get(n)).value,
        "plan": told_status(record, n),
        "export": f"python -m sweeps.export {_folder(record)} --out network",
    }
    if latency := choice.measured.latency:
        answer["latency"] = f"{latency.program_ms:.1f}"
        answer["latency_ratio"] = f"{latency.ratio:.2f}"
    if baseline is not None:
        factor = baseline.measured.memory.peak_memory_bytes / memory.peak_memory_bytes
        answer |= {
            "factor": f"{factor:.1f}",
            "baseline_peak": fmt.megabytes(baseline.measured.memory.peak_memory_bytes),
            "baseline_miou": fmt.miou(baseline.measured.scores.miou),
        }
        if n in of.search_change:
            change = of.search_change[n]
            answer |= {"change": fmt.signed(change.estimate), "change_interval": fmt.signed_interval(change)}
    if n in of.heldout:
        answer |= {
            "heldout": fmt.miou(of.heldout[n].estimate),
            "heldout_interval": fmt.interval(of.heldout[n]),
            "heldout_images": len(record.heldout[n].image_ids),
        }
        if n in of.heldout_change:
            change = of.heldout_change[n]
            answer |= {
                "heldout_change": fmt.signed(change.estimate),
                "heldout_change_interval": fmt.signed_interval(change),
            }
    return answer


def _folder(record: StudyRecord) -> str:
    """The study's folder; records of older versions do not contain it."""
    return record.environment.study_folder or f"studies/{record.study}"


def _memory(record: StudyRecord) -> list[dict[str, Any]]:
    """The parts of the peak memory of baseline and selected configuration, a row each."""
    rows = []
    named = [("Baseline", record.baseline), ("Chosen", record.choice)]
    if record.choice is not None and record.choice.number == 0:
        named = named[1:]
    for title, trial in named:
        if trial is None:
            continue
        memory = trial.measured.memory
        in_flash = memory.flash_bytes > 0
        rows.append(
            {
                "title": title,
                "arena": fmt.megabytes(memory.arena_bytes),
                "weights": fmt.megabytes(memory.weights_bytes) + (" (in flash)" if in_flash else ""),
                "runtime": fmt.megabytes(memory.runtime_bytes),
                "peak": fmt.megabytes(memory.peak_memory_bytes),
                "bound": _bound(memory),
                "macs": fmt.grouped(round(trial.measured.cost.macs / 1e6)),
                "overhead": fmt.percent(trial.measured.cost.mac_overhead),
                "parameters": fmt.grouped(trial.measured.cost.parameters),
                "bars": [memory.arena_bytes, 0 if in_flash else memory.weights_bytes, memory.runtime_bytes],
            }
        )
    return rows


def _bound(memory: MemoryFigures) -> str:
    if memory.proven:
        return "no smaller arena exists for this schedule"
    gap = memory.arena_bytes / memory.lower_bound_bytes - 1
    return f"the arena is {fmt.percent(gap)} above its lower bound of {fmt.megabytes(memory.lower_bound_bytes)}"


def _front_row(record: StudyRecord, of: Intervals, numbers: tuple[int, ...]) -> dict[str, Any]:
    first = record.trial(numbers[0])
    memory = first.measured.memory
    heldout = of.heldout.get(first.number)
    return {
        "trials": ", ".join(f"{number:03d}" for number in numbers),
        "names": [record.trial(number).name for number in numbers],
        "peak": fmt.megabytes(memory.peak_memory_bytes),
        "arena": fmt.megabytes(memory.arena_bytes),
        "weights": fmt.megabytes(memory.weights_bytes),
        "miou": fmt.miou(first.measured.scores.miou),
        "interval": fmt.interval(of.search[first.number]),
        "heldout": fmt.miou(heldout.estimate) if heldout else "not scored",
        "heldout_interval": fmt.interval(heldout) if heldout else "",
        "on_front": "\u2013"
        if first.number not in of.on_front
        else fmt.resampled_share(of.on_front[first.number], len(first.measured.scores.image_ids)),
        "chosen": record.chosen in numbers,
        "baseline": 0 in numbers,
    }


def _counts(record: StudyRecord) -> dict[str, int | str]:
    states = [trial.state for trial in record.trials]
    return {
        "trials": len(states),
        "space": record.space_size,
        "complete": states.count(State.COMPLETE),
        "pruned": states.count(State.PRUNED),
        "pruned_how": _pruned_how(record),
        "failed": states.count(State.FAILED),
        "feasible": sum(trial.feasible for trial in record.trials),
        "front": len(record.front),
    }


def _pruned_how(record: StudyRecord) -> str:
    """Counts of pruned trials by cause, such as "3 by a plan over a limit, 5 by a bound of their score"."""
    pruned = [trial for trial in record.trials if trial.state is State.PRUNED]
    counts = {
        "by the score they could reach at most": sum(trial.bound is not None for trial in pruned),
        "while they were scored": sum(trial.bound is None and trial.early is not None for trial in pruned),
    }
    over = len(pruned) - sum(counts.values())
    return ", ".join(f"{count} {how}" for how, count in ({"by a plan over a limit": over} | counts).items() if count)


def _hypervolume(record: StudyRecord) -> str | None:
    if record.baseline is None:
        return None
    reference = record.baseline.measured.memory.peak_memory_bytes
    return f"{hypervolume(record.feasible_points(), reference):.4f}"


def _high_water(record: StudyRecord, number: int, timeline: Timeline) -> dict[str, Any]:
    alive = timeline.at_high_water()
    role = "Baseline" if number == 0 else "Chosen"
    return {
        "title": role if number != record.chosen or number else "Baseline, chosen",
        "step": timeline.high_water_step,
        "steps": timeline.step_count,
        "alive": [
            {"name": block.name, "role": block.role.replace("_", " "), "size": fmt.grouped(block.size_bytes)}
            for block in alive[:LISTED_AT_HIGH_WATER]
        ],
        "more": max(0, len(alive) - LISTED_AT_HIGH_WATER),
    }


def _classes(record: StudyRecord) -> list[dict[str, str]]:
    """The legend of the overlays: names and colours of the scored classes."""
    if record.data is None or record.baseline is None:
        return []
    data, scored = record.data, record.baseline.measured.scores.scored_classes
    return [{"name": data.class_names[i], "colour": data.palette[i]} for i in scored if i < len(data.class_names)]


def class_ious(record: StudyRecord) -> tuple[list[str], np.ndarray, np.ndarray] | None:
    """Names and IoU (float64 (classes,)) of the scored classes for baseline and selected configuration; None unless
    both exist and differ."""
    if record.baseline is None or record.choice is None or record.data is None or record.chosen == 0:
        return None
    scores = record.baseline.measured.scores
    scored = list(scores.scored_classes)
    names = [record.data.class_names[i] for i in scored]
    return names, scores.per_class_iou[scored], record.choice.measured.scores.per_class_iou[scored]


def _trial_row(record: StudyRecord, trial: Trial) -> dict[str, str]:
    on_front = any(trial.number in equal for equal in record.front)
    if trial.state is State.COMPLETE:
        end = ("front" if on_front else "") if trial.feasible else f"over a limit: {trial.reason}"
    else:
        end = f"{trial.state}: {trial.reason}"
    memory = trial.memory
    return {
        "number": f"{trial.number:03d}",
        "name": trial.name,
        "peak": fmt.megabytes(memory.peak_memory_bytes) if memory else "\u2013",
        "miou": fmt.miou(trial.measurement.scores.miou) if trial.measurement else "\u2013",
        "end": "chosen" if trial.number == record.chosen else end,
    }


def _reproduce(record: StudyRecord) -> dict[str, Any]:
    environment = record.environment
    commit = environment.git_commit or "not run from a git checkout"
    if environment.git_dirty:
        commit += " with uncommitted changes: this commit alone may not give these results"
    return {
        "command": environment.command,
        "seed": str(record.config.get("seed")),
        "commit": commit,
        "machine": environment.machine,
        "started": environment.started,
        "seconds": fmt.duration(environment.seconds),
        "versions": [f"{name} {version}" for name, version in environment.versions.items()],
        "lock": environment.lock or "none found",
        "config": _flat(record.config),
    }


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            items = value if isinstance(value, list | tuple) else ["null" if value is None else value]
            rows.append([f"{prefix}{key}", ", ".join(masked_address(str(item)) for item in items)])
    return rows


def _data(record: StudyRecord) -> dict[str, Any] | None:
    if record.data is None:
        return None
    check = record.import_check
    return {
        "name": record.data.name,
        "search": record.data.search_images,
        "heldout": record.data.heldout_images,
        "fingerprints": [[name, value[:24]] for name, value in sorted(record.data.fingerprints.items())],
        "import_check": None
        if check is None
        else {
            "miou": fmt.miou(check.miou),
            "expected": f"{check.expected_miou:.3f} \u00b1 {check.tolerance:.3f}",
            "images": check.images,
            "passed": check.passed,
        },
    }
