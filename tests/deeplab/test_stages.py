"""Stages are found in the graph, and are what the names of a DeepLab say."""

from dataclasses import replace
from pathlib import Path

import pytest

import deeplab
from deeplab.architectures import GraphBuilder, mobilenet_v2_deeplab
from deeplab.checkpoint import load_checkpoint
from deeplab.pruning.channels import narrowed
from deeplab.quantization import BitWidths
from deeplab.sizes import with_classes, with_input_size
from deeplab.stages import STAGES, edges, has_stage, stages
from evaluation.graph import Graph
from tests.deeplab.tiny import tiny_network
from tests.deeplab.tiny_quantized import tiny_graph

STREETS = Path(deeplab.__file__).parent / "pretrained" / "streets.npz"


def named(name: str) -> str:
    """The stage that an operator's name says."""
    before = name.partition("/")[0]
    return "aspp" if before == "aspp" else "decoder" if before in ("decoder", "logits", "labels") else "backbone"


def found(graph: Graph) -> dict[str, str]:
    return {operator.name: stage for operator, stage in zip(graph.operators, stages(graph), strict=True)}


def of_mobilenet(**options) -> Graph:
    return mobilenet_v2_deeplab(input_height=64, input_width=96, classes=3, width_multiplier=0.35, **options)


def two_skips() -> Graph:
    """A tiny network that is refined twice, at strides 4 and 2."""
    net = GraphBuilder("skips", 32, 48)
    x = shallow = net.convolution("stem", net.input, 8, "RELU6", window=3, stride=2)
    x = deep = net.convolution("block_0/project", net.depthwise("block_0/depthwise", x, stride=2), 8)
    x = net.convolution("block_1/project", net.depthwise("block_1/depthwise", x, stride=2), 12)
    near = net.convolution("aspp/pointwise", x, 8, "RELU")
    far = net.convolution("aspp/atrous/pointwise", net.depthwise("aspp/atrous/depthwise", x, dilation=2), 8, "RELU")
    x = net.convolution("aspp/project", net.concatenation("aspp/concat", (near, far)), 8, "RELU")
    for name, skip in (("decoder/coarse", deep), ("decoder/fine", shallow)):
        x = net.resize(f"{name}/resize", x, net.shape(skip)[:2], "legacy")
        x = net.concatenation(f"{name}/concat", (x, net.convolution(f"{name}/skip", skip, 4, "RELU")))
        x = net.convolution(f"{name}/pointwise", net.depthwise(f"{name}/depthwise", x, "RELU"), 8, "RELU")
    x = net.convolution("logits", x, 3)
    return net.finished(net.resize("logits/resize", x, (32, 48), "legacy"))


NETWORKS = {
    "tiny v3+": tiny_network,
    "tiny v3": lambda: tiny_network(decoder=False),
    "skip behind the sum": lambda: tiny_network(skip_tap="project"),
    "skip of the features' size": lambda: tiny_network(skip_block=3),
    "without image pooling": lambda: tiny_network(pool=0),
    "without atrous branches": lambda: tiny_network(atrous=()),
    "three atrous branches": lambda: tiny_network(atrous=((2, 8), (3, 4), (4, 6)), pool=0),
    "in integers": lambda: tiny_graph(4, 8),
    "pruned": lambda: narrowed(tiny_network(), 0.5),
    "of another size": lambda: with_input_size(tiny_network(), 65, 80),
    "of other classes": lambda: with_classes(tiny_network(), 9),
    "MobileNetV2, v3+": lambda: of_mobilenet(atrous_rates=(6, 12, 18)),
    "MobileNetV2, v3": lambda: of_mobilenet(decoder=False),
    "MobileNetV2, output stride 8": lambda: of_mobilenet(output_stride=8),
    "MobileNetV2, output stride 32": lambda: of_mobilenet(output_stride=32),
    "two skips": two_skips,
    "embedded": lambda: load_checkpoint(STREETS).network,
}


@pytest.mark.parametrize("made", NETWORKS.values(), ids=NETWORKS)
def test_stages_are_what_the_names_say(made):
    graph = made()
    assert found(graph) == {operator.name: named(operator.name) for operator in graph.operators}


def test_without_parallel_branches_all_before_the_last_convolution_is_the_backbone():
    graph = tiny_network(decoder=False, pool=0, atrous=())
    after = {"logits", "logits/resize", "labels"}
    assert found(graph) == {one.name: "decoder" if one.name in after else "backbone" for one in graph.operators}
    assert [has_stage(graph, stage) for stage in STAGES] == [True, False, False]


def test_a_stage_is_there_if_it_has_more_than_the_logits():
    assert all(has_stage(tiny_network(), stage) for stage in STAGES)
    assert [has_stage(tiny_network(decoder=False), stage) for stage in STAGES] == [True, True, False]


def test_a_network_that_ends_behind_its_branches_has_its_logits_in_the_decoder():
    """Without a projection between: the convolution behind the concatenation is the last."""
    net = GraphBuilder("short", 16, 24)
    x = net.convolution("stem", net.input, 8, "RELU6", window=3, stride=2)
    near, far = net.convolution("aspp/near", x, 4), net.depthwise("aspp/far", x, dilation=2)
    x = net.convolution("logits", net.concatenation("aspp/concat", (near, far)), 3)
    graph = net.finished(net.resize("logits/resize", x, (16, 24), "legacy"))
    assert found(graph) == {operator.name: named(operator.name) for operator in graph.operators}


def test_the_first_and_the_last_convolution_are_the_edges():
    assert edges(tiny_network()) == {"stem", "logits"}
    assert edges(load_checkpoint(STREETS).network) == {"stem", "logits"}


def test_bits_by_stage_follow_the_graph_and_not_its_names():
    """The same network with meaningless names has the same bits, operator by operator."""
    graph, bits = two_skips(), BitWidths(8, 8, aspp_weights=2, decoder_weights=4, edge_weights=6)
    expected = bits.by_kernel(graph)
    assert {named(name): width for name, width in expected.items() if name not in ("stem", "logits")} == {
        "backbone": 8, "aspp": 2, "decoder": 4,
    }  # fmt: skip
    assert expected["stem"] == expected["logits"] == 6
    renamed = renumbered(graph)
    assert list(bits.by_kernel(renamed).values()) == list(expected.values())
    assert list(bits.by_activation(renamed).values()) == list(bits.by_activation(graph).values())


def renumbered(graph: Graph) -> Graph:
    """The graph with numbers for the names of its operators, but those of the form."""
    new = {operator.name: f"x{index}" for index, operator in enumerate(graph.operators)}
    new |= {name: name for name in ("input", "labels")}
    return Graph(
        graph.name,
        tuple(replace(tensor, name=new.get(tensor.name, tensor.name)) for tensor in graph.tensors),
        tuple(replace(operator, name=new[operator.name]) for operator in graph.operators),
        graph.inputs,
        graph.outputs,
    )


def test_a_network_of_one_convolution_on_one_pixel_is_all_decoder():
    net = GraphBuilder("least", 1, 1)
    graph = net.finished(net.convolution("logits", net.input, 2))
    assert stages(graph) == ("backbone", "decoder", "decoder")
    assert edges(graph) == {"logits"}
    assert not any(has_stage(graph, stage) for stage in STAGES)
