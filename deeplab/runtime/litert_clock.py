"""Timing of a network in LiteRT, in a subprocess that answers line by line.

LiteRT may abort its process on a network that it does not support, so it does not run in this one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import numpy as np

from evaluation.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
XNNPACK, BUILT_IN = "xnnpack", "built-in"
_READY = "ready"


class LiteRTClock:
    """Times a network in LiteRT, single thread.

    Raises:
        UserError: LiteRT is not installed, refuses the network, or crashed.
    """

    def __init__(self, network: Path, kernels: str, values: np.ndarray) -> None:
        self._name = f"LiteRT ({kernels})"
        self._folder = tempfile.TemporaryDirectory()
        frame = Path(self._folder.name) / "input.npy"
        np.save(frame, values)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, str(network.resolve()), kernels, str(frame)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
        )
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        try:
            answer = self._answer()
            if answer != _READY:
                raise UserError(f"{network}: {self._name} {answer}")
        except UserError:
            self.__exit__(None, None, None)
            raise

    def seconds(self) -> float:
        """Seconds of one run.

        Raises:
            UserError: LiteRT crashed.
        """
        try:
            self._requests.write("run\n")
            self._requests.flush()
        except BrokenPipeError:
            pass  # the process ended, which `_answer` reports
        return float(self._answer())

    def _answer(self) -> str:
        line = self._answers.readline()
        if not line.endswith("\n"):
            raise UserError(f"{self._name} ended without an answer on this network; it cannot be timed")
        return line.strip()

    def __enter__(self) -> LiteRTClock:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def _serve(path: str, kernels: str, frame: str) -> None:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        print("is not installed; `pip install ai-edge-litert` to time it", flush=True)
        return
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    resolver = OpResolverType.AUTO if kernels == XNNPACK else plain
    try:
        interpreter = Interpreter(model_path=path, num_threads=1, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        where = interpreter.get_input_details()[0]["index"]
        values = np.load(frame)
        interpreter.set_tensor(where, values)
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        print(f"refuses this network: {' '.join(str(error).split())[:200]}", flush=True)
        return
    print(_READY, flush=True)
    for _ in sys.stdin:
        interpreter.set_tensor(where, values)
        begin = time.perf_counter()
        interpreter.invoke()
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:4])
