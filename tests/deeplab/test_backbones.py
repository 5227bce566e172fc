"""MobileNetV3 and ResNet, LR-ASPP, dense branches: published figures, other sizes, stages, pruning, both programs."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from deeplab.architectures import (
    DeepLabHead,
    GraphBuilder,
    mobilenet_v2_deeplab,
    mobilenet_v3_deeplab,
    mobilenet_v3_lraspp,
    resnet_deeplab,
)
from deeplab.calibration import calibrate
from deeplab.importing import load_network
from deeplab.model import build, load_weights, pixel_values
from deeplab.network import (
    classes,
    classifiers,
    convolutions,
    logits,
    output,
    parameters,
    source,
    structure,
    weight_shapes,
    weights,
    with_weights,
    without_weights,
)
from deeplab.pruning.channels import uniform_keep
from deeplab.pruning.groups import channel_groups, take_channels
from deeplab.pruning.ranking import weight_rankings
from deeplab.quantization import BitWidths, quantize
from deeplab.runtime.compilers import compiler
from deeplab.runtime.kernel_library import kernel_library
from deeplab.runtime.loaded_program import LoadedProgram
from deeplab.sizes import with_classes, with_input_size, with_output_stride
from deeplab.stages import STAGES, edges, has_stage, stages
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator
from evaluation.planner import plan
from tests.deeplab.programs import check, found_by_both, logits_of
from tests.deeplab.tiny import random_network

HEIGHT, WIDTH = 33, 48
DENSE = {"branches": "dense", "refinement": "dense"}


def dense_v2(height: int = HEIGHT, width: int = WIDTH, stride: int = 16, **options) -> Graph:
    return mobilenet_v2_deeplab(
        input_height=height, input_width=width, classes=5, width_multiplier=0.35, output_stride=stride, aspp_width=8,
        atrous_rates=(32 // stride, 64 // stride), skip_width=8, decoder_width=8, **DENSE, **options,
    )  # fmt: skip


def lraspp(height: int = HEIGHT, width: int = WIDTH, stride: int = 16, size: str = "large") -> Graph:
    return mobilenet_v3_lraspp(
        input_height=height, input_width=width, classes=5, size=size, width_multiplier=0.1, output_stride=stride,
        lraspp_width=8,
    )  # fmt: skip


def narrow_head(stride: int) -> DeepLabHead:
    return DeepLabHead(8, (32 // stride, 64 // stride), branches="dense", skip_width=8, decoder_width=8)


def v3_deeplab(height: int = HEIGHT, width: int = WIDTH, stride: int = 16) -> Graph:
    return mobilenet_v3_deeplab(
        input_height=height, input_width=width, classes=5, size="small", width_multiplier=0.1, output_stride=stride,
        head=narrow_head(stride),
    )  # fmt: skip


def resnet(height: int = HEIGHT, width: int = WIDTH, stride: int = 16, depth: int = 50) -> Graph:
    return resnet_deeplab(
        input_height=height, input_width=width, classes=5, depth=depth, width_multiplier=0.0625, output_stride=stride,
        head=narrow_head(stride),
    )  # fmt: skip


NETWORKS: dict[str, Callable[..., Graph]] = {
    "MobileNetV2, dense": dense_v2,
    "LR-ASPP, large": lraspp,
    "LR-ASPP, small": lambda *size: lraspp(*size, size="small"),
    "MobileNetV3, DeepLab v3+": v3_deeplab,
    "ResNet-18": lambda *size: resnet(*size, depth=18),
    "ResNet-50": resnet,
}
of_each = pytest.mark.parametrize("made", NETWORKS.values(), ids=NETWORKS)


def in_backbone(operator: Operator) -> bool:
    return operator.name.startswith(("stem", "block_", "last", "layer_"))


def with_batch_norms(graph: Graph, chosen: Callable[[Operator], bool] = lambda operator: True) -> int:
    """Parameters before BatchNorms were folded: gamma and beta instead of a bias where there is one."""
    found = 0
    for operator in filter(chosen, convolutions(graph)):
        normalised = source(graph, operator).shape[1:3] != (1, 1) and operator not in classifiers(graph)
        found += sum(graph.tensors[index].elements for index in operator.inputs[1:3])
        found += output(graph, operator).shape[3] * normalised
    return found


def macs(graph: Graph, chosen: Callable[[Operator], bool] = lambda operator: True) -> int:
    """Products of the convolutions."""
    found = 0
    for operator in filter(chosen, convolutions(graph)):
        rows, columns = output(graph, operator).shape[1:3]
        found += rows * columns * graph.tensors[operator.inputs[1]].elements
    return found


# ------------------------------------------------------------------------------------------------ published figures

# torchvision 0.29's `num_params` and `_ops` (multiplications in 10^9 at 224 x 224) of the classifiers, and the features
# of their fully connected layers.
CLASSIFIERS = {
    "mobilenet_v3_large": (5_483_032, 0.217, (960, 1280, 1000)),
    "mobilenet_v3_small": (2_542_856, 0.057, (576, 1024, 1000)),
    "resnet18": (11_689_512, 1.814, (512, 1000)),
    "resnet34": (21_797_672, 3.664, (512, 1000)),
    "resnet50": (25_557_032, 4.089, (2048, 1000)),
    "resnet101": (44_549_160, 7.801, (2048, 1000)),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_backbone_has_the_parameters_and_products_of_torchvisions(name):
    common = {"input_height": 224, "input_width": 224, "classes": 2, "output_stride": 32}
    if name.startswith("resnet"):
        graph = resnet_deeplab(**common, depth=int(name.removeprefix("resnet")))
    else:
        graph = mobilenet_v3_deeplab(**common, size=name.removeprefix("mobilenet_v3_"))
    check(graph)
    published, operations, features = CLASSIFIERS[name]
    connected = list(itertools.pairwise(features))
    assert with_batch_norms(graph, in_backbone) == published - sum((one + 1) * other for one, other in connected)
    assert round((macs(graph, in_backbone) + sum(one * other for one, other in connected)) / 1e9, 3) == operations


def test_an_lraspp_has_the_parameters_and_products_of_torchvisions():
    """`lraspp_mobilenet_v3_large`: 3,221,538 parameters, 2.086 * 10^9 products at 520 x 520; no bias before the
    sigmoid."""
    graph = mobilenet_v3_lraspp(input_height=520, input_width=520, classes=21)
    check(graph)
    assert with_batch_norms(graph) - 128 == 3_221_538
    assert round(macs(graph) / 1e9, 3) == 2.086


def test_a_dense_deeplab_v3_has_the_parameters_and_products_of_torchvisions():
    """`deeplabv3_resnet50`: 42,004,074 parameters and 178.722 * 10^9 products at 520 x 520, with an auxiliary head (3x3
    of 1024 to 256, 1x1), a 3x3 behind the projection, and a BatchNorm in the branch of the average."""
    head = DeepLabHead(atrous_rates=(12, 24, 36), branches="dense", decoder=False)
    graph = resnet_deeplab(input_height=520, input_width=520, classes=21, output_stride=8, head=head)
    check(graph)
    auxiliary, behind, logits_of_auxiliary = 9 * 1024 * 256, 9 * 256 * 256, 256 * 21
    others = auxiliary + behind + 2 * 2 * 256 + logits_of_auxiliary + 21 + 256
    assert with_batch_norms(graph) + others == 42_004_074
    products = macs(graph) + 65 * 65 * (auxiliary + behind + logits_of_auxiliary)
    assert round(products / 1e9, 3) == 178.722


def test_a_reduced_tail_halves_the_channels_behind_the_last_stride():
    """As torchvision's `reduced_tail`; widths from `_mobilenet_v3_conf`."""
    shapes = weight_shapes(mobilenet_v3_lraspp(input_height=64, input_width=64, classes=2, reduced_tail=True))
    kernels = {name.removesuffix("/kernel"): shape[2:] for name, shape in shapes.items() if name.endswith("kernel")}
    assert [kernels[f"block_{index}/expand"] for index in (12, 13, 14)] == [(112, 672), (80, 480), (80, 480)]
    assert [kernels[f"block_{index}/project"] for index in (12, 13, 14)] == [(672, 80), (480, 80), (480, 80)]
    assert kernels["last"] == (80, 480)


def test_dense_branches_and_a_dense_decoder_are_one_convolution_each():
    shapes = weight_shapes(dense_v2())
    assert shapes["aspp/atrous_0/kernel"] == shapes["aspp/atrous_1/kernel"] == (3, 3, 112, 8)
    assert shapes["decoder/refine_0/kernel"] == (3, 3, 16, 8)
    assert shapes["decoder/refine_1/kernel"] == (3, 3, 8, 8)
    by_name = {operator.name: operator for operator in convolutions(dense_v2())}
    assert by_name["aspp/atrous_1"].attributes["dilation"] == (4, 4)
    assert not any("refine_0/" in name and "depthwise" in name for name in shapes)


# ----------------------------------------------------------------------------------- other sizes, strides and classes


@of_each
def test_another_size_is_the_network_built_at_that_size(made):
    resized = with_input_size(made(), 64, 80)
    check(resized)
    assert structure(resized) == structure(made(64, 80))


@of_each
@pytest.mark.parametrize(("given", "wanted"), [(16, 8), (32, 16), (8, 32)])
def test_another_output_stride_is_the_network_built_at_it(made, given, wanted):
    changed = with_output_stride(made(65, 97, given), wanted)
    check(changed)
    assert structure(changed) == structure(made(65, 97, wanted))
    features = next(one for one in changed.operators if one.name == "aspp/pointwise")
    assert source(changed, features).shape[1:3] == (-(-65 // wanted), -(-97 // wanted))


def test_a_pool_past_the_output_stride_is_refused():
    with pytest.raises(UserError, match="output stride 2: the pool 'stem/pool' would have to be dilated; the least"):
        with_output_stride(resnet(), 2)


@of_each
def test_other_classes_are_the_network_built_for_them(made):
    changed = with_classes(random_network(made()), 9)
    check(changed)
    assert classes(changed) == 9
    ends = {operator.name for operator in classifiers(changed)}
    assert {name.rpartition("/")[0] for name, shape in weight_shapes(changed).items() if shape[-1] == 9} == ends
    assert all(changed.tensors[one.inputs[1]].data is None for one in classifiers(changed))


def test_classes_with_a_constant_each_keep_their_number():
    net = GraphBuilder("scaled", 16, 16)
    x = net.convolution("logits", net.input, 3)
    graph = net.finished(net.binary("MUL", "scaled", x, np.ones(3, np.float32), activation="NONE"))
    with pytest.raises(UserError, match=r"'scaled' \(MUL\) has a place for each of its classes"):
        with_classes(graph, 4)


# ------------------------------------------------------------------------------------------------- stages and pruning


def named(name: str) -> str:
    before = name.partition("/")[0]
    return "aspp" if before == "aspp" else "decoder" if before in ("decoder", "logits", "labels") else "backbone"


@of_each
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_stages_are_what_the_names_say(made, stride):
    graph = made(64, 96, stride)
    found = {operator.name: stage for operator, stage in zip(graph.operators, stages(graph), strict=True)}
    assert found == {operator.name: named(operator.name) for operator in graph.operators}


def test_an_lraspp_has_two_classifiers_and_no_more_of_a_decoder():
    assert [has_stage(lraspp(), stage) for stage in STAGES] == [True, True, False]
    assert edges(lraspp()) == {"stem", "decoder/high", "decoder/low"}
    assert all(has_stage(v3_deeplab(), stage) for stage in STAGES)


def test_an_imported_lraspp_has_the_stages_of_one_built_here(shared):
    """torchvision's at output stride 16, half as wide; the names are its own."""
    graph = load_network(shared("networks/tv_lraspp_mnv3l.onnx"))
    built = mobilenet_v3_lraspp(input_height=256, input_width=256, classes=21, width_multiplier=0.5)
    found = [
        sorted((stage, output(one, operator).shape) for operator, stage in zip(one.operators, stages(one), strict=True))
        for one in (graph, built)
    ]
    assert found[0] == found[1]
    assert classes(with_classes(graph, 4)) == 4


def test_a_squeeze_excite_is_pruned_with_what_it_multiplies():
    groups = {group.name: group for group in channel_groups(lraspp())}
    own = groups["block_4/expand"]
    assert own.writers == ("block_4/expand", "block_4/excite/gate")
    assert own.depthwise == ("block_4/depthwise",)
    assert own.readers == (("block_4/excite/squeeze", 0), ("block_4/project", 0))
    assert groups["block_4/excite/squeeze"].readers == (("block_4/excite/gate", 0),)
    assert groups["aspp/pointwise"].writers == ("aspp/pointwise", "aspp/pool/pointwise")
    assert not {"decoder/high", "decoder/low"} & groups.keys()


def test_a_residual_chain_of_bottlenecks_is_one_group():
    groups = {group.name: group for group in channel_groups(resnet())}
    assert groups["layer_1/block_0/expand"].writers[:3] == (
        "layer_1/block_0/expand", "layer_1/block_0/shortcut", "layer_1/block_1/expand",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- both programs


def drawn(graph: Graph) -> Graph:
    """The graph with weights, its gates about half open."""
    graph = random_network(graph)
    middle = {f"{one.name}/bias": 3.0 for one in convolutions(graph) if one.name.endswith("gate")}
    return with_weights(
        graph, {name: np.full_like(array, middle[name]) for name, array in weights(graph).items() if name in middle}
    )


@pytest.fixture(scope="module")
def compiled():
    if compiler() is None:
        pytest.skip("no C compiler (cc, gcc or clang) is installed")


@of_each
def test_the_model_computes_what_the_program_does(made, images, compiled):
    graph = drawn(made())
    model = build(graph)
    load_weights(model, graph)
    expected = model(pixel_values(graph)(images[:1]), training=False).numpy()
    ends = logits_of(graph)
    program = LoadedProgram(ends, plan(ends, 1), kernel_library())
    program.run(images[0])
    found = program.output(0).copy().view(np.float32).reshape(expected.shape)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@of_each
@pytest.mark.parametrize("weight_bits", [8, 4])
def test_pruned_and_quantized_the_program_is_the_interpreted_plan(made, images, weight_bits, compiled):
    graph = drawn(made())
    pruned = take_channels(graph, uniform_keep(weight_rankings(graph), 0.3))
    assert parameters(pruned) < 0.8 * parameters(graph)
    check(pruned)
    integers = quantize(pruned, calibrate(pruned, images), BitWidths(weight_bits, 8))
    check(integers)
    assert integers.tensors[logits(integers)].dtype == "int8"
    assert found_by_both(logits_of(integers), 2, images[:2])  # bits tell more than labels


@of_each
def test_a_network_without_values_has_the_same_plan(made):
    graph = drawn(made())
    assert plan(without_weights(graph), 1).peak_memory_bytes == plan(graph, 1).peak_memory_bytes
