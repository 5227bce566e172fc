"""Networks as `.onnx` files: read, and run by the interpreter where that is quick."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from deeplab.importing.onnx_file import read_onnx
from evaluation.graph import graph_macs
from evaluation.interpreter import run_whole
from tests.deeplab.onnx_models import every_kind
from tests.fuzz.harness import FuzzTarget, edited

MOST_ELEMENTS, MOST_MACS = 1 << 18, 1 << 20
"""Of what is run: a changed shape may ask for hours, and rightly so."""


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    return edited([every_kind().SerializeToString()], most_edits=3)


def run(data: bytes, folder: Path) -> None:
    path = folder / "network.onnx"
    path.write_bytes(data)
    graph = read_onnx(path)
    if max(tensor.elements for tensor in graph.tensors) > MOST_ELEMENTS or graph_macs(graph) > MOST_MACS:
        return
    with np.errstate(all="ignore"):
        run_whole(graph, np.ones(graph.tensors[graph.inputs[0]].shape, np.float32))


TARGET = FuzzTarget("ONNX network", ".onnx", inputs, run)
