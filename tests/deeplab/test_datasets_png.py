"""PNG files whose pixel data end early, and those with a transparent colour: both of which Pillow takes as they are."""

from pathlib import Path

import numpy as np
import pytest

from deeplab.datasets.files import label_encoding, read_image, read_mask
from deeplab.datasets.png import check_complete
from evaluation.errors import UserError
from tests.deeplab.image_files import filtered, png_file

RGB = 2
EVERY_VALUE = label_encoding({value: value for value in range(256)})
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16),
         (6, 8), (6, 16)]  # fmt: skip
"""Colour type and bits, PNG specification, table 9."""


def drawn(bits: int, channels: int, height: int = 10, width: int = 13) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, 2**bits, (height, width, channels))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "bits"), KINDS)
def test_pixel_data_that_end_early_are_refused_and_whole_ones_are_not(
    tmp_path: Path, colour: int, bits: int, interlaced: bool
) -> None:
    path = tmp_path / "a.png"
    for height, width in ((1, 1), (2, 3), (10, 13), (3, 40)):
        values = drawn(bits, CHANNELS[colour], height, width)
        whole = filtered(values, bits, interlaced)
        check_complete(path, png_file(values, bits, colour, data=whole, interlaced=interlaced))
        check_complete(path, png_file(values, bits, colour, data=whole + b"more", interlaced=interlaced))
        for length in {0, 1, len(whole) // 2, len(whole) - 1}:
            cut = png_file(values, bits, colour, data=whole[:length], interlaced=interlaced)
            with pytest.raises(UserError, match=r"truncated: [\d,]+ bytes of pixel data"):
                check_complete(path, cut)


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_missing_rows_are_not_class_0(tmp_path: Path, rows: int) -> None:
    path, values = tmp_path / "a.png", drawn(8, 1)
    path.write_bytes(png_file(values, 8, 0, data=filtered(values[:rows], 8)))
    for read in (read_image, lambda path: read_mask(path, EVERY_VALUE)):
        with pytest.raises(UserError, match=f"truncated: {14 * rows} bytes of pixel data, 140 needed"):
            read(path)


def test_an_image_that_inflates_in_many_blocks_is_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (1100, 1200, 3), dtype=np.uint8)
    rows = np.concatenate([np.zeros((1100, 1), np.uint8), values.reshape(1100, -1)], axis=1).tobytes()
    for data in (rows, bytes(len(rows))):  # stored almost as it is; 1000 times smaller
        check_complete(tmp_path, png_file(values, 8, RGB, data=data))
        with pytest.raises(UserError, match="truncated"):
            check_complete(tmp_path, png_file(values, 8, RGB, data=data[:-1]))
