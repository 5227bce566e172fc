"""What a study keeps: its folder, journal, Optuna storage and stage cache."""
