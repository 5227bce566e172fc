"""Real files damaged in every way that can be drawn: a graph or one clear line, never a crash, a hang or a flood.

Flatbuffers keep structure (tables, offsets, lengths) and weights apart. A byte changed in the weights is another
network and no damage, so most changes are aimed at the structure.
"""

import random
import re
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from evaluation.errors import UserError
from evaluation.graph import Graph, read_tflite

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

NETWORKS = "planner_cases/networks"
SMALL = [
    f"{NETWORKS}/mlperf_tiny__kws_ref_model.tflite",
    f"{NETWORKS}/mlperf_tiny__pretrainedResnet_quant.tflite",
    f"{NETWORKS}/mlperf_mobile__edsr_f32b5_full_qint8.tflite",
]
WORDS = [0, 1, 2, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 1 << 24]
LONGEST_S = 5.0
BLAMED = re.compile(
    r"operator \d+ \(?[A-Z0-9_]+|operator \d+ is |tensor \d+ |truncated or damaged|not a \.tflite file|has \d+ "
)


def sections(data: bytes) -> list[int]:
    """Where the tables and vectors of a sound file begin."""
    model = schema.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    tables = [model, graph]
    tables += [graph.Tensors(i) for i in range(graph.TensorsLength())]
    tables += [graph.Tensors(i).Quantization() for i in range(graph.TensorsLength())]
    tables += [graph.Operators(i) for i in range(graph.OperatorsLength())]
    tables += [graph.Operators(i).BuiltinOptions() for i in range(graph.OperatorsLength())]
    tables += [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    tables += [model.Buffers(i) for i in range(model.BuffersLength())]
    # Flatbuffers says nowhere else where a table begins.
    starts = {getattr(table, "_tab", table).Pos for table in tables if table is not None}
    for table in (graph.Tensors(i) for i in range(graph.TensorsLength())):
        starts |= {begin_of(table.ShapeAsNumpy(), data)} if table.ShapeLength() else set()
    for table in (graph.Operators(i) for i in range(graph.OperatorsLength())):
        starts |= {begin_of(table.InputsAsNumpy(), data), begin_of(table.OutputsAsNumpy(), data)}
    return sorted(starts)


def begin_of(vector: np.ndarray, data: bytes) -> int:
    """Where a vector of a file begins: flatbuffers gives a view of it."""
    return vector.ctypes.data - np.frombuffer(data, np.uint8).ctypes.data


def structure(data: bytes) -> np.ndarray:
    """Positions of all bytes that are not values of constants."""
    model, is_structure = schema.Model.GetRootAs(data, 0), np.ones(len(data), bool)
    for buffer in (model.Buffers(i) for i in range(model.BuffersLength())):
        if buffer.DataLength():
            start = begin_of(buffer.DataAsNumpy(), data)
            is_structure[start : start + buffer.DataLength()] = False
    return np.flatnonzero(is_structure)


def mutations(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Truncations, changed bytes, changed words, and stretches copied from elsewhere."""
    rng, places = random.Random(seed), structure(data)
    for _ in range(count):
        changed, kind = bytearray(data), rng.random()
        if kind < 0.1:
            yield bytes(changed[: rng.choice([rng.randrange(len(data)), int(rng.choice(places))])])
            continue
        for _ in range(rng.choice([1, 1, 2, 3, 8, 30])):
            place = int(rng.choice(places)) if rng.random() < 0.97 else rng.randrange(len(data))
            if kind < 0.5:
                changed[place] = rng.choice(
                    [0, 1, 2, 127, 128, 255, rng.randrange(256), changed[place] ^ 1 << rng.randrange(8)]
                )
            elif kind < 0.85:
                place &= ~3
                word = rng.choice([*WORDS, len(data), rng.randrange(1 << 32), rng.randrange(200)])
                changed[place : place + 4] = word.to_bytes(4, "little")
            else:
                source, length = int(rng.choice(places)) & ~3, rng.choice([4, 8, 32])
                changed[place : place + length] = data[source : source + length]
        yield bytes(changed[: len(data)])


def outcome(data: bytes) -> Graph | str:
    """What reading gives; anything but a graph or a message that blames something goes through."""
    start = time.process_time()  # whatever else the machine does
    try:
        result: Graph | str = read_tflite(data, "fuzzed.tflite")
    except UserError as refusal:
        result = str(refusal)
        assert "\n" not in result
        assert len(result) < 2000
        assert result.startswith("fuzzed.tflite: ")
        assert BLAMED.search(result), result
    assert time.process_time() - start < LONGEST_S
    return result


@pytest.mark.parametrize("name", SMALL)
def test_files_cut_off_at_every_section(shared, name):
    data = shared(name).read_bytes()
    places = sections(data)
    assert len(places) > 100
    for place in {*places[:: 1 + len(places) // 150], *places[-20:]}:
        result = outcome(data[:place])
        # The last few bytes may be padding, or an option that is left at its default.
        assert isinstance(result, str) or place > len(data) - 16


@pytest.mark.parametrize("name", SMALL)
def test_damaged_files_give_a_graph_or_one_line(shared, name):
    data = shared(name).read_bytes()
    results = [outcome(changed) for changed in mutations(data, seed=1, count=400)]
    refused = [result for result in results if isinstance(result, str)]
    assert 80 < len(refused) < 400  # neither deaf nor so coarse that nothing is read


def test_damage_does_not_flood_memory(shared):
    data = shared(SMALL[0]).read_bytes()
    tracemalloc.start()
    try:
        for changed in mutations(data, seed=2, count=60):
            outcome(changed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(data) + 20_000_000


@pytest.mark.slow
@pytest.mark.parametrize("folder", [NETWORKS, "weights"])
def test_thousands_of_damaged_files(shared, folder):
    for path in sorted(shared(folder).glob("*.tflite")):
        data = path.read_bytes()
        for changed in mutations(data, seed=3, count=1000):
            outcome(changed)
