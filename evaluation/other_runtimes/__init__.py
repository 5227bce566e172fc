"""Memory that other runtimes use for a `.tflite` file, each measured in a process of its own."""

from evaluation.other_runtimes.litert import litert_arena
from evaluation.other_runtimes.resident import ResidentGrowth, Runtime, resident_growth
from evaluation.other_runtimes.survey import RuntimeUse, Survey, survey
from evaluation.other_runtimes.tflm import TflmArena, tflm_arena

__all__ = [
    "ResidentGrowth",
    "Runtime",
    "RuntimeUse",
    "Survey",
    "TflmArena",
    "litert_arena",
    "resident_growth",
    "survey",
    "tflm_arena",
]
