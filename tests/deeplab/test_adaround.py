"""AdaRound: against every rounding there is, on zeros, and on a whole network."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from deeplab.architectures import mobilenet_v2_deeplab
from deeplab.calibration import calibrate
from deeplab.inference import Walk, probabilities
from deeplab.network import convolutions, is_depthwise, is_float, kernel, output, window
from deeplab.quantization import ActivationQuantization, BitWidths, integer_weights, quantize
from deeplab.quantization.adaround import AdaRoundOptions, LayerProblem, activated, adaround, response
from deeplab.quantization.reconstruction import AdaRound, chains, reconstruct
from deeplab.runtime.loaded_program import LoadedProgram
from evaluation.interpreter import run_whole


def problem(seed=0, weights=6, outputs=3, ceiling=None, samples=400, depthwise=False, limit=3):
    """Inputs that go together, as images' do: there rounding errors can cancel."""
    random = np.random.default_rng(seed)
    shape = (samples, weights, outputs) if depthwise else (samples, weights)
    common = random.normal(size=(samples, 1, 1) if depthwise else (samples, 1))
    windows = (common + 0.4 * random.normal(size=shape)).astype(np.float32)
    real = random.normal(size=(weights, outputs)).astype(np.float32)
    scales = (np.abs(real).max(axis=0) / limit).astype(np.float32)
    bias = random.normal(size=outputs).astype(np.float32)
    target = response(windows, real) + bias
    return LayerProblem(windows, target, real, scales, bias, limit, ceiling)


def error(of, quantized, bias):
    given = activated(response(of.windows, quantized * of.scales) + bias, of.ceiling)
    return ((given - activated(of.target, of.ceiling)) ** 2).mean(axis=0)


def best_of_all(of):
    """Least error of each output channel over all 2^k roundings, each with its best bias (linear: the mean)."""
    low = np.floor(of.kernel / of.scales)
    least = np.full(of.kernel.shape[1], np.inf)
    for choice in itertools.product((0, 1), repeat=len(of.kernel)):
        quantized = np.clip(low + np.array(choice)[:, None], -of.limit, of.limit)
        bias = (of.target - response(of.windows, quantized * of.scales)).mean(axis=0)
        least = np.minimum(least, error(of, quantized, bias))
    return least


@pytest.mark.parametrize("depthwise", [False, True])
def test_it_comes_near_the_best_of_all_roundings(depthwise):
    learned, nearest, best = [], [], []
    for seed in range(6):
        of = problem(seed, depthwise=depthwise)
        quantized, bias = adaround(of, AdaRoundOptions(steps=400), seed)
        assert (np.abs(quantized * of.scales - of.kernel) <= of.scales * 1.0001).all()  # up or down, nothing else
        assert (quantized == np.rint(quantized)).all()
        learned.append(error(of, quantized, bias))
        best.append(best_of_all(of))
        nearest.append(error(of, *adaround(of, AdaRoundOptions(steps=0), seed)))
    assert (np.array(learned) >= np.array(best) * 0.999).all()
    assert np.mean(learned) < 0.5 * np.mean(nearest)
    assert np.mean(learned) < 1.05 * np.mean(best)


@pytest.mark.parametrize("ceiling", [None, np.inf, 1.5])
def test_it_is_never_worse_than_nearest_rounding(ceiling):
    for seed in range(10):
        of = problem(seed, ceiling=ceiling)
        nearest = error(of, *adaround(of, AdaRoundOptions(steps=0), seed))
        assert (error(of, *adaround(of, AdaRoundOptions(steps=30), seed)) <= nearest * 1.0001 + 1e-9).all()


@pytest.mark.parametrize("ceiling", [None, np.inf, 1.0])
def test_the_bias_fits_what_comes_through(ceiling):
    """Of a kernel that is off by a constant response: the bias that undoes it is known."""
    of = problem(3, ceiling=ceiling, limit=127)
    shifted = replace(of, bias=of.bias + 0.3)  # the search starts away from it
    _, bias = adaround(shifted, AdaRoundOptions(steps=0), 0)
    np.testing.assert_allclose(bias, of.bias, atol=0.05)


def test_pruned_weights_stay_pruned():
    of = problem(1, weights=16)
    pruned = of.kernel.copy()
    pruned[::2] = 0.0
    quantized, _ = adaround(replace(of, kernel=pruned), AdaRoundOptions(steps=100), 0)
    assert (quantized[::2] == 0).all()


def test_the_same_seed_gives_the_same_codes():
    of = problem(2)
    first, second = (adaround(of, AdaRoundOptions(steps=50), 7) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_chains_are_the_blocks_of_the_network():
    graph = mobilenet_v2_deeplab(input_height=64, input_width=64, classes=5, atrous_rates=(6,))
    found = [tuple(operator.name for operator in chain) for chain in chains(graph)]
    assert found[:3] == [
        ("stem",),
        ("block_0/depthwise", "block_0/project"),
        ("block_1/expand", "block_1/depthwise", "block_1/project"),
    ]
    assert ("aspp/atrous_0/depthwise", "aspp/atrous_0/pointwise") in found
    assert found[-2:] == [("decoder/refine_1/depthwise", "decoder/refine_1/pointwise"), ("logits",)]
    assert sorted(name for chain in found for name in chain) == sorted(one.name for one in convolutions(graph))


def interpreted(graph, number, frame):
    """Real values of an activation by the interpreter, float32 (height, width, channels)."""
    values = run_whole(graph, frame)[number][0].astype(np.float32)
    if is_float(graph):
        return values
    parameters = ActivationQuantization.of(graph.tensors[number])
    return (values - parameters.zero_point) * np.float32(parameters.scale)


def test_windows_are_what_the_convolutions_read(network, images):
    """The response to sampled windows is the output at the sampled places, in float and on quantized values."""
    import tensorflow as tf

    integers = quantize(network, calibrate(network, images), BitWidths(8, 8))
    spatial = [operator for operator in convolutions(network) if window(network, operator) != (1, 1)]
    assert len(spatial) == 8
    for operator in spatial:
        (read, *_), real = operator.inputs, kernel(network, operator)
        for running in (network, integers):
            windows, inside = Walk(running, images[:1]).sample_windows(running, read, operator, 40, seed=5)
            values = interpreted(running, read, images[0])[None]
            places = np.random.default_rng(5).integers(output(network, operator).shape[1:3], size=(40, 2))
            dilations = operator.attributes["dilation"]
            options = {"strides": (1, *operator.attributes["stride"], 1), "padding": "SAME", "dilations": dilations}
            if is_depthwise(operator):
                expected = tf.nn.depthwise_conv2d(values, real, **options).numpy()
                given = response(windows, real.reshape(-1, real.shape[2]))
            else:
                expected = tf.nn.conv2d(values, real, **options).numpy()
                given = windows.reshape(len(windows), -1) @ real.reshape(-1, real.shape[3])
            np.testing.assert_allclose(given, expected[0, places[:, 0], places[:, 1]], rtol=1e-3, atol=1e-4)
            assert (windows[inside == 0] == 0).all()


def test_within_a_chain_each_layer_reads_what_the_rounded_network_gives(network, images, monkeypatch):
    """The inputs worked out along a chain against those sampled from the finished network, on 4-bit activations."""
    import deeplab.quantization.reconstruction as module

    problems = {}

    def noted(layer_problem, options, seed):
        problems[len(problems)] = layer_problem
        return adaround(layer_problem, options, seed)

    monkeypatch.setattr(module, "adaround", noted)
    integers = quantize(network, calibrate(network, images), BitWidths(4, 4))
    frames = images[:2]
    finished = reconstruct(network, integers, frames, AdaRound(AdaRoundOptions(steps=20), windows=50))
    number, seen = 0, 0
    for seed, chain in enumerate(chains(network)):
        for operator in chain:
            if operator is not chain[0] and not is_depthwise(operator):
                given, _ = Walk(finished, frames).sample_windows(finished, operator.inputs[0], operator, 50, seed)
                np.testing.assert_allclose(problems[number].windows, given[:, 0], atol=1e-5, err_msg=operator.name)
                seen += 1
            number += 1
    assert seen >= 4


def test_learning_the_rounding_runs_every_layer_once(network, images, monkeypatch):
    """Once in float and once rounded: not the network again for every chain."""
    runs, advance = Counter(), LoadedProgram.advance

    def noted(program, calls, wanted=()):
        runs.update((program.graph.operators[0].kind, call) for call in calls)  # the kind: float or integers
        return advance(program, calls, wanted)

    monkeypatch.setattr(LoadedProgram, "advance", noted)
    integers = quantize(network, calibrate(network, images), BitWidths(4, 8))
    runs.clear()
    reconstruct(network, integers, images[:2], AdaRound(AdaRoundOptions(steps=0), windows=20))
    assert set(runs.values()) == {2}, "each call once an image"
    assert len(runs) > 2 * 10


def changed(before, after, part):
    """Convolutions of two integer networks whose kernels, or biases, differ."""
    return {
        operator.name
        for operator in convolutions(before)
        for own, other in [(integer_weights(before, operator), integer_weights(after, operator))]
        if (getattr(own, part) != getattr(other, part)).any()
    }


def test_a_reconstructed_network_comes_nearer_to_float(network, images):
    integers = quantize(network, calibrate(network, images), BitWidths(3, 8))
    options = AdaRound(AdaRoundOptions(steps=200), windows=200)
    learned = reconstruct(network, integers, images, options)
    for before, after in zip(integers.tensors, learned.tensors, strict=True):
        assert (after.dtype, after.bits) == (before.dtype, before.bits)
        if before.quantization is not None:
            np.testing.assert_array_equal(after.quantization.scale, before.quantization.scale)
            np.testing.assert_array_equal(after.quantization.zero_point, before.quantization.zero_point)
    assert changed(integers, learned, "kernel")

    def distance(candidate):
        exact, given = (probabilities(which, images) for which in (network, candidate))
        return float((exact * (np.log(exact + 1e-6) - np.log(given + 1e-6))).sum(-1).mean())

    assert distance(learned) < 0.6 * distance(integers)


def test_layers_of_eight_bits_keep_their_codes(network, images):
    bits = BitWidths(4, 8, edge_weights=8, depthwise_weights=8)
    nearest = quantize(network, calibrate(network, images), bits)
    learned = reconstruct(network, nearest, images, AdaRound(AdaRoundOptions(20)))
    moved = changed(nearest, learned, "kernel")
    assert moved <= {name for name, width in bits.by_kernel(network).items() if width == 4}
    assert len(moved) > 5
    assert {"block_1/depthwise", "logits"} <= changed(nearest, learned, "bias")
