"""Frozen graphs and checkpoints with the names of `tensorflow/models`: the same logits, and clear refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.importing import Backbone, Unstated, load_network, load_start
from deeplab.model import build, load_weights
from deeplab.network import check_network, convolutions, fingerprint, input_size, weights
from evaluation.errors import UserError
from evaluation.graph import Graph
from tests.deeplab.graph_comparison import assert_same_weights, described
from tests.deeplab.slim_network import SlimNetwork

V3_PLUS = {"height": 40, "width": 56, "output_stride": 8, "rates": (2, 4, 6), "decoder": True}
V3_PLUS_UNSTATED = Unstated((40, 56), output_stride=8, atrous_rates=(2, 4, 6))


@pytest.fixture(scope="module")
def v3() -> SlimNetwork:
    return SlimNetwork()


@pytest.fixture(scope="module")
def v3_plus() -> SlimNetwork:
    return SlimNetwork(**V3_PLUS)


def assert_same_logits(network: SlimNetwork, found: Graph, definition=None) -> None:
    check_network(found)
    image = np.random.default_rng(3).integers(0, 256, (*input_size(found), 3)).astype(np.uint8)
    expected = network.logits(image, definition)
    model = build(found)
    load_weights(model, found)
    computed = model(image[None].astype(np.float32) / 127.5 - 1.0, training=False).numpy()
    assert expected.shape == computed.shape
    assert np.abs(expected).max() > 0.1
    assert np.abs(computed - expected).max() <= 1e-4 * np.abs(expected).max()


def assert_same(one: Graph, other: Graph) -> None:
    """Equal but for names, and for the epsilon, which a graph holds as float32 and not below 1.001e-5."""
    assert described(one) == described(other)
    assert_same_weights(one, other, rtol=1e-5, atol=1e-6)


def rates(graph: Graph) -> list[int]:
    """Dilations of the ASPP's depthwise convolutions."""
    named = [operator for operator in convolutions(graph) if operator.name.startswith("aspp/atrous")]
    return [operator.attributes["dilation"][0] for operator in named if operator.kind == "DEPTHWISE_CONV_2D"]


def test_deeplab_v3_gives_the_same_logits_from_graph_and_checkpoint(v3: SlimNetwork, tmp_path: Path) -> None:
    graph = load_network(v3.write_graph(tmp_path / "frozen_inference_graph.pb"))
    built = mobilenet_v2_deeplab(
        input_height=33, input_width=33, classes=5, width_multiplier=0.1, aspp_width=8, decoder=False,
        resize="align_corners",
    )  # fmt: skip
    assert described(graph) == described(built)
    assert_same_logits(v3, graph)
    assert_same(load_network(v3.write_checkpoint(tmp_path / "model.ckpt-30000"), Unstated((33, 33))), graph)


def test_deeplab_v3_plus_gives_the_same_logits_from_graph_and_checkpoint(v3_plus: SlimNetwork, tmp_path: Path) -> None:
    graph = load_network(v3_plus.write_graph(tmp_path / "frozen_inference_graph.pb"))
    built = mobilenet_v2_deeplab(
        input_height=40, input_width=56, classes=5, width_multiplier=0.1, output_stride=8, aspp_width=8,
        atrous_rates=(2, 4, 6), skip_width=6, decoder_width=8, resize="align_corners",
    )  # fmt: skip
    assert described(graph) == described(built)
    assert_same_logits(v3_plus, graph)
    assert_same(load_network(v3_plus.write_checkpoint(tmp_path / "model.ckpt"), V3_PLUS_UNSTATED), graph)


@pytest.mark.parametrize("name", ["model.ckpt-7", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001", ""])
def test_a_checkpoint_goes_by_prefix_by_file_and_by_folder(v3: SlimNetwork, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "deeplabv3_mnv2_1.0"
    folder.mkdir()
    v3.write_checkpoint(folder / "model.ckpt-7")
    assert input_size(load_network(folder / name)) == (513, 513)


def test_of_several_checkpoints_the_folder_says_which_is_the_last(v3: SlimNetwork, tmp_path: Path) -> None:
    v3.write_checkpoint(tmp_path / "model.ckpt-1")
    changed = {**v3.variables, "logits/semantic/biases": np.full(5, 9, np.float32)}
    v3.write_checkpoint(tmp_path / "model.ckpt-2", changed)
    with pytest.raises(UserError, match=r"holds 2 checkpoints .* name one of them, such as .*model\.ckpt-2"):
        load_network(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-2"\n')
    assert (weights(load_network(tmp_path))["logits/bias"] == 9).all()


def test_moving_averages_are_preferred(v3: SlimNetwork, tmp_path: Path) -> None:
    name = "MobilenetV2/Conv/weights"
    averages = {f"{name}/ExponentialMovingAverage": 2 * v3.variables[name]}
    plain = load_network(v3.write_checkpoint(tmp_path / "a.ckpt"))
    averaged = load_network(v3.write_checkpoint(tmp_path / "b.ckpt", {**v3.variables, **averages}))
    np.testing.assert_allclose(weights(averaged)["stem/kernel"], 2 * weights(plain)["stem/kernel"], rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"fused": False},
        {"mean": True},
        {"quantized": True},
        {"align_corners": False},
        {"align_corners": False, "half_pixel": True},
        {"skip": "project"},
        {"blocks": 14},
    ],
    ids=str,
)
def test_graphs_of_other_exports(v3_plus: SlimNetwork, tmp_path: Path, change: dict) -> None:
    """The weights are the same ones; what differs is found in the operations."""
    network = SlimNetwork(**V3_PLUS, **change)
    found = load_network(network.write_graph(tmp_path / "graph.pb"))
    assert input_size(found) == (40, 56)
    if change == {"quantized": True}:  # fake quantization is left out: the network that was trained with it
        assert_same(found, load_network(v3_plus.write_graph(tmp_path / "reference.pb")))
        return
    assert_same_logits(network, found)
    if "blocks" not in change:
        convention = "half_pixel" if "half_pixel" in change else "legacy" if "align_corners" in change else None
        stated = replace(V3_PLUS_UNSTATED, resize=convention or "align_corners")
        assert_same(load_network(network.write_checkpoint(tmp_path / "model.ckpt"), stated), found)


@pytest.mark.parametrize("size", [(33, 33), (41, 57), (52, 46)])
def test_dilations_are_found_at_sizes_that_they_do_not_divide(tmp_path: Path, size: tuple[int, int]) -> None:
    """TensorFlow 1 writes a dilation as SpaceToBatchND, which pads to a multiple of it, and BatchToSpaceND."""
    network = SlimNetwork(*size, output_stride=8, rates=(3, 5, 7))
    kinds = [node.op for node in network.definition.node]
    assert kinds.count("SpaceToBatchND") == kinds.count("BatchToSpaceND") > 3
    found = load_network(network.write_graph(tmp_path / "graph.pb"))
    assert_same_logits(network, found)
    stated = Unstated(size, output_stride=8, atrous_rates=(3, 5, 7))
    assert_same(load_network(network.write_checkpoint(tmp_path / "model.ckpt"), stated), found)


@pytest.mark.parametrize(("change", "size"), [({}, (33, 33)), ({**V3_PLUS, "height": 41, "width": 57}, (41, 57))])
def test_a_graph_without_static_shapes_tells_its_size_by_the_image_pooling(tmp_path: Path, change, size) -> None:
    network = SlimNetwork(fixed_size=False, **change)
    found = load_network(network.write_graph(tmp_path / "graph.pb"))
    assert input_size(found) == size
    assert_same_logits(network, found)


def test_attributes_that_equal_their_default_may_be_left_out(v3_plus: SlimNetwork, tmp_path: Path) -> None:
    """TensorFlow 1.4 knew neither `dilations` of a convolution nor `half_pixel_centers`."""
    definition = v3_plus.definition
    for node in definition.node:
        for key in ("dilations", "half_pixel_centers", "data_format", "explicit_paddings"):
            node.attr.pop(key, None)
    found = load_network(v3_plus.write_graph(tmp_path / "old.pb", definition))
    reference = load_network(v3_plus.write_graph(tmp_path / "new.pb"))
    assert fingerprint(replace(found, name="")) == fingerprint(replace(reference, name=""))


def test_published_rates_are_taken_where_there_are_three_branches(tmp_path: Path) -> None:
    path = SlimNetwork(rates=(2, 4, 6)).write_checkpoint(tmp_path / "model.ckpt")
    for stride, published in ((16, [6, 12, 18]), (8, [12, 24, 36])):
        assert rates(load_network(path, Unstated(output_stride=stride))) == published


def test_a_graph_for_any_size_needs_one(tmp_path: Path) -> None:
    path = SlimNetwork(fixed_size=False, mean=True).write_graph(tmp_path / "graph.pb")
    with pytest.raises(UserError, match=r"graph\.pb: takes images of any size; give network\.input_size"):
        load_network(path)
    assert input_size(load_network(path, Unstated((33, 33)))) == (33, 33)


# ------------------------------------------------------------------------------------------------------------ refusals


def refusal(path: Path, unstated: Unstated | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_network(path, unstated)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def set_kind(name: str, kind: str):
    def edit(nodes: dict) -> None:
        nodes[name].op = kind

    return edit


def set_attribute(name: str, key: str, field: str, value):
    def edit(nodes: dict) -> None:
        setattr(nodes[name].attr[key], field, value)

    return edit


def swap_inputs(name: str):
    def edit(nodes: dict) -> None:
        inputs = nodes[name].input
        inputs[0], inputs[1] = inputs[1], inputs[0]

    return edit


def rewire(name: str, index: int, source: str):
    def edit(nodes: dict) -> None:
        nodes[name].input[index] = source

    return edit


def set_offset(nodes: dict) -> None:
    nodes["sub/y"].attr["value"].tensor.float_val[0] = 0.5


def edited(network: SlimNetwork, edit):
    definition = network.definition
    edit({node.name: node for node in definition.node})
    return definition


@pytest.mark.parametrize(
    "edit",
    [
        set_kind("aspp0/Relu", "Relu6"),
        set_kind("MobilenetV2/expanded_conv_4/depthwise/Relu6", "Identity"),
        swap_inputs("decoder/concat"),
        set_attribute("ResizeBilinear_1", "align_corners", "b", False),
        set_attribute("MobilenetV2/expanded_conv_2/add", "N", "i", 0),
        rewire("MobilenetV2/expanded_conv_5/add", 1, "MobilenetV2/expanded_conv_4/input"),
        set_kind("AvgPool2D/AvgPool", "MaxPool"),
    ],
    ids=range(7),
)
def test_a_graph_that_computes_something_else_is_imported_as_what_it_computes(
    v3_plus: SlimNetwork, tmp_path: Path, edit
) -> None:
    definition = edited(v3_plus, edit)
    found = load_network(v3_plus.write_graph(tmp_path / "graph.pb", definition))
    assert_same_logits(v3_plus, found, definition)


def test_full_kernels_in_the_aspp_are_imported_from_a_graph(tmp_path: Path) -> None:
    network = SlimNetwork(rates=(2, 4, 6), full_kernels=True)
    assert_same_logits(network, load_network(network.write_graph(tmp_path / "a.pb")))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            set_attribute("MobilenetV2/Conv/BatchNorm/FusedBatchNorm", "is_training", "b", True),
            ("operator MEAN 'MobilenetV2/Conv/BatchNorm/FusedBatchNorm", "does not fit, expected one of CONV_2D, "),
        ),
        (
            set_kind("MobilenetV2/expanded_conv_4/depthwise/Relu6", "Erfinv"),
            ("node MobilenetV2/expanded_conv_4/depthwise/Relu6 (Erfinv) has no TFLite operator",),
        ),
        (rewire("MobilenetV2/expanded_conv_5/add", 1, "image_pooling/Relu"), ("in a cycle",)),
        (set_offset, ("node Cast (Cast) does not fit, expected images scaled to [-1, 1]",)),
        (
            set_attribute("MobilenetV2/Conv/weights", "dtype", "type", 3),
            ("node MobilenetV2/Conv/weights (Const)", "expected a constant of the type that it states"),
        ),
        (rewire("MobilenetV2/Conv/Conv2D", 0, "gone"), ("node gone is missing",)),
        (rewire("concat", 1, "decoder/concat"), ("in a cycle",)),
        (
            rewire("concat", 1, "ImageTensor"),
            ("node ImageTensor (Placeholder) does not fit, expected MobilenetV2/input as",),
        ),
        (
            rewire("ArgMax", 1, "concat_projection/weights"),
            ("node ArgMax (ArgMax)", "expected ArgMax over the channels"),
        ),
        (set_kind("ArgMax", "ArgMin"), ("it ends at tensor 'SemanticPredictions' of shape [1, 40, 56]",)),
    ],
    ids=range(10),
)
def test_a_graph_that_no_network_can_compute_is_refused_by_its_node(
    v3_plus: SlimNetwork, tmp_path: Path, edit, words: tuple[str, ...]
) -> None:
    message = refusal(v3_plus.write_graph(tmp_path / "graph.pb", edited(v3_plus, edit)))
    for word in words:
        assert word in message


def test_the_converter_writes_nothing_of_a_graph_that_it_refuses(v3: SlimNetwork, tmp_path: Path, capfd) -> None:
    edit = set_kind("MobilenetV2/expanded_conv_4/depthwise/Relu6", "Erfinv")
    refusal(v3.write_graph(tmp_path / "graph.pb", edited(v3, edit)))
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.95])
def test_a_truncated_graph_is_refused(v3: SlimNetwork, tmp_path: Path, share: float) -> None:
    path = v3.write_graph(tmp_path / "cut.pb")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refusal(path)


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_a_truncated_checkpoint_is_refused(v3: SlimNetwork, tmp_path: Path, part: str, share: float) -> None:
    path = v3.write_checkpoint(tmp_path / "cut.ckpt")
    file = tmp_path / f"cut.ckpt.{part}"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert "no readable TensorFlow checkpoint" in refusal(path)


def test_a_checkpoint_without_its_data_is_refused(v3: SlimNetwork, tmp_path: Path) -> None:
    path = v3.write_checkpoint(tmp_path / "half.ckpt")
    (tmp_path / "half.ckpt.data-00000-of-00001").unlink()
    assert "no readable TensorFlow checkpoint" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        "MobilenetV2/expanded_conv_3/expand/BatchNorm/moving_mean",
        "MobilenetV2/expanded_conv_3/depthwise/depthwise_weights",
        "concat_projection/weights",
        "logits/semantic/biases",
    ],
)
def test_a_missing_variable_is_named(v3: SlimNetwork, tmp_path: Path, name: str) -> None:
    variables = {key: value for key, value in v3.variables.items() if key != name}
    assert f"variable {name} is missing" in refusal(v3.write_checkpoint(tmp_path / "model.ckpt", variables))


def test_a_variable_of_another_shape_is_named(v3: SlimNetwork, tmp_path: Path) -> None:
    name = "MobilenetV2/expanded_conv_3/depthwise/depthwise_weights"
    variables = {**v3.variables, name: v3.variables[name][:, :, :-1]}
    message = refusal(v3.write_checkpoint(tmp_path / "model.ckpt", variables))
    assert f"variable {name} has the shape (3, 3, 47, 1), expected (3, 3, 48, 1)" in message


def test_full_kernels_in_the_aspp_of_a_checkpoint_are_refused(tmp_path: Path) -> None:
    network = SlimNetwork(rates=(2, 4, 6), full_kernels=True)
    assert "variable aspp1/weights belongs to no layer" in refusal(network.write_checkpoint(tmp_path / "a.ckpt"))


@pytest.mark.parametrize("scope", ["xception_65/entry_flow/conv1_1", "resnet_v1_50/conv1", "MobilenetV3/Conv"])
def test_other_networks_are_refused_by_what_they_hold(v3: SlimNetwork, tmp_path: Path, scope: str) -> None:
    variables = {f"{scope}/weights": np.zeros((3, 3, 3, 8), np.float32)}
    message = refusal(v3.write_checkpoint(tmp_path / "model.ckpt", variables))
    assert f"not MobileNetV2: it holds {scope.split('/')[0]}" in message


def test_rates_must_be_as_many_as_the_branches(tmp_path: Path) -> None:
    path = SlimNetwork(rates=(2, 4)).write_checkpoint(tmp_path / "model.ckpt")
    assert "has 2 atrous branches; give network.atrous_rates with 2 rates" in refusal(path)
    assert rates(load_network(path, Unstated(atrous_rates=(3, 5)))) == [3, 5]


def test_a_checkpoint_of_another_depth_is_refused(tmp_path: Path) -> None:
    path = SlimNetwork(blocks=14).write_checkpoint(tmp_path / "model.ckpt")
    assert "14 inverted residuals, expected the 17 of MobileNetV2; give the frozen graph" in refusal(path)


def test_a_classifier_is_a_backbone(v3: SlimNetwork, tmp_path: Path) -> None:
    variables = {name: array for name, array in v3.variables.items() if name.startswith("MobilenetV2")}
    variables["MobilenetV2/Logits/Conv2d_1c_1x1/weights"] = np.zeros((1, 1, 1280, 1001), np.float32)
    path = v3.write_checkpoint(tmp_path / "mobilenet_v2_1.0_224.ckpt", variables)
    backbone = load_start(path)
    assert isinstance(backbone, Backbone)
    whole = weights(load_network(v3.write_checkpoint(tmp_path / "model.ckpt")))
    for name, array in backbone.weights.items():
        np.testing.assert_array_equal(array, whole[name])
    assert "a backbone without a head" in refusal(path)


@pytest.mark.parametrize("name", ["net.mlmodel", "net.pt", "net.ckpt", "nothing", "gone.pb", "gone.npz", "gone.tflite"])
def test_unknown_and_missing_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path / name)
    if name in ("net.mlmodel", "net.pt"):
        assert "no kind of network file that is known; give a petitlab checkpoint (.npz), a TFLite file" in message
