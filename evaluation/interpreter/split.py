"""SPLIT, the operator with several outputs."""

from __future__ import annotations

import numpy as np

from evaluation.interpreter.patch import PatchCall, Values


def split(call: PatchCall) -> tuple[Values, ...]:
    """SPLIT of a whole tensor into equal parts, one for each output, in order."""
    values = call.first.values.reshape(call.first.tensor.shape)
    return tuple(np.split(values, len(call.operator.outputs), axis=call.operator.attributes["axis"]))
