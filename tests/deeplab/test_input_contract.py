"""What a pixel is to an imported network: by its file, or by its user; and in integers."""

from dataclasses import replace

import numpy as np
import pytest

from deeplab.architectures import GraphBuilder
from deeplab.calibration import calibrate
from deeplab.importing import InputContract, Unstated
from deeplab.importing.float_network import float_network
from deeplab.importing.input_contract import IMAGENET, SYMMETRIC, USUAL
from deeplab.importing.other_contracts import under_usual_contracts, with_contract
from deeplab.network import convolutions, fingerprint, kernel, logits, pixel_parameters, weights
from deeplab.quantization import BitWidths, quantize
from deeplab.quantization.camera import for_integers, read_by_table, with_whole_pixels
from deeplab.tflite_export import portable
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor
from evaluation.interpreter import run_whole
from tests.deeplab.tiny import random_network, tiny_network
from tests.deeplab.tiny_quantized import camera_frame

HEIGHT, WIDTH = 33, 48
FRAME = camera_frame(3)


def file_graph() -> Graph:
    """The tiny network as a float file has it: values in, logits out."""
    graph = portable(random_network(tiny_network()))
    return replace(graph, operators=graph.operators[:-1], outputs=(graph.operators[-1].inputs[0],))


def scaled(*steps: tuple[str, np.ndarray]) -> Graph:
    """The file that scales its input itself: each step an operator with a constant."""
    graph = file_graph()
    (entry,) = graph.inputs
    tensors, operators, at = list(graph.tensors), [], entry
    for number, (kind, values) in enumerate(steps):
        values = np.asarray(values, np.float32)
        tensors += [
            Tensor(f"constant_{number}", values.shape, "float32", 32, is_constant=True, data=values),
            replace(graph.tensors[entry], name=f"scaled_{number}"),
        ]
        operators.append(
            Operator(kind, f"scaled_{number}", (at, len(tensors) - 2), (len(tensors) - 1,), {"activation": "NONE"})
        )
        at = len(tensors) - 1
    moved = tuple(
        replace(operator, inputs=tuple(at if index == entry else index for index in operator.inputs))
        for operator in graph.operators
    )
    return replace(graph, tensors=tuple(tensors), operators=(*operators, *moved))


def logits_of_values(values: np.ndarray) -> np.ndarray:
    graph = file_graph()
    return run_whole(graph, values.astype(np.float32))[graph.outputs[0]]


def assert_reads(network: Graph, values: np.ndarray) -> None:
    """Whether the network makes of the frame what its file makes of these values."""
    expected = logits_of_values(values)
    found = run_whole(network, FRAME)[logits(network)]
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("contract", "values"),
    [
        (None, FRAME / 127.5 - 1.0),
        (SYMMETRIC, FRAME / 127.5 - 1.0),
        (InputContract(), FRAME / 255.0),
        (InputContract(scale=1.0), FRAME.astype(np.float32)),
        (IMAGENET, (FRAME / 255.0 - IMAGENET.mean) / IMAGENET.std),
        (USUAL["ImageNet's, BGR"], (FRAME[..., ::-1] / 255.0 - IMAGENET.mean[::-1]) / IMAGENET.std[::-1]),
        (InputContract((0.5,), (0.5,), order="bgr"), FRAME[..., ::-1] / 127.5 - 1.0),
    ],
    ids=["nothing stated", "[-1, 1]", "[0, 1]", "[0, 255]", "ImageNet", "ImageNet in BGR", "BGR"],
)
def test_a_stated_contract_is_what_the_network_reads(contract, values):
    network = float_network(file_graph(), "net.onnx", Unstated(contract=contract))
    assert_reads(network, values)


@pytest.mark.parametrize(
    ("steps", "values"),
    [
        ((("MUL", 1 / 127.5), ("ADD", -1.0)), FRAME / 127.5 - 1.0),
        ((("DIV", 255.0),), FRAME / 255.0),
        (
            (("SUB", [123.0, 117.0, 104.0]), ("MUL", [0.01, 0.02, 0.03])),
            (FRAME - [123.0, 117, 104]) * [0.01, 0.02, 0.03],
        ),
    ],
    ids=["Rescaling to [-1, 1]", "a division", "Normalization by channel"],
)
def test_a_file_that_scales_its_input_takes_pixels(steps, values):
    network = float_network(scaled(*steps), "net.tflite")
    assert_reads(network, values)
    kinds = [operator.kind for operator in network.operators]
    assert kinds == [operator.kind for operator in float_network(file_graph(), "net.tflite").operators]


def test_scaling_to_the_usual_range_is_the_usual_network():
    """So that what is cached of one is of the other."""
    own = float_network(scaled(("MUL", 1 / 127.5), ("ADD", -1.0)), "net.tflite")
    assert fingerprint(own) == fingerprint(float_network(file_graph(), "net.tflite"))


def test_a_stated_contract_comes_before_the_scaling_of_the_file():
    network = float_network(scaled(("MUL", 2.0), ("ADD", -1.0)), "net.onnx", Unstated(contract=InputContract()))
    assert_reads(network, FRAME / 127.5 - 1.0)


def test_pixels_that_fall_as_values_rise_are_refused():
    with pytest.raises(UserError, match=r"net\.onnx: .*input is scaled by factors of .*network\.input"):
        float_network(scaled(("MUL", -1.0)), "net.onnx")


def test_other_contracts_are_tried_in_place_of_its_own():
    network = float_network(file_graph(), "net.onnx", Unstated(contract=IMAGENET))
    others = under_usual_contracts(network)
    assert "ImageNet's mean and standard deviation" not in others
    for name, contract in USUAL.items():
        stated = float_network(file_graph(), "net.onnx", Unstated(contract=contract))
        assert name not in others or fingerprint(others[name]) == fingerprint(stated)
    again = with_contract(others["[0, 1]"], IMAGENET)
    assert again is not None
    assert fingerprint(again) == fingerprint(network)


# -- in integers -------------------------------------------------------------------------------------------------------


def difference(integers: Graph, network: Graph) -> float:
    """Mean absolute difference of the logits, of the float ones' standard deviation."""
    expected = run_whole(network, FRAME)[logits(network)]
    found = run_whole(integers, FRAME)[logits(integers)].astype(np.float64)
    parameters = integers.tensors[logits(integers)].required_quantization
    return float(np.abs((found - parameters.zero_point) * parameters.scale - expected).mean() / expected.std())


@pytest.mark.parametrize("contract", [IMAGENET, InputContract(), InputContract((0.4,), (0.3,)), SYMMETRIC])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_integer_network_reads_the_same_pixels(contract, bits):
    network = float_network(file_graph(), "net.onnx", Unstated(contract=contract))
    real = for_integers(network, bits)
    frames = np.stack([camera_frame(seed) for seed in range(4)])
    integers = quantize(real, calibrate(real, frames), BitWidths(bits, bits))
    assert difference(integers, network) < {8: 0.08, 16: 0.01}[bits]


def test_folded_pixels_change_the_float_network_at_the_edges_alone_and_by_half_a_step():
    network = float_network(file_graph(), "net.onnx", Unstated(contract=IMAGENET))
    folded = with_whole_pixels(network)
    scale, zero = pixel_parameters(folded)
    np.testing.assert_array_equal(zero, np.rint(255 * np.array(IMAGENET.mean)))
    assert np.ptp(scale) == 0.0
    stem = convolutions(network)[0].outputs[0]
    expected, found = run_whole(network, FRAME)[stem][0], run_whole(folded, FRAME)[stem][0]
    reach = np.abs(kernel(network, convolutions(network)[0])).sum(axis=(0, 1, 2)).max()
    np.testing.assert_allclose(found[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-5 * np.abs(expected).max())
    assert np.abs(found - expected).max() <= reach * 0.5 / 255 / min(IMAGENET.std)


def test_padding_is_a_pixel_of_the_mean():
    """A frame of the mean colour: with other padding the first convolution would see an edge."""
    kernel_of_ones, bias = np.ones((4, 3, 3, 3), np.float32), np.zeros(4, np.float32)
    net = GraphBuilder(
        "flat", 8, 8, float_network(file_graph(), "a", Unstated(contract=IMAGENET)).tensors[0].quantization
    )
    x = net.weighted(
        "CONV_2D", "stem", net.input, kernel_of_ones, bias, stride=(1, 1), dilation=(1, 1), padding="SAME",
        activation="NONE",
    )  # fmt: skip
    network = random_network(net.finished(net.convolution("logits", x, 3)))
    real = for_integers(network, 8)
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    integers = quantize(real, calibrate(real, frames), BitWidths(8, 8))
    flat = np.broadcast_to(np.rint(255 * np.array(IMAGENET.mean)).astype(np.uint8), (8, 8, 3))
    found = run_whole(integers, np.ascontiguousarray(flat))[logits(integers)][0]
    assert (found == found[0, 0]).all()


def test_sixteen_bits_read_each_channel_by_a_table():
    network = float_network(file_graph(), "net.onnx", Unstated(contract=IMAGENET))
    assert read_by_table(network, 16)
    assert not read_by_table(network, 8)
    assert weights(for_integers(network, 16)).keys() == weights(network).keys()
    assert for_integers(network, 16) is network
    assert not read_by_table(float_network(file_graph(), "net.onnx"), 16)
