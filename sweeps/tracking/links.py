"""Links to runs and tables of trials, as descriptions in MLflow's pages take them; and limits of such texts."""

from __future__ import annotations

from urllib.parse import quote

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

PLAN_TAG = "within_plan"
"""Tag of a trial's run and of the study's: `reports.promises.PlanStatus`, "yes", "no" or "not run"."""
MOST_TAG_CHARACTERS = 8000
"""MLflow's limit of a tag's value, a description among them."""


def run_link(experiment_id: str, run_id: str, title: str) -> str:
    """A link to a run, as descriptions in MLflow's pages take it."""
    return f"[{title}](#/experiments/{experiment_id}/runs/{run_id})"


def trials_link(experiment_id: str, parent_id: str, title: str, front_only: bool = False, charts: bool = False) -> str:
    """A link to the table or the charts of a study's trials. Sorted by a metric, they stand by themselves; else MLflow
    folds them up under their parent."""
    wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_id}'" + (" and tags.on_front = 'true'" if front_only else "")
    view = "&orderByKey=metrics.%60peak_memory_mb%60&orderByAsc=true" + ("&compareRunsMode=CHART" if charts else "")
    return f"[{title}](#/experiments/{experiment_id}/runs?searchFilter={quote(wanted)}{view})"
