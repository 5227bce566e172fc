"""Masks, made with every width of a pixel and edited: the labels are those stored, as another PNG reader finds them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from deeplab.datasets.files import label_encoding, read_mask
from deeplab.datasets.interface import VOID
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited
from tests.fuzz.png import GREY, PALETTE, read_png, write_png

CLASSES = 11
ENCODING = label_encoding({**{value: value for value in range(CLASSES)}, 255: VOID})


@st.composite
def masks(draw: st.DrawFn) -> bytes:
    """A PNG of one channel, with values that are classes, void or, now and then, neither, or with a row too few."""
    bits, colour_type = draw(st.sampled_from([(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (1, 3), (2, 3), (4, 3), (8, 3)]))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 20))
    largest = 2**bits - 1
    usual = [value for value in (*range(CLASSES), VOID) if value <= largest]
    odd = draw(st.booleans())
    values = st.integers(0, largest) if odd else st.sampled_from(usual)
    drawn = draw(st.lists(values, min_size=height * width, max_size=height * width))
    missing = draw(st.sampled_from([0, 0, 0, 1]))
    return write_png(np.array(drawn).reshape(height, width), bits, PALETTE if colour_type == 3 else GREY, missing)


def inputs(shared: Path | None) -> st.SearchStrategy[bytes]:
    labels = Image.fromarray((np.arange(96).reshape(8, 12) % CLASSES).astype(np.uint8))
    seeds = [] if shared is None else [path.read_bytes() for path in sorted((shared / "cases/images").glob("*"))]
    for kind, mode in (("PNG", "L"), ("PNG", "RGB"), ("TIFF", "L"), ("BMP", "L"), ("BMP", "1"), ("JPEG", "L")):
        buffer = io.BytesIO()
        labels.convert(mode).save(buffer, kind)
        seeds.append(buffer.getvalue())
    return st.one_of(masks(), masks(), edited(seeds))


def run(data: bytes, folder: Path) -> None:
    path = folder / "mask.png"
    path.write_bytes(data)
    labels = read_mask(path, ENCODING)
    stored = read_png(data)
    if labels.dtype != np.uint8 or not set(np.unique(labels)) <= {*range(CLASSES), VOID}:
        raise WrongResultError(f"labels {labels.dtype} {np.unique(labels)}")
    if stored is not None and not np.array_equal(labels, stored):
        raise WrongResultError("other labels than those stored")


TARGET = FuzzTarget("masks", "images", inputs, run, limit_s=10.0)
