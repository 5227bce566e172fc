"""The rounding methods of a study, applied one after the other, each a cached stage."""

from __future__ import annotations

from typing import Any

from deeplab.checkpoint import checkpoint_bytes, parse_network
from deeplab.network import fingerprint
from deeplab.quantization.adaround import AdaRoundOptions
from deeplab.quantization.aware import QuantizationAwareTraining
from deeplab.quantization.reconstruction import AdaRound
from deeplab.quantization.rounding import Rounding
from evaluation.graph import Graph
from sweeps.config.schema import SweepConfig
from sweeps.inputs.fingerprints import NETWORK
from sweeps.trial.context import Context


def roundings(config: SweepConfig) -> tuple[Rounding, ...]:
    """The methods that a configuration asks for, in their order."""
    options, found = config.quantization, list[Rounding]()
    if options.rounding == "learned":
        found.append(AdaRound(AdaRoundOptions(steps=options.rounding_steps), seed=config.seed))
    if options.aware_steps:
        loss = config.finetune.loss
        found.append(QuantizationAwareTraining(options.aware_steps, options.aware_learning_rate, loss))
    return tuple(found)


def rounded(network: Graph, integers: Graph, context: Context) -> Graph:
    """The integer network after all methods, each of which begins with the result of the one before.

    Args:
        network: in float.
        integers: the same, each weight rounded to its nearest value.
        context: the study's, whose images and baseline the methods learn from.
    """
    for method in roundings(context.config):
        if method.applies_to(integers):
            integers = _rounded_by(method, network, integers, context)
    return integers


def _rounded_by(method: Rounding, network: Graph, integers: Graph, context: Context) -> Graph:
    parts = {
        "network": fingerprint(integers),
        "float": fingerprint(network),
        "method": method,
        "examples": _examples(method, context),
    }
    return context.cache.cached(
        method.name, parts, lambda: method.rounded(network, integers, context), checkpoint_bytes, parse_network
    )


def _examples(method: Rounding, context: Context) -> dict[str, Any]:
    """The part of a cache key for what a method learns from."""
    if method.learns_from == "calibration":
        return {"images": context.fingerprints["calibration"]}
    return {
        "images": context.fingerprints[context.learns_from],
        "finetune": context.config.finetune.model_dump(mode="json"),
        "seed": context.config.seed,
        "teacher": context.fingerprints[NETWORK],
    }
