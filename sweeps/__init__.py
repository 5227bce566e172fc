"""The search: configuration, space, study, workers, tracking and the command that starts it all."""

import os

from petitlab.namesakes import claim

claim()

# MLflow's telemetry takes a quarter of the time of writing a trial; the variable set to "false" keeps it on.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
