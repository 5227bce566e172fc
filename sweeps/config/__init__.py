"""A sweep's YAML file: its keys, their types and limits, the space that is searched."""
