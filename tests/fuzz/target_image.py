"""Images of every format and mode, edited: what is accepted is an RGB image of the size in its header."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from deeplab.datasets.images import header_size, read_image
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited

FILES = (
    ("PNG", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    ("JPEG", ("L", "RGB", "CMYK")),
    ("BMP", ("1", "L", "P", "RGB", "RGBA")),
    ("PPM", ("1", "L", "RGB", "I;16", "F")),
    ("TIFF", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F")),
    ("WEBP", ("RGB", "RGBA")),
)


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    tags = Image.Exif()
    tags[274] = 6
    seeds = []
    for kind, modes in FILES:
        for mode in modes:
            image = Image.fromarray(pixels)
            image = Image.new(mode, image.size, 999) if mode == "I;16" else image.convert(mode)
            options: dict[str, object] = {} if kind in ("BMP", "PPM") else {"exif": tags}
            if kind == "TIFF" and mode in ("L", "RGB"):
                options["compression"] = "tiff_lzw"
            buffer = io.BytesIO()
            image.save(buffer, kind, **options)
            seeds.append(buffer.getvalue())
    seeds += [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"GIF89a\1\0\1\0\0\0\0;"]
    seeds += [] if shared is None else [path.read_bytes() for path in sorted((shared / "cases/images").glob("*"))]
    return edited(seeds)


def run(data: bytes, folder: Path) -> None:
    path = folder / "image.png"
    path.write_bytes(data)
    image = read_image(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise WrongResultError(f"{image.dtype} {image.shape}")
    if sorted(image.shape[:2]) != sorted(header_size(path)):
        raise WrongResultError(f"{image.shape[:2]} of a file of {header_size(path)}")


TARGET = FuzzTarget("images", "images", inputs, run, limit_s=10.0)
