"""Names of classes for MLflow's metrics: allowed characters only, and distinct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def metric_name(text: str) -> str:
    """The text with all characters replaced that MLflow does not allow in a metric's name, and "/", which makes
    groups."""
    return "".join(c if c.isalnum() or c in "_-. " else "_" for c in text)


def class_metric_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """A metric name for each class by index: its own name unless another differs in letter case at most.

    Names that would be equal in MLflow or its database ("a/b" and "a_b") end with the index, and names that MLflow
    reads as a path ("..") are replaced by it.
    """
    cleaned = [
        name if name.strip("._ ") else f"class {index}"
        for index, name in enumerate(map(metric_name, class_names))
    ]  # fmt: skip
    counts = Counter(name.casefold() for name in cleaned)
    names = [name if counts[name.casefold()] == 1 else f"{name} class {i}" for i, name in enumerate(cleaned)]
    if len({name.casefold() for name in names}) < len(names):  # a class has the name of another with its index
        names = [f"class {index} {name}" for index, name in enumerate(cleaned)]
    return tuple(names)
