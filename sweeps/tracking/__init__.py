"""The runs of a study in MLflow."""
