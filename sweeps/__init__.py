"""The search: configuration, space, study, workers, tracking and the command that starts it all."""

import os

from petitlab.namesakes import claim

claim()

# MLflow would report its use to its makers, and a quarter of writing a trial goes into that; who wants it sets "false".
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
