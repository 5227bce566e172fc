"""Files of format 1, which described a network by its widths, are read as the graphs that they meant."""

import io
import json
import warnings

import numpy as np
import pytest

from deeplab.checkpoint import parse_checkpoint
from deeplab.network import fingerprint, weights
from deeplab.quantization import BitWidths
from evaluation.errors import UserError
from tests.deeplab.former_files import checkpoint_of_format_1, packed, quantized_of_format_1, tiny_spec
from tests.deeplab.tiny import random_network, tiny_network
from tests.deeplab.tiny_quantized import tiny_graph


def test_a_float_network_comes_back_with_its_notes(network):
    content = checkpoint_of_format_1(tiny_spec(), weights(network), {"score": 0.5})
    found = parse_checkpoint(content, "a.npz")
    assert fingerprint(found.network) == fingerprint(network)
    assert found.notes == {"score": 0.5}


VARIANTS = {
    "no decoder": ({"decoder": None}, {"decoder": False}),
    "one branch": (
        {"aspp": {"pool": 0, "pointwise": 12, "atrous": [], "project": 16}},
        {"pool": 0, "atrous": ()},
    ),
    "skip after a sum": (
        {"decoder": {"skip_block": 2, "skip_tap": "project", "skip": 4, "refine": [12, 9]}, "resize": "half_pixel"},
        {"skip_tap": "project", "skip": 4, "refine": (12, 9), "resize": "half_pixel"},
    ),
}


@pytest.mark.parametrize(("fields", "changes"), VARIANTS.values(), ids=VARIANTS)
def test_every_shape_that_it_could_describe_is_read(fields, changes):
    graph = random_network(tiny_network(**changes))
    content = checkpoint_of_format_1(tiny_spec() | fields, weights(graph))
    assert fingerprint(parse_checkpoint(content, "a.npz").network) == fingerprint(graph)


@pytest.mark.parametrize(
    ("bits", "mixed"),
    [((8, 8), {}), ((4, 6), {"aspp_weights": 2, "edge_weights": 8, "decoder_activations": 8}), ((16, 16), {})],
)
def test_a_quantized_network_comes_back_bit_for_bit(bits, mixed):
    graph = tiny_graph(*bits, mixed=mixed)
    found = parse_checkpoint(quantized_of_format_1(tiny_spec(), BitWidths(*bits, **mixed), graph), "network.npz")
    assert fingerprint(found.network) == fingerprint(graph)
    assert found.notes == {}


EDITS = {
    "no spec": (lambda header: header.pop("spec"), "spec is None, expected an object"),
    "spec as a list": (lambda header: header.update(spec=[]), "spec is [], expected an object"),
    "no blocks": (lambda header: header["spec"].update(blocks=[]), "spec.blocks is [], it should have at least 1"),
    "blocks of nothing": (
        lambda header: header["spec"].update(blocks=None),
        "spec.blocks is None, expected a valid list",
    ),
    "height 0": (
        lambda header: header["spec"].update(input_height=0),
        "spec.input_height is 0, expected greater than or equal to 16",
    ),
    "height 2.5": (
        lambda header: header["spec"].update(input_height=2.5),
        "spec.input_height is 2.5, expected a valid integer",
    ),
    "height true": (lambda header: header["spec"].update(input_height=True), "spec.input_height is True"),
    "height as text": (
        lambda header: header["spec"].update(input_height="64"),
        "spec.input_height is '64', expected a valid integer",
    ),
    "no classes": (lambda header: header["spec"].update(classes=float("nan")), "spec.classes is nan"),
    "unknown field": (lambda header: header["spec"].update(mood="good"), "spec.mood is unknown"),
    "unknown field within": (lambda header: header["spec"]["aspp"].update(mood="good"), "spec.aspp.mood is unknown"),
    "unknown field of a block": (
        lambda header: header["spec"]["blocks"][1].update(mood=1),
        "spec.blocks.1.mood is unknown",
    ),
    "missing field": (lambda header: header["spec"].pop("resize"), "spec.resize is missing"),
    "missing field within": (
        lambda header: header["spec"]["blocks"][3].pop("stride"),
        "spec.blocks.3.stride is missing",
    ),
    "stride 3": (lambda header: header["spec"]["blocks"][3].update(stride=3), "spec.blocks.3.stride is 3"),
    "dilation 0": (lambda header: header["spec"]["blocks"][3].update(dilation=0), "spec.blocks.3.dilation is 0"),
    "a sum behind a stride": (
        lambda header: header["spec"]["blocks"][3].update(residual=True),
        "spec.blocks.3.residual adds two tensors of different shapes",
    ),
    "a sum as a number": (
        lambda header: header["spec"]["blocks"][3].update(residual=1),
        "spec.blocks.3.residual is 1, expected a valid boolean",
    ),
    "a branch of width 0": (
        lambda header: header["spec"]["aspp"]["atrous"][0].update(width=0),
        "spec.aspp.atrous.0.width is 0, expected greater than or equal to 1",
    ),
    "a skip of no block": (
        lambda header: header["spec"]["decoder"].update(skip_block=5),
        "spec.decoder.skip_block is 5, no block of this network",
    ),
    "a skip nobody knows": (
        lambda header: header["spec"]["decoder"].update(skip_tap="pool"),
        "spec.decoder.skip_tap is 'pool', expected 'expand', 'depthwise' or 'project'",
    ),
    "a refinement as text": (
        lambda header: header["spec"]["decoder"].update(refine=["12"]),
        "spec.decoder.refine.0 is '12', expected a valid integer",
    ),
    "negative width": (lambda header: header["spec"].update(stem=-8), "spec.stem is -8"),
    "a wide network": (lambda header: header["spec"].update(stem=16000), "stem/kernel has the shape"),
    "too many weights": (
        lambda header: header["spec"]["aspp"].update(pointwise=16384, project=16384, pool=16384),
        "at most 500,000,000 are read",
    ),
    "a resize nobody knows": (
        lambda header: header["spec"].update(resize="cubic"),
        "spec.resize is 'cubic', expected 'legacy'",
    ),
    "notes as text": (lambda header: header.update(notes="good"), "notes are no JSON object"),
}


@pytest.mark.parametrize(("edit", "words"), EDITS.values(), ids=EDITS)
def test_a_description_that_no_network_has_is_refused_by_field(network, edit, words):
    header, present = {"format": 1, "spec": tiny_spec(), "notes": {}}, weights(network)
    parse_checkpoint(packed("petitlab", json.dumps(header).encode(), present), "a.npz")
    edit(header)
    with pytest.raises(UserError, match=r"a\.npz") as caught:
        parse_checkpoint(packed("petitlab", json.dumps(header).encode(), present), "a.npz")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_weights_that_do_not_fit_the_network_are_refused(network):
    for changes, words in [
        ({"stem/bias": np.zeros(9, np.float32)}, r"stem/bias has the shape \(9,\) of float32, its network has \(8,\)"),
        ({"stem/scale": np.zeros(8, np.float32)}, "stem/scale has the shape .8,., its network has no such weight"),
    ]:
        with pytest.raises(UserError, match=rf"a\.npz: damaged checkpoint: {words}"):
            parse_checkpoint(checkpoint_of_format_1(tiny_spec(), weights(network) | changes), "a.npz")
    fewer = {name: array for name, array in weights(network).items() if name != "stem/bias"}
    with pytest.raises(UserError, match=r"a\.npz: damaged checkpoint: stem/bias is missing"):
        parse_checkpoint(checkpoint_of_format_1(tiny_spec(), fewer), "a.npz")


def test_a_weight_beyond_float32_becomes_infinite_without_a_warning(network):
    large = weights(network) | {"stem/bias": np.full(8, 1e300)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = parse_checkpoint(checkpoint_of_format_1(tiny_spec(), large), "a.npz")
    assert np.isinf(weights(found.network)["stem/bias"]).all()


QUANTIZED_EDITS = {
    "no bits": (lambda header, arrays: header.pop("bits"), "description.bits is missing"),
    "bits nobody knows": (lambda header, arrays: header["bits"].update(mood=8), "mood"),
    "no spec": (lambda header, arrays: header.pop("spec"), "description.spec is missing"),
    "bits of no kernel": (lambda header, arrays: header["bits"].update(weights=9), "description.bits.weights is 9"),
    "bits that cannot be mixed": (
        lambda header, arrays: header["bits"].update(aspp_activations=16),
        "description.bits are those of no network: 16-bit activations cannot be mixed",
    ),
    "a field nobody knows": (lambda header, arrays: header.update(mood=8), "description.mood is unknown"),
    "a spec that no network has": (
        lambda header, arrays: header["spec"].update(stem=0),
        "spec.stem is 0, expected greater than or equal to 1",
    ),
    "an activation that is missing": (
        lambda header, arrays: header["activations"].pop("stem"),
        "description.activations.stem is missing",
    ),
    "an activation of nothing": (
        lambda header, arrays: header["activations"].update(other=header["activations"]["stem"]),
        "description.activations.other is unknown",
    ),
    "a scale of 0": (
        lambda header, arrays: header["activations"]["stem"].update(scale=0.0),
        "description.activations.stem.scale is 0.0, expected greater than 0",
    ),
    "a zero point beyond 16 bits": (
        lambda header, arrays: header["activations"]["stem"].update(zero_point=10**30),
        "description.activations.stem.zero_point is 1000000",
    ),
    "a scale of nothing": (
        lambda header, arrays: arrays.update({"kernel_scales:stem": np.full(8, np.nan, np.float32)}),
        "stem/kernel holds a scale that is not finite and above 0",
    ),
    "more than the bits hold": (
        lambda header, arrays: header["bits"].update(edge_weights=2),
        "stem/kernel holds values of more than 2 bits",
    ),
    "real numbers for integers": (
        lambda header, arrays: arrays.update({"biases:stem": np.zeros(8, np.float32)}),
        "biases:stem has the shape (8,) of float32",
    ),
    "activations as a list": (
        lambda header, arrays: header.update(activations=[]),
        "description.activations is [], expected a valid dict",
    ),
    "a kernel that is missing": (lambda header, arrays: arrays.pop("kernels:stem"), "kernels:stem is missing"),
    "too few scales": (
        lambda header, arrays: arrays.update({"kernel_scales:stem": np.ones(7, np.float32)}),
        "kernel_scales:stem has the shape (7,) of float32, its network has (8,)",
    ),
    "a bias of nothing": (
        lambda header, arrays: arrays.update({"biases:other": np.ones(7, np.int32)}),
        "biases:other has the shape (7,), its network has no such weight",
    ),
}


@pytest.mark.parametrize(("edit", "words"), QUANTIZED_EDITS.values(), ids=QUANTIZED_EDITS)
def test_a_damaged_quantized_network_is_refused(edit, words):
    key, graph = "petitlab-quantized", tiny_graph()
    with np.load(io.BytesIO(quantized_of_format_1(tiny_spec(), BitWidths(8, 8), graph))) as archive:
        arrays = dict(archive)
    header = json.loads(arrays.pop(key).tobytes())
    parse_checkpoint(packed(key, json.dumps(header).encode(), arrays), "network.npz")
    edit(header, arrays)
    with pytest.raises(UserError, match=r"network\.npz: damaged") as caught:
        parse_checkpoint(packed(key, json.dumps(header).encode(), arrays), "network.npz")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300
