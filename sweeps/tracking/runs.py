"""The study in MLflow: one experiment, one parent run, and one finished child run for each trial.

A child run is created, filled and ended at once after its trial has ended. A kill during that leaves it RUNNING; it is
then deleted and written again at the next opening or attempt. `sweeps.tracking.mirror` calls this module from its
thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from reports.promises import PlanStatus, exceeded, plan_status, study_status
from reports.record import State, StudyRecord, Trial
from sweeps.storage.coordinator import Coordinator
from sweeps.storage.databases import creating_tables
from sweeps.storage.sqlite import fold_log, use_write_ahead_log
from sweeps.tracking.address import absolute, limit_requests, tracking_uri
from sweeps.tracking.links import MOST_TAG_CHARACTERS, PLAN_TAG, run_link
from sweeps.tracking.metrics import study_metrics, trial_metrics

STUDY_ID = "petitlab.study_id"
TRIAL_NUMBER = "petitlab.trial"
RUN_STATUS = {State.COMPLETE: "FINISHED", State.PRUNED: "KILLED", State.FAILED: "FAILED"}
EXCESS_TAG = "exceeded_promises"
"""Tag of a trial's run: the promises that its program exceeded, with figures; or "none"."""
NOT_ON_FRONT = {"on_front": "false", "chosen": "false", PLAN_TAG: str(PlanStatus.NOT_RUN), EXCESS_TAG: "none"}
"""Tags of a trial's run until the front is known."""
EXPERIMENT_KIND = "mlflow.experimentKind"
PAGE = 1000
GROWTH_STEPS = 900
"""Most steps of the hypervolume that are logged: MLflow accepts 1000 metrics per batch."""
PARENT_RUN = "mlflow parent run"
TRACEBACKS = "failures"
"""Folder, in that of the study, with the tracebacks of failed trials."""


class Tracker:
    """Writes the runs of one study. Its constructor creates the database under a lock.

    Args:
        study: name of the experiment and of the parent run.
        study_id: unique id of the study among those of one name.
        params: parameters of the parent run.
        coordinator: gives the parent run of all processes, and the trials that only this process writes.
    """

    def __init__(self, study: str, study_id: str, params: Mapping[str, str], coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        use_write_ahead_log()
        limit_requests()
        self._uri = absolute(tracking_uri())
        with creating_tables(self._uri, _create_database):
            # Not mlflow.set_tracking_uri, which would also set the environment variable.
            self._client = MlflowClient(self._uri)
        experiment = self._client.get_experiment_by_name(study)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        self.experiment_id = experiment.experiment_id if experiment else self._create_experiment(study)
        self.parent_id = self._open_parent(study, study_id, params)
        self._parent_link = run_link(self.experiment_id, self.parent_id, study)
        self._tag_values: dict[int, dict[str, str]] = {}
        """Present values of the tags of `NOT_ON_FRONT` of each trial's run."""
        self._children = self._existing_children(coordinator.is_ours)
        """Run ids by trial number, as far as known to this process."""
        self._begun: set[int] = set()
        """Trials whose writing has begun and not ended; a failed attempt may have left a run."""
        self.class_names: tuple[str, ...] = ()
        """Class names for metrics, set once the data set is known."""

    def _create_experiment(self, study: str) -> str:
        try:
            # Without this tag MLflow shows the experiment as that of a language model's application.
            return self._client.create_experiment(study, tags={EXPERIMENT_KIND: "custom_model_development"})
        except MlflowException:  # another process created it first
            experiment = self._client.get_experiment_by_name(study)
            if experiment is None:
                raise
            return experiment.experiment_id

    def _open_parent(self, study: str, study_id: str, params: Mapping[str, str]) -> str:
        found = self._search(f"tags.`{STUDY_ID}` = '{study_id}'")
        if found:
            run_id: str = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        made: str = self._client.create_run(self.experiment_id, run_name=study, tags={STUDY_ID: study_id}).info.run_id
        agreed = self._coordinator.once(PARENT_RUN, made)
        if agreed != made:
            self._client.delete_run(made)
            self._client.update_run(agreed, status="RUNNING")
            return agreed
        self._client.log_batch(made, params=[Param(name, value[:6000]) for name, value in params.items()])
        return made

    def _existing_children(self, is_read: Callable[[int], bool]) -> dict[int, str]:
        """Run ids by trial number. Unfinished and duplicate runs are deleted.

        Args:
            is_read: whether a trial counts; runs of other trials, which another process may be writing, are not
                touched.
        """
        children: dict[int, str] = {}
        for run in self._search(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.parent_id}'"):
            number = int(run.data.tags.get(TRIAL_NUMBER, -1))
            if not is_read(number):
                continue
            if run.info.status == "RUNNING" or number < 0 or number in children:
                self._client.delete_run(run.info.run_id)
            else:
                children[number] = run.info.run_id
                self._tag_values[number] = {name: run.data.tags.get(name, "") for name in NOT_ON_FRONT}
        return children

    def _search(self, condition: str) -> list[Run]:
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], condition, ViewType.ACTIVE_ONLY, PAGE, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def keep_only(self, numbers: Iterable[int]) -> None:
        """Delete the runs of trials with other numbers: the journal lost them, and they are measured again."""
        for number in self._children.keys() - set(numbers):
            self._client.delete_run(self._children[number])
            del self._children[number]

    def reload_runs(self) -> None:
        """Read the existing runs of all processes, when no other process works on the study."""
        self._children = self._existing_children(lambda _: True)

    def log_trial(self, trial: Trial, folder: Path) -> None:
        """Write a finished trial's run, unless it exists.

        Raises:
            MlflowException: the run could not be written completely; call again.
        """
        is_known = trial.number in self._children or self._coordinator.is_ours(trial.number)
        if trial.number in self._begun or not is_known:
            self._remove_broken(trial.number)
        if trial.number in self._children:
            return
        self._begun.add(trial.number)
        end_ms = int(time.time() * 1000)
        tags = {
            MLFLOW_PARENT_RUN_ID: self.parent_id,
            TRIAL_NUMBER: str(trial.number),
            MLFLOW_RUN_NOTE: f"{trial.name}, of the study {self._parent_link}"
            + (f"\n\n{trial.reason}" if trial.reason else ""),
            "candidate": trial.name,
            "state": str(trial.state),
            "feasible": _word(trial.feasible),
            **NOT_ON_FRONT,
        }
        if trial.reason:
            tags["reason"] = trial.reason[:MOST_TAG_CHARACTERS]
        run = self._client.create_run(
            self.experiment_id, start_time=end_ms - int(trial.seconds * 1000), tags=tags, run_name=trial.label
        )
        run_id, artifacts = run.info.run_id, get_artifact_repository(run.info.artifact_uri)
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, end_ms, 0) for name, value in trial_metrics(trial, self.class_names).items()],
            params=[Param(name, str(value)) for name, value in trial.params.items()],
        )
        if trial.plan_file and (plan := folder / trial.plan_file).exists():
            artifacts.log_artifact(str(plan), "plan")  # type: ignore[no-untyped-call]  # MLflow has no types for it
        if (traceback := folder / TRACEBACKS / f"{trial.label}.txt").exists():
            artifacts.log_artifact(str(traceback))  # type: ignore[no-untyped-call]  # MLflow has no types for it
        self._client.set_terminated(run_id, RUN_STATUS[trial.state], end_ms)
        self._children[trial.number], self._tag_values[trial.number] = run_id, dict(NOT_ON_FRONT)
        self._begun.discard(trial.number)

    def _remove_broken(self, number: int) -> None:
        """Clean up after an interrupted attempt to write a trial: an unfinished run is deleted, a finished one kept."""
        of_trial = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.parent_id}' and tags.`{TRIAL_NUMBER}` = '{number}'"
        for run in self._search(of_trial):
            if run.info.status == "RUNNING" or number in self._children:
                self._client.delete_run(run.info.run_id)
            else:
                self._children[number] = run.info.run_id
                self._tag_values[number] = {name: run.data.tags.get(name, "") for name in NOT_ON_FRONT}
        self._begun.discard(number)

    def finish(
        self,
        record: StudyRecord,
        artifacts: Iterable[Path],
        spent: bool,
        folder: Path,
        shares: Mapping[int, float],
        warnings: Sequence[str] = (),
    ) -> None:
        """Set the tags of the final front, log the report, and end the parent run.

        Args:
            spent: whether the budget was spent; if not, the parent run ends as KILLED.
            folder: folder of the study.
            shares: share of the resamples of the images in which a trial is on the front, by number.
            warnings: the warnings of page 1 of the report.
        """
        on_front = {number for equal in record.front for number in equal}
        over = exceeded(record.executions)
        for number, run_id in self._children.items():
            marks = {
                "on_front": _word(number in on_front),
                "chosen": _word(number == record.chosen),
                PLAN_TAG: str(plan_status(record.executions.get(number))),
                EXCESS_TAG: over.get(number, "none"),
            }
            for name, value in marks.items():
                if self._tag_values[number][name] != value:
                    self._client.set_tag(run_id, name, value)
            self._tag_values[number] = marks
        # Imported here: Matplotlib and others would delay the start.
        from reports.progress import growth
        from sweeps.tracking.front import data_inputs, log_drawings, log_model, log_networks, study_note

        now = int(time.time() * 1000)
        inputs = data_inputs(record)
        for number in sorted(on_front | set(record.heldout)):
            if number not in self._children:
                continue
            found = {"on_front_share": shares.get(number)}
            if number in record.heldout:
                found["heldout_miou"] = record.heldout[number].miou
            metrics = [
                Metric(name, value, now, 0) for name, value in found.items() if value is not None and isfinite(value)
            ]
            self._client.log_batch(self._children[number], metrics=metrics)
            self._client.log_inputs(self._children[number], inputs)
        log_networks(self._client, record, self._children, folder)
        log_drawings(self._client, record, self._children, folder)
        choice = record.choice
        note = study_note(record, self.experiment_id, self.parent_id, self._children, shares, warnings)
        tags = {
            MLFLOW_RUN_NOTE: note,
            "chosen": choice.label if choice else "none",
            PLAN_TAG: str(study_status(record)),
            "warnings": "\n".join(warnings)[:MOST_TAG_CHARACTERS] or "none",
        }
        history = growth(record)
        grown = [] if history is None else zip(history.trials, history.shares, strict=True)
        self._client.log_inputs(self.parent_id, inputs)
        self._client.log_batch(
            self.parent_id,
            metrics=[
                *(Metric(name, value, now, 0) for name, value in study_metrics(record).items()),
                *(Metric("hypervolume", share, now, step) for step, share in list(grown)[-GROWTH_STEPS:]),
            ],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        if choice is not None and choice.number in self._children:
            ours = self._children[choice.number], self.parent_id
            log_model(self._client, record, self.experiment_id, ours, folder)
        for path in artifacts:
            if path.exists():
                self._client.log_artifact(self.parent_id, str(path))
        self._client.set_terminated(self.parent_id, "FINISHED" if spent else "KILLED")
        if self._uri.startswith("sqlite:///"):
            fold_log(Path(self._uri.removeprefix("sqlite:///")))

    def fail(self) -> None:
        """End the parent run as FAILED, and clean up after interrupted attempts to write."""
        for number in tuple(self._begun):
            self._remove_broken(number)
        self._client.set_terminated(self.parent_id, "FAILED")


def _create_database(place: Path) -> None:
    MlflowClient(f"sqlite:///{place}")


def _word(value: bool) -> str:
    return "true" if value else "false"
