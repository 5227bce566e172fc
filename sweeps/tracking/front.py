"""Data sets, networks, drawings, links and the model in the MLflow runs of the study and its front.

The chosen network is logged as an MLflow model (`mlflow.pyfunc.load_model("models:/ID")`). Its data is a file of
`deeplab.pyfunc`; the packages it needs are saved with it, so that it loads without petitlab.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from deeplab.pyfunc import NETWORK_FILE
from reports import format as fmt
from reports.plan_drawing import plan_drawing
from reports.promises import plan_status
from reports.record import NETWORKS, StudyRecord, Trial
from reports.timeline import read_timeline
from sweeps.tracking.links import MOST_TAG_CHARACTERS, PLAN_TAG, run_link, trials_link

LISTED = 25
"""Most points of the front in the description."""
DRAWN = 200
"""Most trials for which every plan is drawn, at 10 ms each."""
MODEL_TYPE = "semantic segmentation"
_MODEL_PACKAGES = ("deeplab", "evaluation", "petitlab")
_MODEL_REQUIREMENTS = ("numpy", "pydantic")
_DIGEST_LENGTH = 36
"""MLflow's limit of a data set's digest, in characters."""


def data_inputs(record: StudyRecord) -> list[DatasetInput]:
    """The images of the study: a data set for each use, with the study's digest of it."""
    data = record.data
    if data is None:
        return []
    source = CodeDatasetSource({"mlflow.source.name": f"data set {data.name!r}", "mlflow.source.type": "LOCAL"})
    config = record.config.get("data", {})
    inputs = []
    for use, images in (("train", None), ("search", data.search_images), ("heldout", data.heldout_images)):
        if use not in data.fingerprints:
            continue
        split = config.get(use) or use
        dataset = Dataset(
            name=f"{data.name} {split}",
            digest=data.fingerprints[use][:_DIGEST_LENGTH],
            source_type=source._get_source_type(),
            source=source.to_json(),
            profile=json.dumps({"images": images, "classes": len(data.class_names)}),
        )
        inputs.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, use)]))
    return inputs


def study_note(
    record: StudyRecord,
    experiment_id: str,
    parent_id: str,
    runs: Mapping[int, str],
    shares: Mapping[int, float],
    warnings: Sequence[str] = (),
) -> str:
    """The description of the study's run: the selected configuration and the reason, the warnings, and the front with
    links to its runs, cut to MLflow's limit."""
    listed = min(LISTED, len(record.front))
    while len(note := _note(record, experiment_id, parent_id, runs, shares, warnings, listed)) > MOST_TAG_CHARACTERS:
        if not listed:
            return note[:MOST_TAG_CHARACTERS]
        listed -= 1
    return note


def _note(
    record: StudyRecord,
    experiment_id: str,
    parent_id: str,
    runs: Mapping[int, str],
    shares: Mapping[int, float],
    warnings: Sequence[str],
    listed: int,
) -> str:
    choice = record.choice
    lines = [record.chosen_reason]
    if choice is not None:
        link = run_link(experiment_id, runs[choice.number], choice.label) if choice.number in runs else choice.label
        lines = [f"**Chosen: {link}** ({choice.name}). {record.chosen_reason}"]
    if record.front:
        lines += [
            "",
            "| front | candidate | peak memory | C program | mIoU | P(on the front) | held-out mIoU |",
            "|---|---|---|---|---|---|---|",
        ]
        for equal in record.front[:listed]:
            trial = record.trial(equal[0])
            measured, held_out = trial.measured, record.heldout.get(trial.number)
            link = run_link(experiment_id, runs[trial.number], trial.label) if trial.number in runs else trial.label
            images = len(measured.scores.image_ids)
            share = fmt.resampled_share(shares[trial.number], images) if trial.number in shares else "\u2013"
            program = plan_status(record.executions.get(trial.number)).words
            lines.append(
                f"| {link} | {trial.name} | {fmt.megabytes(measured.memory.peak_memory_bytes)} | "
                f"{program} | "
                f"{fmt.miou(measured.scores.miou)} | {share} | "
                f"{fmt.miou(held_out.miou) if held_out else chr(0x2013)} |"
            )
    if len(record.front) > listed:
        lines.append(f"\nand {len(record.front) - listed} more.")
    views = (
        trials_link(experiment_id, parent_id, "all trials"),
        trials_link(experiment_id, parent_id, "as charts", charts=True),
        trials_link(experiment_id, parent_id, "the front only", front_only=True),
    )
    known = ["", "Warnings:", "", *(f"- {escape(sentence, quote=False)}" for sentence in warnings)]
    lines[1:1] = ["", f"See {', '.join(views)}.", *(known if warnings else [])]
    documents = record.config.get("report", {}).get("documents", True)
    named = (
        "`report.pdf`, `front.html` (hover shows a trial) and `record.json` are" if documents else "`record.json` is"
    )
    lines += ["", f"{named} among the artifacts."]
    return "\n".join(lines)


def log_networks(client: MlflowClient, record: StudyRecord, runs: Mapping[int, str], folder: Path) -> None:
    """Log the network files of the front's points to their runs."""
    for number in sorted({equal[0] for equal in record.front} & set(runs)):
        place = folder / NETWORKS / record.trial(number).label
        if place.is_dir():
            client.log_artifacts(runs[number], str(place), "network")


def log_drawings(client: MlflowClient, record: StudyRecord, runs: Mapping[int, str], folder: Path) -> None:
    """Log a drawing of each trial's plan to its run; above `DRAWN` trials only for the front and the baseline."""
    wanted = {0, *(equal[0] for equal in record.front)}
    for trial in record.trials:
        if trial.number not in runs or (len(record.trials) > DRAWN and trial.number not in wanted):
            continue
        if trial.plan_file and (folder / trial.plan_file).exists():
            drawing = (folder / trial.plan_file).with_suffix(".svg")
            drawing.write_text(plan_drawing(read_timeline(folder / trial.plan_file), trial.name), encoding="utf-8")
            client.log_artifact(runs[trial.number], str(drawing), "plan")


def log_model(
    client: MlflowClient, record: StudyRecord, experiment_id: str, run_ids: tuple[str, str], folder: Path
) -> None:
    """Log the chosen network as a model, and delete the model that an earlier end of this study logged.

    Args:
        run_ids: runs of the trial and of the study.
    """
    choice = record.choice
    if choice is None:
        return
    source = folder / NETWORKS / choice.label
    if not (source / NETWORK_FILE).exists():
        return
    trial_run, study_run = run_ids
    within_plan = str(plan_status(record.executions.get(choice.number)))
    for old in client.search_logged_models([experiment_id], filter_string=f"tags.`petitlab.study_run` = '{study_run}'"):
        if old.source_run_id == trial_run:
            client.set_logged_model_tags(old.model_id, {PLAN_TAG: within_plan})
            return
        client.delete_logged_model(old.model_id)
    model = client.create_logged_model(
        experiment_id,
        name=f"{record.study}-{choice.label}",
        source_run_id=trial_run,
        tags={
            "petitlab.study_run": study_run,
            "candidate": choice.name,
            "study": record.study,
            PLAN_TAG: within_plan,
        },
        params={name: str(value) for name, value in choice.params.items()},
        model_type=MODEL_TYPE,
    )
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / "model"
        save_model(saved, source / NETWORK_FILE, choice, model.model_id, trial_run)
        client.log_model_artifacts(model.model_id, str(saved))
    client.finalize_logged_model(model.model_id, "READY")
    for run_id in run_ids:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


def save_model(
    place: Path, network: Path, trial: Trial, model_id: str | None = None, run_id: str | None = None
) -> None:
    """Write the network as an MLflow model into the folder `place`."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from deeplab.pyfunc import Segmenter, load_network

    height, width, channels = Segmenter(load_network(network.parent)).shape
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, height, width, channels))]),
        outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, height, width))]),
    )
    packages = Path(__file__).resolve().parents[2]
    measured = trial.measured
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        data.mkdir()
        (data / NETWORK_FILE).write_bytes(network.read_bytes())
        with warnings.catch_warnings():
            # MLflow warns that there is no input example; the signature states shape and type.
            warnings.simplefilter("ignore")
            pyfunc.save_model(
                place,
                loader_module="deeplab.pyfunc",
                data_path=str(data),
                code_paths=[str(packages / name) for name in _MODEL_PACKAGES],
                pip_requirements=[f"{name}=={version(name)}" for name in _MODEL_REQUIREMENTS],
                signature=signature,
                mlflow_model=Model(model_id=model_id, run_id=run_id),
                metadata={
                    "candidate": trial.name,
                    "peak_memory_bytes": measured.memory.peak_memory_bytes,
                    "miou": measured.scores.miou,
                },
            )
