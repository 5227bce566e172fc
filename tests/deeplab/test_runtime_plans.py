"""Plans written by hand, as C programs: chunks, rings, slices, copies, strips, accumulators, renamed tensors."""

from __future__ import annotations

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import Program, write_sources
from evaluation.graph.regions import extent
from evaluation.interpreter import execute
from evaluation.interpreter.packing import pack_rows
from tests.evaluation.plans_by_hand import PLANS
from tests.evaluation.test_interpreter_tiles import CASES, of_width, random_frame

FLAGS = ("-std=c99", "-O0", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fsanitize=undefined")

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler (cc, gcc or clang) is installed")


def bytes_of(program_bytes, tensor, wanted):
    """The interpreter's values as the program stores them: a label map takes a byte a pixel, narrow codes are
    packed."""
    if tensor.bits < 8:
        return pack_rows(wanted.reshape(extent(tensor)[0], -1), tensor.bits).reshape(-1)
    if wanted.nbytes != program_bytes.size:
        wanted = wanted.astype(np.uint8)
    return np.ascontiguousarray(wanted).reshape(-1).view(np.uint8)


@pytest.mark.parametrize(
    ("name", "width"), [case if case[1] == "int8" else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_plan_written_by_hand_gives_the_interpreters_bytes(name, width, tmp_path):
    made = of_width(PLANS[name](), width)
    frame = random_frame(made.graph)
    write_sources(made.graph, made.plan, tmp_path)
    program = Program(made.graph, made.plan, tmp_path, FLAGS)
    tensor = made.graph.tensors[made.graph.outputs[0]]
    wanted = execute(made.graph, made.plan, frame).output
    for fill in (0x00, 0xA5):
        found = program.run(frame, fill)
        assert np.array_equal(found, bytes_of(found, tensor, wanted))
