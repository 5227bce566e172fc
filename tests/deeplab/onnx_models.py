"""Small ONNX models, and the comparison of a file graph with what onnxruntime makes of the same file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from deeplab.importing.onnx_file import read_onnx
from evaluation.graph import Graph
from evaluation.graph.executable import check_order
from evaluation.graph.shapes import check_shapes
from evaluation.interpreter import run_whole

OPSET = 17


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; names are separated by spaces, `-` leaves an input out."""
    given = ["" if name == "-" else name for name in inputs.split()]
    domain = attributes.pop("domain", "")
    return helper.make_node(
        kind, given, outputs.split(), name=f"{kind.lower()}_{outputs.split()[0]}", domain=domain, **attributes
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    *,
    shape: Sequence[Any] = (1, 3, 7, 9),
    outputs: str = "y",
    opset: int = OPSET,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of one float image `x`; floats in `constants` become float32, integers int64."""
    initializers = []
    for name, value in (constants or {}).items():
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        initializers.append(numpy_helper.from_array(array, name))
    image = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    results = [onnx.ValueInfoProto(name=name) for name in outputs.split()]
    graph = helper.make_graph(list(nodes), "small", [image], results, initializers)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    # onnxruntime wants the types of outputs, and onnx its newest format otherwise.
    made = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(onnx.inliner.inline_local_functions(made) if functions else made)
    kinds = {value.name: value.type for value in inferred.graph.output}
    for value in made.graph.output:
        value.type.CopyFrom(kinds[value.name])
    return made


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def reference(made: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Fused kernels are other arithmetic: a product by 8-bit weights rounds its other factor, too.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


def compared(
    made: onnx.ModelProto,
    folder: Path,
    *,
    input_size: tuple[int, int] | None = None,
    image: np.ndarray | None = None,
    tolerance: float = 2e-5,
    is_nchw: bool = False,
) -> Graph:
    """The file graph of a model, whose outputs are those of onnxruntime, up to axes of size 1."""
    graph = read_onnx(saved(made, folder), input_size)
    check_order(graph)
    check_shapes(graph)
    shape = graph.tensors[graph.inputs[0]].shape
    values = random(*shape, seed=1, scale=2.0) if image is None else image
    sizes = made.graph.input[0].type.tensor_type.shape.dim
    given = values.transpose(0, 3, 1, 2) if sizes[1].dim_value == 3 else values
    results = run_whole(graph, values)
    names = [value.name for value in made.graph.output]
    assert [graph.tensors[index].name for index in graph.outputs] == names
    for index, expected in zip(graph.outputs, reference(made, given), strict=True):
        wanted = expected.transpose(0, 2, 3, 1) if is_nchw else as_nhwc(expected, values.shape)
        assert [size for size in graph.tensors[index].shape if size != 1] == [s for s in wanted.shape if s != 1]
        np.testing.assert_allclose(results[index].reshape(wanted.shape), wanted, rtol=tolerance, atol=tolerance)
    return graph


def as_nhwc(values: np.ndarray, image: Sequence[int]) -> np.ndarray:
    """An ONNX output in the order of the file graph: an image has its channels last already, or gets them there."""
    size = tuple(image[1:3])
    if values.ndim == 3 and values.shape[1:] == size:
        return values.transpose(1, 2, 0)
    is_image = values.ndim == 4 and values.shape[1:3] != size
    return values.transpose(0, 2, 3, 1) if is_image else values


def kinds(graph: Graph) -> Counter:
    return Counter(operator.kind for operator in graph.operators)


def every_kind() -> onnx.ModelProto:
    """A model of many operators, for files that are damaged."""
    nodes = [
        node("Conv", "x w b", "c", pads=(1, 1, 1, 1), strides=(2, 2)),
        node("BatchNormalization", "c g h i j", "n"),
        node("Clip", "n low high", "r"),
        node("MaxPool", "r", "m", kernel_shape=(3, 3), pads=(1, 1, 1, 1)),
        node("GlobalAveragePool", "m", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f w2", "e"),
        node("HardSigmoid", "e", "s"),
        node("Reshape", "s v", "t"),
        node("Mul", "m t", "u"),
        node("Concat", "u r", "k", axis=1),
        node("ConvTranspose", "k w3", "d", strides=(2, 2)),
        node("Shape", "x", "size"),
        node("Slice", "size two four", "end"),
        node("Concat", "front end", "all", axis=0),
        node("Resize", "d - - all", "z", mode="linear"),
        node("Softmax", "z", "y", axis=1),
    ]
    constants = {
        "w": random(4, 3, 3, 3),
        "b": random(4, seed=1),
        **{name: np.abs(random(4, seed=place)) for place, name in enumerate("ghij")},
        "low": 0.0,
        "high": 6.0,
        "w2": random(4, 4),
        "v": np.array((1, 4, 1, 1)),
        "w3": random(8, 2, 2, 2),
        "two": np.array([2]),
        "four": np.array([4]),
        "front": np.array((1, 2)),
    }
    return model(nodes, constants, shape=(1, 3, 8, 8))
