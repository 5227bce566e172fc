"""The search: configuration, space, study, workers, tracking and the command that starts it all."""
