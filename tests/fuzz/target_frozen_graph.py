"""Frozen TensorFlow graphs (.pb) with the names of `tensorflow/models`, edited."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from deeplab.importing import load_start
from tests.deeplab.slim_network import SlimNetwork
from tests.fuzz.harness import FuzzTarget, edited


@cache
def graph() -> bytes:
    return SlimNetwork(depth=2, classes=2).definition.SerializeToString()


def inputs(_shared: Path | None) -> st.SearchStrategy[bytes]:
    return edited([graph()])


def run(data: bytes, folder: Path) -> None:
    path = folder / "frozen_inference_graph.pb"
    path.write_bytes(data)
    load_start(path)


TARGET = FuzzTarget("frozen graph", ".pb", inputs, run)
