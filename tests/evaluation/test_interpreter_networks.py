"""Trained networks, tensor by tensor, against LiteRT's reference kernels; and by plan at several tile counts."""

import hashlib

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image

from evaluation.accuracy import to_network_size
from evaluation.graph.tflite import read_tflite
from evaluation.interpreter import execute, run_whole
from evaluation.planner.plan import plan

NETWORKS = [
    "planner_cases/networks/mlperf_tiny__ad01_int8.tflite",
    "planner_cases/networks/mlperf_tiny__kws_ref_model.tflite",
    "planner_cases/networks/mlperf_tiny__pretrainedResnet_quant.tflite",
    "planner_cases/networks/mlperf_tiny__vww_96_int8.tflite",
    "planner_cases/networks/coral__mobilenet_v1_0.25_128_quant.tflite",
    "planner_cases/networks/coral__tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "planner_cases/networks/tinyengine__vww.tflite",
    "planner_cases/networks/tflite_support__mobilenet_v1_0.25_224_1_default_1.tflite",
    "weights/deeplabv3_257_mv_gpu.tflite",
    "weights/deeplabv3_mnv2_dm05_pascal_quant.tflite",
]


def reference_tensors(path, frame):
    """Every tensor after one run of LiteRT's reference kernels, by index."""
    interpreter = Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame)
    interpreter.invoke()
    return interpreter.get_tensor


def frame_for(graph, seed=7):
    tensor, rng = graph.tensors[graph.inputs[0]], np.random.default_rng(seed)
    if tensor.dtype == "float32":
        return rng.uniform(-1, 1, tensor.shape).astype(np.float32)
    bounds = np.iinfo(tensor.dtype)
    return rng.integers(bounds.min, bounds.max + 1, tensor.shape, tensor.dtype)


def first_difference(graph, ours, theirs):
    """The first operator whose output is not the reference's, or None."""
    for index, operator in enumerate(graph.operators):
        output = operator.outputs[0]
        if not np.array_equal(ours[output], theirs(output)):
            return f"operator {index} ({operator.kind} {operator.name})"
    return None


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_is_the_references_and_tiles_change_nothing(name, shared):
    path = shared(name)
    graph = read_tflite(path)
    frame = frame_for(graph)
    ours = run_whole(graph, frame)
    assert first_difference(graph, ours, reference_tensors(path, frame)) is None
    for tiles in (1, 2, 4, 8):
        made = plan(graph, tiles)
        run = execute(graph, made, frame, trace=True)
        np.testing.assert_array_equal(run.output, ours[graph.outputs[0]])
        assert made.arena_bytes - 16 < run.trace.end <= made.arena_bytes


@pytest.mark.slow
def test_ade20k_every_tensor_is_the_references(shared):
    path = shared("weights/deeplabv3_mnv2_ade20k_int8.tflite")
    image = shared("data/ade20k_subset/images/ADE_val_00000018.jpg")
    frame = to_network_size(np.asarray(Image.open(image).convert("RGB")), 512, 512)[np.newaxis]
    graph = read_tflite(path)
    theirs = reference_tensors(path, frame)
    assert first_difference(graph, run_whole(graph, frame), theirs) is None
    print("labels:", hashlib.sha256(theirs(graph.outputs[0]).tobytes()).hexdigest())
