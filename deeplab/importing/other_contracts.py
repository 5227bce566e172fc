"""A network under other input contracts than its own: the commonest mistake of all is a wrong one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deeplab.importing.input_contract import USUAL, InputContract, of_pixels
from deeplab.network import (
    FRAME,
    INPUT,
    kernel,
    pixel_parameters,
    tensor_indices,
    with_tensors,
    with_weights,
)
from evaluation.graph import Graph


def under_usual_contracts(network: Graph) -> dict[str, Graph]:
    """The float network under each of the usual contracts but its own, by the contract's name."""
    own = pixel_parameters(network)
    found = {}
    for name, contract in USUAL.items():
        other = with_contract(network, contract)
        if other is not None and (contract.order == "bgr" or not _equal(pixel_parameters(other), own)):
            found[name] = other
    return found


def with_contract(network: Graph, contract: InputContract) -> Graph | None:
    """The float network with another meaning of its pixels; None where its channels cannot be swapped."""
    indices = tensor_indices(network)
    parameters = of_pixels(contract).parameters()
    if contract.order == "bgr" and parameters.axis is not None:
        parameters = replace(parameters, scale=parameters.scale[::-1], zero_point=parameters.zero_point[::-1])
    frame = replace(network.tensors[indices[FRAME]], quantization=parameters)
    network = with_tensors(network, {indices[FRAME]: frame})
    if contract.order == "rgb":
        return network
    readers = [operator for operator in network.operators if indices[INPUT] in operator.inputs]
    if any(operator.kind != "CONV_2D" or kernel(network, operator).shape[2] != 3 for operator in readers):
        return None
    swapped = {f"{operator.name}/kernel": kernel(network, operator)[:, :, ::-1] for operator in readers}
    return with_weights(network, swapped)


def _equal(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> bool:
    return all(np.allclose(first, second, rtol=1e-4) for first, second in zip(one, other, strict=True))
