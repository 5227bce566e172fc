"""The process that converts one model: `python -m deeplab.importing.conversion FOLDER` (`conversion.request`).

It is started with the variables of the environment that choose the Keras of the model, and loads no other one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from deeplab.importing.conversion.request import CONFIG, CONVERTED, REFUSED, Request
from deeplab.importing.conversion.saved_model import check_operations
from deeplab.importing.conversion.saved_model_schema import message_type
from deeplab.importing.converter_errors import converter_reason
from evaluation.errors import UserError


def main() -> None:
    """Write the content of a float `.tflite` file, or why there is none."""
    folder = Path(sys.argv[1])
    try:
        content = convert(Request.read(folder), folder)
    except Exception as error:  # of the model's Keras, or of the converter, of every kind
        (folder / REFUSED).write_text(str(error) if isinstance(error, UserError) else converter_reason(error))
    else:
        (folder / CONVERTED).write_bytes(content)


def convert(request: Request, folder: Path) -> bytes:
    """The float `.tflite` content for one image of the size that is asked for.

    Variables become constants before the conversion: the converter then sees one graph of static shapes, in which it
    finds dilated convolutions and folds normalisations.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if request.format == "keras":
        model = _keras_model((folder / CONFIG).read_text(), request)
        dtype = tf.as_dtype(model.inputs[0].dtype)

        def network(image: Any) -> Any:
            return model(image, training=False)
    else:
        model = tf.saved_model.load(request.path)
        signature = model.signatures[request.signature]
        definition = message_type("Graph").FromString(signature.graph.as_graph_def().SerializeToString())
        check_operations(definition.node, definition.library, f"signature {request.signature!r}")
        dtype = tf.as_dtype(request.dtype)

        def network(image: Any) -> Any:
            return signature(**{request.argument: image})

    image = tf.TensorSpec((1, *request.size, 3), dtype, name="image")
    function = tf.function(network, autograph=False).get_concrete_function(image)
    frozen = convert_variables_to_constants_v2(function)
    try:
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    except Exception as error:  # of every kind
        nodes = [(node.name, node.op) for node in frozen.graph.as_graph_def().node]
        raise UserError(converter_reason(error, nodes)) from None
    return content


def _keras_model(text: str, request: Request) -> Any:
    if request.legacy:
        import tf_keras as keras
    else:
        import keras  # type: ignore[no-redef]
    if "module" in (config := json.loads(text)):
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    else:  # Keras 2, in an HDF5 file
        model = keras.models.model_from_json(text)
    if len(model.inputs or ()) != 1:
        raise ValueError(f"it has {len(model.inputs or ())} inputs, expected one, the image")
    model.load_weights(request.path)
    return model


if __name__ == "__main__":
    main()
