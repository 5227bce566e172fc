"""BMP files with a palette: the indices are those stored, whatever the colours, the bits and the header."""

from pathlib import Path

import numpy as np
import pytest

from deeplab.datasets.files import label_encoding, read_image, read_mask
from evaluation.errors import UserError
from tests.deeplab.image_files import bmp_file

EVERY_VALUE = label_encoding({value: value for value in range(256)})
GREYS = np.repeat(np.arange(256)[:, None], 3, axis=1)
COLOURS = np.random.default_rng(0).integers(0, 256, (256, 3))
BLACK_AND_WHITE = np.array([[0, 0, 0], [255, 255, 255]])
PALETTES = {"grey": GREYS, "inverse": GREYS[::-1], "colours": COLOURS, "two": BLACK_AND_WHITE,
            "white first": BLACK_AND_WHITE[::-1], "three": GREYS[:3]}  # fmt: skip


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("width", [1, 8, 13, 64])
def test_indices_and_colours_are_those_stored(tmp_path: Path, bits: int, palette: str, width: int) -> None:
    colours, path = PALETTES[palette][: 2**bits], tmp_path / "a.bmp"
    indices = np.random.default_rng(width).integers(0, len(colours), (10, width))
    for options in ({}, {"from_top": True}, {"old": True}, {"forgets": True}):
        if len(colours) < 2**bits and "old" in options:
            continue  # such a file has a full palette
        path.write_bytes(bmp_file(indices, bits, colours, **options))
        assert (read_mask(path, EVERY_VALUE) == indices).all()
        assert (read_image(path) == colours[indices]).all()


def test_a_palette_whose_length_is_not_said_is_full(tmp_path: Path) -> None:
    path, indices = tmp_path / "a.bmp", np.arange(20).reshape(4, 5)
    path.write_bytes(bmp_file(indices, 8, GREYS, used=0))
    assert (read_mask(path, EVERY_VALUE) == indices).all()


def test_what_is_missing_is_refused(tmp_path: Path) -> None:
    path, indices = tmp_path / "a.bmp", np.arange(30).reshape(5, 6)
    whole = bmp_file(indices, 8, GREYS)
    path.write_bytes(whole[:-2])  # filling alone
    assert (read_mask(path, EVERY_VALUE) == indices).all()
    for lost in (3, 20, 40):
        path.write_bytes(whole[:-lost])
        with pytest.raises(UserError, match=f"truncated: {40 - lost} bytes of pixels, 38 needed"):
            read_mask(path, EVERY_VALUE)
    path.write_bytes(bmp_file(indices, 8, COLOURS[:9]))
    with pytest.raises(UserError, match="colour 29 of a palette of 9"):
        read_image(path)
