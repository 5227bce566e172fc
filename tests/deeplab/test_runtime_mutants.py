"""One number of a network's file changed: refused in one line, or run as the interpreter does, nothing undefined."""

import pytest

from deeplab.runtime.compilers import compiler
from evaluation.graph import write_tflite
from tests.deeplab.mutants import Mutant, mutants, outcome
from tests.deeplab.tiny_quantized import tiny_graph
from tests.fuzz.target_tflite import small_network

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


def faults(changed) -> list[str]:
    found = [(mutant.change, outcome(mutant)) for mutant in changed]
    return [f"{change}: {end}" for change, end in found if end not in ("equal", "refused")]


@pytest.mark.parametrize(("dtype", "only"), [("int8", "quantization"), ("uint8", "")])
def test_a_changed_number_is_refused_or_run_right(dtype, only):
    assert not faults(mutants(write_tflite(small_network(dtype)), seed=1, count=4, only=only))


def test_a_network_that_is_not_changed_is_run_right():
    assert outcome(Mutant(write_tflite(small_network("int8")), "nothing")) == "equal"


def test_shared_mutants_are_refused(shared):
    """Each of these ended in a traceback, in undefined shifts, or in C that differed from the interpreter."""
    paths = sorted(shared("cases/tflite").glob("*.tflite"))
    assert paths
    for path in paths:
        assert outcome(Mutant(path.read_bytes(), path.name)) == "refused", path.name


@pytest.mark.slow
@pytest.mark.parametrize("only", ["quantization", "operators", ""])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_many_changed_numbers(dtype, only):
    if only == "quantization" and dtype == "float32":
        pytest.skip("a float network has none")
    assert not faults(mutants(write_tflite(small_network(dtype)), seed=2, count=60, only=only))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlperf_tiny__kws_ref_model", "mlperf_tiny__ad01_int8"])
def test_many_changed_numbers_of_published_networks(shared, name):
    data = shared(f"planner_cases/networks/{name}.tflite").read_bytes()
    assert not faults(mutants(data, seed=3, count=60))


@pytest.mark.slow
def test_many_changed_numbers_of_a_small_deeplab():
    assert not faults(mutants(write_tflite(tiny_graph()), seed=4, count=60))
