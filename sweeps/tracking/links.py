"""Links to runs and tables of trials for descriptions in MLflow, and the limit of such texts."""

from __future__ import annotations

from urllib.parse import quote

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

PLAN_TAG = "within_plan"
"""Tag of the runs of trials and study: a `reports.promises.PlanStatus`, "yes", "no" or "not run"."""
MOST_TAG_CHARACTERS = 8000
"""MLflow's limit of the value of a tag, such as a description."""


def run_link(experiment_id: str, run_id: str, title: str) -> str:
    """A Markdown link to a run."""
    return f"[{title}](#/experiments/{experiment_id}/runs/{run_id})"


def trials_link(experiment_id: str, parent_id: str, title: str, front_only: bool = False, charts: bool = False) -> str:
    """A Markdown link to the table or the charts of a study's trials. The table is sorted by a metric: unsorted, MLflow
    folds the trials under their parent."""
    wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_id}'" + (" and tags.on_front = 'true'" if front_only else "")
    view = "&orderByKey=metrics.%60peak_memory_mb%60&orderByAsc=true" + ("&compareRunsMode=CHART" if charts else "")
    return f"[{title}](#/experiments/{experiment_id}/runs?searchFilter={quote(wanted)}{view})"
