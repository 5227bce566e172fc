"""The emitted program next to TFLite's reference kernels, run by LiteRT: the same bytes.

On the ADE20K network the reference takes two minutes for all images, so its labels are kept as hashes in
reference_labels.json, made once; the small networks run next to it.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.runtime.compilers import compiler
from deeplab.runtime.proof import Proof, prove
from deeplab.runtime.proof_build import Toolchain, native
from evaluation.accuracy import to_network_size
from evaluation.graph import Graph, read_tflite
from evaluation.planner import plan

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")

QUICK = native(("-std=c99", "-O1", "-march=native", "-ffp-contract=off")) if compiler() else None
REFERENCE = json.loads(Path(__file__).with_name("reference_labels.json").read_text())
IMAGES = sorted(REFERENCE["labels_sha256"])
NETWORKS = {
    "mlperf_tiny__vww_96_int8": (1, 8),
    "mlperf_tiny__pretrainedResnet_quant": (1, 8, "auto"),
    "mlperf_tiny__kws_ref_model": (1, "auto"),
    "tinyengine__vww": (1, 4),
    "coral__tf2_mobilenet_v2_1.0_224_ptq": (1, "auto"),
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def ade20k(shared) -> Graph:
    path = shared(REFERENCE["network"])
    assert sha256(path.read_bytes()) == REFERENCE["network_sha256"]
    return read_tflite(path)


def check_labels(
    graph: Graph, tiles: int | str, names: list[str], images: Path, folder: Path, toolchain: Toolchain | None = None
) -> Proof:
    rows, columns = graph.tensors[graph.inputs[0]].shape[1:3]
    frames = [
        to_network_size(np.asarray(Image.open(images / f"{name}.jpg").convert("RGB")), rows, columns) for name in names
    ]
    proof = prove(graph, plan(graph, tiles), frames, folder, runs=1, toolchain=toolchain)
    assert proof.faults == ()
    made = {name: sha256(labels.tobytes()) for name, labels in zip(names, proof.measured.outputs, strict=True)}
    wrong = [name for name in names if made[name] != REFERENCE["labels_sha256"][name]]
    assert wrong == [], f"{len(wrong)} of {len(names)} images"
    return proof


@pytest.mark.slow
def test_ade20k_labels_are_those_of_the_reference_kernels(ade20k, shared, tmp_path):
    check_labels(ade20k, "auto", IMAGES[:2], shared(REFERENCE["images"]), tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [1, 2, 4, 8, 16, "auto"])
def test_ade20k_labels_of_all_images(tiles, ade20k, shared, tmp_path):
    assert len(IMAGES) == 100
    proof = check_labels(ade20k, tiles, IMAGES, shared(REFERENCE["images"]), tmp_path)
    print(tiles, proof.arena_bytes, proof.measured.stack_bytes, proof.sizes, f"{proof.latency_ms:.0f} ms")


def random_inputs(graph: Graph, count: int) -> list[np.ndarray]:
    random, tensor = np.random.default_rng(7), graph.tensors[graph.inputs[0]]
    if tensor.dtype == "float32":
        return [random.uniform(-1, 1, tensor.shape).astype(np.float32) for _ in range(count)]
    return [random.integers(0, 256, tensor.shape, dtype=np.uint8).view(tensor.dtype) for _ in range(count)]


def reference_outputs(path: Path, inputs: list[np.ndarray]) -> np.ndarray:
    """uint8 (inputs, bytes) by LiteRT's reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path), num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, output = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found = []
    for values in inputs:
        interpreter.set_tensor(source, values)
        interpreter.invoke()
        found.append(np.ascontiguousarray(interpreter.get_tensor(output)).reshape(-1).view(np.uint8))
    return np.stack(found)


def check_network(
    name: str, tiles: int | str, count: int, shared, folder: Path, toolchain: Toolchain | None = None
) -> None:
    path = shared(f"planner_cases/networks/{name}.tflite")
    graph = read_tflite(path)
    inputs = random_inputs(graph, count)
    proof = prove(graph, plan(graph, tiles), inputs, folder, runs=1, toolchain=toolchain)
    np.testing.assert_array_equal(proof.measured.outputs, reference_outputs(path, inputs))
    assert proof.faults == ()


def test_a_small_network_gives_the_reference_kernels_bytes(shared, tmp_path):
    check_network("mlperf_tiny__pretrainedResnet_quant", "auto", 4, shared, tmp_path, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tiles"), [(name, tiles) for name, both in NETWORKS.items() for tiles in both])
def test_networks_give_the_reference_kernels_bytes(name, tiles, shared, tmp_path):
    check_network(name, tiles, 20, shared, tmp_path)
