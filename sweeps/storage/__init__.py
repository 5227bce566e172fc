"""Storage of a study: folder, journal, Optuna's storage and stage cache."""
