"""Trained networks in the files of others as float graphs: whole ones, and backbones to begin a training from.

    network = load_network(Path("frozen_inference_graph.pb"))   # a float graph
    start = load_start(Path("mobilenet_v2.h5"))                 # a graph, or a Backbone without a head

TensorFlow is imported only to read a frozen graph or a TensorFlow checkpoint.
"""

from deeplab.importing.backbone import Backbone
from deeplab.importing.input_contract import ChannelOrder, InputContract
from deeplab.importing.kinds import KINDS, Kind, kind_of, load_network, load_start, network_file
from deeplab.importing.tflite import import_tflite
from deeplab.importing.unstated import Unstated

__all__ = [
    "KINDS",
    "Backbone",
    "ChannelOrder",
    "InputContract",
    "Kind",
    "Unstated",
    "import_tflite",
    "kind_of",
    "load_network",
    "load_start",
    "network_file",
]
