"""Bytes of network files of format 1, as they were written before networks were graphs."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from deeplab.network import convolutions, output
from deeplab.quantization import ActivationQuantization, BitWidths, integer_weights
from evaluation.graph import Graph


def tiny_spec() -> dict[str, Any]:
    """What format 1 says of `tests.deeplab.tiny.tiny_network`."""

    def block(expand: int, project: int, stride: int, dilation: int, residual: bool) -> dict[str, Any]:
        return {
            "expand": expand, "project": project, "stride": stride, "dilation": dilation, "residual": residual,
        }  # fmt: skip

    return {
        "input_height": 33,
        "input_width": 48,
        "classes": 5,
        "stem": 8,
        "blocks": [
            block(0, 8, 1, 1, False),
            block(16, 8, 2, 1, False),
            block(24, 8, 1, 1, True),
            block(16, 12, 2, 1, False),
            block(24, 12, 1, 2, True),
        ],
        "aspp": {"pool": 8, "pointwise": 12, "atrous": [{"rate": 3, "width": 8}], "project": 16},
        "decoder": {"skip_block": 2, "skip_tap": "depthwise", "skip": 6, "refine": [12]},
        "resize": "legacy",
    }


def packed(key: str, description: bytes, arrays: Mapping[str, np.ndarray]) -> bytes:
    """An archive with a text and arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{key: np.frombuffer(description, np.uint8)}, **arrays)
    return buffer.getvalue()


def checkpoint_of_format_1(
    spec: Any, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any] | None = None
) -> bytes:
    """A float network: its weights by the names of `deeplab.network.weights`."""
    text = json.dumps({"format": 1, "spec": spec, "notes": dict(notes or {})})
    return packed("petitlab", text.encode(), arrays)


def quantized_of_format_1(spec: Any, bits: BitWidths, network: Graph) -> bytes:
    """An integer network: the `network.npz` of studies."""
    activations = {
        tensor.name: asdict(ActivationQuantization.of(tensor))
        for tensor in (output(network, operator) for operator in network.operators[:-1])
    }
    arrays = {}
    for operator in convolutions(network):
        own = integer_weights(network, operator)
        arrays[f"kernels:{operator.name}"] = own.kernel
        arrays[f"kernel_scales:{operator.name}"] = own.scales
        arrays[f"biases:{operator.name}"] = own.bias
    text = json.dumps({"spec": spec, "bits": asdict(bits), "activations": activations})
    return packed("petitlab-quantized", text.encode(), arrays)
