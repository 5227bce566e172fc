"""Keras models and SavedModels as graphs of float operators, by TensorFlow's converter in a process of its own.

graph = file_graph(Path("model.keras"), "keras", input_size=(512, 512))
content = converted(Path("model.keras"), "keras", input_size=(512, 512))  # of the .tflite file before
"""

from deeplab.importing.conversion.cached_conversion import converted, file_graph
from deeplab.importing.conversion.keras_scale import is_whole_model
from deeplab.importing.conversion.request import Format
from deeplab.importing.conversion.saved_model import is_saved_model

__all__ = ["Format", "converted", "file_graph", "is_saved_model", "is_whole_model"]
