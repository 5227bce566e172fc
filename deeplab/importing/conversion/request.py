"""What the process that converts is told, and what it answers: files in a folder of both processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Format = Literal["keras", "saved model"]

REQUEST, CONFIG = "request.json", "config.json"
CONVERTED, REFUSED = "network.tflite", "refused.txt"


@dataclass(frozen=True)
class Request:
    """One model to convert."""

    format: Format
    path: str
    """The file of weights, or the folder of a SavedModel."""
    size: tuple[int, int]
    """Height and width of the image."""
    legacy: bool
    """Whether Keras 2 saved it."""
    signature: str = ""
    argument: str = ""
    """Of a SavedModel: the function that is converted, and its input."""
    dtype: str = "float32"

    def write(self, folder: Path) -> None:
        (folder / REQUEST).write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(folder: Path) -> Request:
        found = json.loads((folder / REQUEST).read_text())
        return Request(**{**found, "size": tuple(found["size"])})
