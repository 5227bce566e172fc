"""Weight import: the five real files, their published scores, and clear refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.datasets import open_dataset
from deeplab.importing import import_tflite
from deeplab.importing.float_network import float_network
from deeplab.model import build, load_weights
from deeplab.network import check_network, convolutions, fingerprint, input_size, is_float, parameters
from deeplab.runtime.kernel_library import kernel_library
from deeplab.runtime.loaded_program import LoadedProgram, arena_faults
from deeplab.scoring import score
from deeplab.stages import stages
from deeplab.tflite_export import portable, to_tflite
from evaluation.accuracy import to_network_size
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator
from evaluation.planner import plan
from tests.deeplab.graph_comparison import assert_same_weights, described
from tests.deeplab.tiny import random_network, tiny_network

# Parameters, source of the skip and score of each file's float network as its SOURCE.txt states them.
FILES = {
    "deeplabv3_257_mv_gpu": (688_357, [], 0.577),
    "deeplabv3_mnv2_dm05_pascal_quant": (688_357, [], 0.722),
    "deeplabv3_mnv2_pascal_quant": (2_097_013, [], 0.759),
    "deeplabv3_mnv2_ade20k_int8": (2_256_272, ["DEPTHWISE_CONV_2D"], 0.476),
    "deeplabv3plus_mnv2_camvid_float": (2_250_875, ["DEPTHWISE_CONV_2D"], 0.6936),
}


def skips(graph: Graph) -> list[str]:
    """Kinds of the backbone's operators that the decoder reads."""
    stage = {operator.outputs[0]: own for operator, own in zip(graph.operators, stages(graph), strict=True)}
    kinds = {operator.outputs[0]: operator.kind for operator in graph.operators}
    return [
        kinds[index]
        for operator in graph.operators
        for index in operator.inputs
        if stage[operator.outputs[0]] == "decoder" and stage.get(index) == "backbone"
    ]


@pytest.mark.parametrize("name", FILES)
def test_the_network_is_found(shared, name):
    expected, skip, _ = FILES[name]
    graph = import_tflite(shared(f"weights/{name}.tflite"))
    check_network(graph)
    assert is_float(graph)
    assert parameters(graph) == expected
    assert skips(graph) == skip


@pytest.mark.parametrize("name", FILES)
def test_its_program_gives_the_same_labels_in_tiles(shared, name):
    """In some the rows that a tile keeps are all that the next one reads: one pixel, the mean of the image."""
    graph = import_tflite(shared(f"weights/{name}.tflite"))
    image = open_dataset("voc", shared("data/voc2012_subset")).split("search").sample(0).image
    frame = to_network_size(image, *input_size(graph))
    whole, tiled = (LoadedProgram(graph, plan(graph, tiles), kernel_library()) for tiles in (1, 4))
    np.testing.assert_array_equal(tiled.labels(frame), whole.labels(frame))
    assert len(np.unique(whole.labels(frame))) > 1
    assert arena_faults(tiled.plan, tiled.arena_use(frame)) == ()


def test_the_ade20k_file_is_the_network_the_builder_makes(shared):
    graph = import_tflite(shared("weights/deeplabv3_mnv2_ade20k_int8.tflite"))
    assert described(graph) == described(mobilenet_v2_deeplab(input_height=512, input_width=512, classes=32))


@pytest.mark.parametrize("resize", ["legacy", "align_corners", "half_pixel"])
def test_a_network_that_is_written_as_tflite_comes_back_as_it_was(tmp_path, resize):
    graph = random_network(tiny_network(resize=resize))
    path = tmp_path / "network.tflite"
    path.write_bytes(to_tflite(graph))
    found = import_tflite(path)
    assert described(found) == described(graph)
    assert_same_weights(found, graph)
    assert [operator.name for operator in convolutions(found)] == [operator.name for operator in convolutions(graph)]


def test_the_same_file_gives_the_same_network(shared):
    path = shared("weights/deeplabv3_257_mv_gpu.tflite")
    assert fingerprint(import_tflite(path)) == fingerprint(import_tflite(path))


def _miou(shared, name):
    network = import_tflite(shared(f"weights/{name}.tflite"))
    if "ade20k" in name:
        dataset = open_dataset("ade20k", shared("data/ade20k_subset"), classes=32)
    elif "camvid" in name:
        dataset = open_dataset("camvid", shared("data/camvid"))
    else:
        dataset = open_dataset("voc", shared("data/voc2012_subset"))
    split = dataset.split("val" if "camvid" in name else "all")
    return score(network, dataset, split).miou


@pytest.mark.parametrize("name", ["deeplabv3_257_mv_gpu"])
def test_the_score_is_the_published_one(shared, name):
    assert _miou(shared, name) == pytest.approx(FILES[name][2], abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name != "deeplabv3_257_mv_gpu"])
def test_the_score_is_the_published_one_for_the_larger_networks(shared, name):
    assert _miou(shared, name) == pytest.approx(FILES[name][2], abs=0.005)


def litert_output(path: Path, image: np.ndarray) -> np.ndarray:
    """What the interpreter computes of the file itself."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def logits(graph: Graph, frames: np.ndarray) -> np.ndarray:
    model = build(graph)
    load_weights(model, graph)
    return model(frames.astype(np.float32) / 127.5 - 1.0, training=False).numpy()


def test_float_logits_equal_litert(shared):
    """Logits of the 257 network on one image."""
    path = shared("weights/deeplabv3_257_mv_gpu.tflite")
    frames = np.random.default_rng(0).integers(0, 256, (1, 257, 257, 3))
    expected = litert_output(path, frames.astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose(logits(import_tflite(path), frames), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "image", "least"),
    [
        ("deeplabv3_mnv2_dm05_pascal_quant", "voc2012_subset/JPEGImages/2007_000033.jpg", 0.99),
        ("deeplabv3_mnv2_ade20k_int8", "ade20k_subset/images/ADE_val_00000018.jpg", 0.94),
    ],
)
def test_the_float_logits_of_a_quantized_file_give_the_labels_that_it_computes_in_integers(shared, name, image, least):
    """But for pixels between two classes: these share the files' weights, not their rounding."""
    path = shared(f"weights/{name}.tflite")
    graph = import_tflite(path)
    height, width = input_size(graph)
    frames = np.asarray(Image.open(shared(f"data/{image}")).convert("RGB").resize((width, height)))[None]
    expected = litert_output(path, frames)
    assert len(np.unique(expected)) > 1
    assert (logits(graph, frames).argmax(axis=-1) == expected).mean() >= least


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mlperf_tiny__vww_96_int8", "it ends at tensor"),
        ("coral__tf2_mobilenet_v2_1.0_224_ptq", "it ends at tensor"),
        ("mlperf_tiny__ad01_int8", "expected [1, height, width, 3]"),
        ("mediapipe__selfie_segmentation", "custom operator"),
        ("tinyengine__vww", "it ends at tensor"),
    ],
)
def test_other_networks_are_refused_by_what_does_not_fit_first(shared, name, words):
    with pytest.raises(UserError) as refusal:
        import_tflite(shared(f"planner_cases/networks/{name}.tflite"))
    assert words in str(refusal.value)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def edited(name: str, kind: str | None = None, inputs: tuple[int, ...] | None = None, **attributes: object) -> Graph:
    """The tiny network, as a file holds it, with one operator changed."""
    graph = portable(random_network(tiny_network()))

    def change(operator: Operator) -> Operator:
        if operator.name != name:
            return operator
        taken = operator.inputs if inputs is None else tuple(operator.inputs[index] for index in inputs)
        return replace(
            operator, kind=kind or operator.kind, inputs=taken, attributes={**operator.attributes, **attributes}
        )

    return replace(graph, operators=tuple(change(operator) for operator in graph.operators))


def with_two_outputs() -> Graph:
    graph = edited("stem")
    return replace(graph, outputs=(graph.operators[3].outputs[0], *graph.outputs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda: edited("stem", activation="TANH"),
            "operator CONV_2D 'stem' does not fit, expected an activation of NONE, ",
        ),
        (lambda: edited("block_2/add", "POW"), "operator POW 'block_2/add' does not fit, expected one of CONV_2D, "),
        (
            lambda: edited("stem", dilation=(2, 2)),
            "expected equal strides and dilations in both directions, and one of",
        ),
        (lambda: edited("stem", stride=(2, 1)), "expected equal strides and dilations in both directions, and one of"),
        (
            lambda: edited("decoder/resize", align_corners=True, half_pixel_centers=True),
            "RESIZE_BILINEAR 'decoder/resize' does not fit, expected align_corners or half_pixel_centers, not both",
        ),
        (lambda: edited("aspp/concat", axis=2), "expected a concatenation of activations over channels"),
        (lambda: edited("aspp/concat", activation="RELU"), "without an activation function"),
        (
            lambda: edited("labels", axis=2),
            "operator ARG_MAX 'labels' does not fit, expected the largest of the channels",
        ),
        (lambda: edited("stem", inputs=(1, 0, 2)), "operator CONV_2D 'stem' does not fit, expected an input that is"),
        (lambda: edited("stem", inputs=(0, 0, 2)), "operator CONV_2D 'stem' does not fit, expected constant weights"),
        (with_two_outputs, "2 outputs ('block_1/expand', 'labels'), expected one"),
    ],
)
def test_an_operator_that_does_not_fit_is_named(change, words):
    with pytest.raises(UserError) as refusal:
        float_network(change(), "net.tflite")
    assert str(refusal.value).startswith("net.tflite: no network that can be imported: ")
    assert words in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(shared, tmp_path, share):
    whole = shared("weights/deeplabv3_257_mv_gpu.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"cut\.tflite"):
        import_tflite(path)
