"""Every class has a metric of its own in MLflow, whatever it is called."""

import posixpath
import re

import pytest

from deeplab.datasets.ade20k_classes import CLASS_NAMES as ADE20K_NAMES
from sweeps.tracking.metric_names import class_metric_names


@pytest.mark.parametrize(
    ("names", "metrics"),
    [
        (("road", "traffic light", "a-b.c"), ("road", "traffic light", "a-b.c")),
        (("a/b", "a_b", "c"), ("a_b class 0", "a_b class 1", "c")),
        (("Road", "road"), ("Road class 0", "road class 1")),
        (("a/b", "a_b", "a_b class 0"), ("class 0 a_b", "class 1 a_b", "class 2 a_b class 0")),
        (("..", ".", "///", "<>", "歩"), ("class 0", "class 1", "class 2", "class 3", "歩")),
        (("class 1", "?"), ("class 1 class 0", "class 1 class 1")),
        (ADE20K_NAMES, ADE20K_NAMES),
    ],
)
def test_names_that_mlflow_takes_and_tells_apart(names: tuple[str, ...], metrics: tuple[str, ...]) -> None:
    assert class_metric_names(names) == metrics
    assert len({metric.casefold() for metric in metrics}) == len(names)
    for metric in metrics:
        assert re.fullmatch(r"[\w.\- :]+", metric), "characters that MLflow takes"
        assert posixpath.normpath(f"iou/{metric}") == f"iou/{metric}", "MLflow refuses what is another path"
