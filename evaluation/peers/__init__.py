"""What other runtimes really use for a `.tflite` file; each measured in a process of its own."""

from evaluation.peers.litert import litert_arena
from evaluation.peers.tflm import TflmArena, tflm_arena

__all__ = ["TflmArena", "litert_arena", "tflm_arena"]
