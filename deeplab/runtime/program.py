"""Builds an emitted program as a shared library and runs it in this process."""

from __future__ import annotations

import ctypes
import subprocess
import time
from pathlib import Path

import numpy as np

from deeplab.runtime.compilers import require_compiler
from deeplab.runtime.emit import Tables, kernels_c, kernels_h, network_c, network_h, offset_and_size_at_end, tables
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.packing import pack_rows
from evaluation.interpreter.whole import as_input
from evaluation.planner.ir.plan_types import Plan

FLAGS = ("-std=c99", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")


def write_sources(graph: Graph, plan: Plan, folder: Path) -> Tables:
    """Write network.c, network.h, kernels.c and kernels.h of a planned network to a folder; returns their tables."""
    made = tables(graph, plan)
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (
        ("network.c", network_c),
        ("network.h", network_h),
        ("kernels.c", kernels_c),
        ("kernels.h", kernels_h),
    ):
        (folder / name).write_text(make(made))
    return made


class Program:
    """An emitted program, compiled and loaded."""

    def __init__(self, graph: Graph, plan: Plan, folder: Path, flags: tuple[str, ...] = FLAGS) -> None:
        """Compile the sources in `folder` and load them.

        Raises:
            UserError: there is no compiler, or it rejects the sources.
        """
        self._graph, self._plan = graph, plan
        cc = require_compiler()
        library = folder / "network.so"
        sources = [str(folder / "network.c"), str(folder / "kernels.c")]
        command = [cc, *flags, "-DNETWORK_PROOF", "-shared", "-fPIC", "-o", str(library), *sources]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"{folder}: {cc} refuses the emitted sources: {done.stderr.strip()[:2000]}")
        self._library = ctypes.CDLL(str(library))
        for name in ("network_frame", "network_arena", "network_output"):
            getattr(self._library, name).restype = ctypes.c_void_p

    @property
    def arena(self) -> np.ndarray:
        """The arena of the program, uint8 (arena_bytes,); a view."""
        return self._view(self._library.network_arena(), self._plan.arena_bytes)

    def run(self, frame: np.ndarray, fill: int | None = None) -> np.ndarray:
        """Run a frame; returns the bytes of the first output as in the arena, uint8 (n,).

        Args:
            frame: as `as_input` takes it.
            fill: value of all bytes of the arena before the run; unchanged if None.
        """
        if fill is not None:
            self.arena[...] = fill
        self._write(frame)
        self._library.network_run()
        return self.output(0)

    def output(self, index: int) -> np.ndarray:
        """A copy of the bytes of an output after a run, uint8 (n,)."""
        size = offset_and_size_at_end(self._graph, self._plan, self._graph.outputs[index])[1]
        return self._view(self._library.network_output(index), size).copy()

    def seconds(self, frame: np.ndarray) -> float:
        """Seconds of one run, without copying the frame."""
        self._write(frame)
        begin = time.perf_counter()
        self._library.network_run()
        return time.perf_counter() - begin

    def _write(self, frame: np.ndarray) -> None:
        source = self._graph.tensors[self._graph.inputs[0]]
        values = np.ascontiguousarray(as_input(self._graph, frame))
        if source.bits < 8:
            values = pack_rows(values.reshape(extent(source)[0], -1), source.bits)
        data = values.reshape(-1).view(np.uint8)
        self._view(self._library.network_frame(), data.size)[...] = data

    @property
    def output_bytes(self) -> int:
        """Bytes of the first output."""
        return offset_and_size_at_end(self._graph, self._plan, self._graph.outputs[0])[1]

    @staticmethod
    def _view(address: int, size: int) -> np.ndarray:
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
