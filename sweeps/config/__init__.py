"""A sweep's YAML file: its keys, their types and limits, and the search space."""
