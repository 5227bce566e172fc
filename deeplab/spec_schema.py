"""A network description as JSON, checked before anything is built from it.

Written against the dataclasses of `deeplab.spec` without a schema library: a served network needs NumPy alone.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from deeplab.layers import layers
from deeplab.spec import NetworkSpec
from evaluation.errors import UserError

MOST_PIXELS = 16_384
"""Bound of input height and width, of widths, rates and dilations."""
MOST_PARAMETERS = 500_000_000
SHOWN = 40
"""Characters of a value in a message."""


def parse_spec(description: Any, source: str) -> NetworkSpec:
    """A `NetworkSpec` from the JSON value that `NetworkSpec.to_dict` gives.

    Raises:
        UserError: naming `source` and the field: missing, unknown, of another type, out of range, or layers that do not
            fit together.
    """
    spec: NetworkSpec = _parsed(NetworkSpec, description, "spec", source)
    _check(spec, source)
    return spec


def _parsed(kind: Any, value: Any, name: str, source: str) -> Any:
    """`value` as the annotation `kind` says; no type is turned into another, but lists become tuples."""
    if get_origin(kind) is UnionType:  # of a dataclass and None
        if value is None:
            return None
        kind = next(one for one in get_args(kind) if one is not NoneType)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise _refused(source, name, f"is {_short(value)}, expected an object")
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        for key in (*names, *value):
            if key not in value or key not in hints:
                raise _refused(source, f"{name}.{_short(key)}", "is missing" if key in hints else "is unknown")
        return kind(**{key: _parsed(hints[key], value[key], f"{name}.{key}", source) for key in names})
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise _refused(source, name, f"is {_short(value)}, expected a list")
        item = get_args(kind)[0]
        return tuple(_parsed(item, one, f"{name}.{index}", source) for index, one in enumerate(value))
    if get_origin(kind) is Literal:
        if value not in get_args(kind) or not isinstance(value, str):
            raise _refused(source, name, f"is {_short(value)}, expected {', '.join(get_args(kind))}")
        return value
    if type(value) is not kind:
        raise _refused(
            source, name, f"is {_short(value)}, expected {'a whole number' if kind is int else 'true or false'}"
        )
    return value


def _check(spec: NetworkSpec, source: str) -> None:
    def bounded(name: str, value: int, least: int) -> None:
        if not least <= value <= MOST_PIXELS:
            raise _refused(source, name, f"is {value}, expected {least} to {MOST_PIXELS}")

    bounded("spec.input_height", spec.input_height, 16)
    bounded("spec.input_width", spec.input_width, 16)
    bounded("spec.classes", spec.classes, 1)
    bounded("spec.stem", spec.stem, 1)
    bounded("spec.blocks", len(spec.blocks), 1)
    channels, stride = spec.stem, 2
    for index, block in enumerate(spec.blocks):
        name = f"spec.blocks.{index}"
        bounded(f"{name}.expand", block.expand, 0)
        bounded(f"{name}.project", block.project, 1)
        bounded(f"{name}.dilation", block.dilation, 1)
        if block.stride not in (1, 2):
            raise _refused(source, f"{name}.stride", f"is {block.stride}, expected 1 or 2")
        if block.residual and (block.stride != 1 or block.project != channels):
            raise _refused(source, f"{name}.residual", "adds two tensors of different shapes")
        channels, stride = block.project, stride * block.stride
    if stride > min(spec.input_height, spec.input_width):
        raise _refused(source, "spec.blocks", f"have the stride {stride}, which is more than the input's size")
    bounded("spec.aspp.pool", spec.aspp.pool, 0)
    bounded("spec.aspp.pointwise", spec.aspp.pointwise, 1)
    bounded("spec.aspp.project", spec.aspp.project, 1)
    for index, branch in enumerate(spec.aspp.atrous):
        bounded(f"spec.aspp.atrous.{index}.rate", branch.rate, 1)
        bounded(f"spec.aspp.atrous.{index}.width", branch.width, 1)
    if spec.decoder is not None:
        if not 0 <= spec.decoder.skip_block < len(spec.blocks):
            raise _refused(source, "spec.decoder.skip_block", f"is {spec.decoder.skip_block}, no block of this network")
        bounded("spec.decoder.skip", spec.decoder.skip, 1)
        for index, width in enumerate(spec.decoder.refine):
            bounded(f"spec.decoder.refine.{index}", width, 1)
    by_name = {layer.name: layer for layer in layers(spec)}
    parameters = sum(
        layer.kernel**2 * layer.channels * (by_name[layer.inputs[0]].channels if layer.kind == "conv" else 1)
        for layer in by_name.values()
        if layer.has_weights
    )
    if parameters > MOST_PARAMETERS:
        raise _refused(source, "spec", f"has {parameters:,} weights, at most {MOST_PARAMETERS:,} are read")


def _refused(source: str, name: str, why: str) -> UserError:
    return UserError(f"{source}: damaged network: {name} {why}; write the file again")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
