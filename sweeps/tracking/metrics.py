"""The metrics of trials and studies by their names in MLflow."""

from __future__ import annotations

from evaluation.measurement import MemoryFigures
from reports.front import hypervolume
from reports.record import StudyRecord, Trial
from sweeps.tracking.metric_names import class_metric_names, metric_name


def study_metrics(record: StudyRecord) -> dict[str, float]:
    """The metrics of the study's parent run."""
    metrics = {"distinct_trials": float(len(record.trials)), "front_points": float(len(record.front))}
    for name, trial in (("baseline", record.baseline), ("chosen", record.choice)):
        if trial is not None:
            measured = trial.measured
            metrics[f"{name}_miou"] = measured.scores.miou
            metrics[f"{name}_peak_memory_mb"] = measured.memory.peak_memory_bytes / 1e6
    if record.baseline is not None:
        reference = record.baseline.measured.memory.peak_memory_bytes
        metrics["hypervolume_share"] = hypervolume(record.feasible_points(), reference)
    return metrics


def trial_metrics(trial: Trial, class_names: tuple[str, ...] = ()) -> dict[str, float]:
    """The metrics of a trial's run, units in their names; a pruned trial has planned memory, a failed one its time."""
    metrics: dict[str, float] = {"trial_seconds": trial.seconds}
    if trial.memory is not None:
        metrics |= memory_metrics(trial.memory)
    if trial.measurement is None:
        return metrics
    scores, cost = trial.measurement.scores, trial.measurement.cost
    metrics |= {
        "miou": scores.miou,
        "pixel_accuracy": scores.pixel_accuracy,
        "macs": float(cost.macs),
        "mac_overhead_share": cost.mac_overhead,
        "parameters": float(cost.parameters),
    }
    if trial.measurement.label_agreement is not None:
        metrics["label_agreement_share"] = trial.measurement.label_agreement
    if trial.measurement.latency is not None:
        metrics["latency_ms"] = trial.measurement.latency.program_ms
        metrics["latency_ratio"] = trial.measurement.latency.ratio
    names = class_metric_names(class_names)
    for index in scores.scored_classes:
        name = names[index] if index < len(names) else f"class {index}"
        metrics[f"iou/{name}"] = float(scores.per_class_iou[index])
    for stage, seconds in trial.measurement.stage_seconds.items():
        metrics[f"stage_seconds/{metric_name(stage)}"] = seconds
    return metrics


def memory_metrics(memory: MemoryFigures) -> dict[str, float]:
    return {
        "peak_memory_mb": memory.peak_memory_bytes / 1e6,
        "peak_memory_bytes": float(memory.peak_memory_bytes),
        "arena_bytes": float(memory.arena_bytes),
        "weights_bytes": float(memory.weights_bytes),
        "flash_bytes": float(memory.flash_bytes),
        "runtime_bytes": float(memory.runtime_bytes),
        "lower_bound_bytes": float(memory.lower_bound_bytes),
    }
