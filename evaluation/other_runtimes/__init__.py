"""What other runtimes really use for a `.tflite` file; each measured in a process of its own."""

from evaluation.other_runtimes.litert import litert_arena
from evaluation.other_runtimes.resident import Growth, Runtime, resident_growth
from evaluation.other_runtimes.survey import Survey, Use, survey
from evaluation.other_runtimes.tflm import TflmArena, tflm_arena

__all__ = ["Growth", "Runtime", "Survey", "TflmArena", "Use", "litert_arena", "resident_growth", "survey", "tflm_arena"]
