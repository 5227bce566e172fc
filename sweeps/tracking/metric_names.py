"""Names of classes as MLflow takes them in a metric's name: allowed characters, no two alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def metric_name(text: str) -> str:
    """MLflow allows letters, digits, _ - . space and / in a metric's name; / divides it into groups."""
    return "".join(c if c.isalnum() or c in "_-. " else "_" for c in text)


def class_metric_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """A metric name for each class, by its index: its own name where no other class has the same but for letter case.

    Classes that MLflow or its database could not tell apart ("a/b" and "a_b") have their index at the end, and those
    it would read as a path ("..") are named by it alone.
    """
    cleaned = [
        name if name.strip("._ ") else f"class {index}"
        for index, name in enumerate(map(metric_name, class_names))
    ]  # fmt: skip
    counts = Counter(name.casefold() for name in cleaned)
    names = [name if counts[name.casefold()] == 1 else f"{name} class {i}" for i, name in enumerate(cleaned)]
    if len({name.casefold() for name in names}) < len(names):  # a class is named like another with its index
        names = [f"class {index} {name}" for index, name in enumerate(cleaned)]
    return tuple(names)
