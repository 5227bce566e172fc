"""The networks that the benchmarks measure, and the files in which the other runtimes run the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab.calibration import calibrate
from deeplab.datasets.images import read_image
from deeplab.importing import import_tflite
from deeplab.network import FLOAT_INPUT_ZERO, INPUT_SCALE, input_size
from deeplab.quantization import BitWidths, quantize
from evaluation.accuracy import to_network_size
from evaluation.graph import Graph, read_tflite
from evaluation.interpreter.whole import as_input

ADE20K = Path("weights") / "deeplabv3_mnv2_ade20k_int8.tflite"
CAMVID = Path("weights") / "deeplabv3plus_mnv2_camvid_float.tflite"
IMAGES = Path("data") / "ade20k_subset" / "images"
PROMISED_BYTES = {"int8": 4_800_000, "4-bit weights": 3_700_000}
"""Bounds on the whole process for the ADE20K network, 512x512."""
_CALIBRATION_IMAGES = 4


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to be measured."""

    title: str
    graph: Graph
    values: np.ndarray
    """One input, as `as_input` takes it."""
    file: Path | None
    """What the other runtimes run: the same network, None where no file says the same."""
    promised_bytes: int | None = None

    @property
    def other_values(self) -> np.ndarray:
        """The input as the file takes it: in float, where ours takes a camera's bytes, what those mean."""
        assert self.file is not None, "another runtime runs a file"
        theirs = read_tflite(self.file)
        is_real = theirs.tensors[theirs.inputs[0]].dtype == "float32"
        return as_input(theirs, _real(self.values) if is_real and self.values.dtype == np.uint8 else self.values)


def subjects(shared: Path, folder: Path) -> tuple[Subject, ...]:
    """The ADE20K network as it is, with 4-bit weights and in float, and a float network that comes as a file."""
    image = sorted((shared / IMAGES).glob("*.jpg"))[0]
    quantized, network = read_tflite(shared / ADE20K), import_tflite(shared / ADE20K)
    frame = _frame(image, quantized)
    camvid = read_tflite(shared / CAMVID)
    narrow = _four_bit_weights(network, sorted((shared / IMAGES).glob("*.jpg"))[-_CALIBRATION_IMAGES:])
    return (
        Subject("ADE20K 512x512, int8", quantized, frame, shared / ADE20K, PROMISED_BYTES["int8"]),
        Subject("the same, 4-bit weights", narrow, frame, None, PROMISED_BYTES["4-bit weights"]),
        Subject("the same, float32", network, frame, float_tflite(network, folder / "float.tflite")),
        Subject("CamVid 360x480, float32", camvid, _real(_frame(image, camvid)), shared / CAMVID),
    )


def float_tflite(network: Graph, path: Path) -> Path:
    """The float network with its ARG_MAX as a `.tflite` file, by TensorFlow's converter (half a minute)."""
    from deeplab.model import build, load_weights
    from deeplab.tensorflow import keras, tf

    model = build(network, batch_size=1)
    load_weights(model, network)
    labels = keras.layers.Lambda(lambda logits: tf.argmax(logits, axis=-1, output_type=tf.int32))(model.output)
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(model.input, labels)).convert())
    return path


def _four_bit_weights(network: Graph, images: Sequence[Path]) -> Graph:
    """Quantized as a study would, to 4-bit weights and 8-bit activations."""
    size = input_size(network)
    frames = np.stack([to_network_size(_read(image), *size) for image in images])
    return quantize(network, calibrate(network, frames), BitWidths(4, 8))


def _frame(image: Path, graph: Graph) -> np.ndarray:
    return to_network_size(_read(image), *graph.tensors[graph.inputs[0]].shape[1:3])


def _real(frame: np.ndarray) -> np.ndarray:
    """A camera's bytes as the float networks take them."""
    return ((frame.astype(np.float32) - np.float32(FLOAT_INPUT_ZERO)) * np.float32(INPUT_SCALE)).astype(np.float32)


def _read(image: Path) -> np.ndarray:
    return read_image(image)
