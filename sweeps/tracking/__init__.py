"""The study in MLflow."""
