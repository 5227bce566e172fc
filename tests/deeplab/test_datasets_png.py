"""PNG files whose pixel data end early, and those with a transparent colour: both of which Pillow takes as they are."""

from pathlib import Path

import numpy as np
import pytest

from deeplab.datasets.files import label_encoding, read_image, read_mask
from deeplab.datasets.png import check_complete
from evaluation.errors import UserError
from tests.deeplab.image_files import filtered, png_file, tiff_file
from tests.fuzz.png import chunk

RGB, GREY_ALPHA, RGB_ALPHA = 2, 4, 6
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


@pytest.mark.parametrize("entries", [0, 3, 11])
def test_a_colour_that_the_palette_has_not_is_refused_and_in_a_mask_is_its_index(tmp_path: Path, entries: int) -> None:
    path, values = tmp_path / "a.png", np.arange(12).reshape(3, 4, 1)
    whole = png_file(values, 8, 3)
    path.write_bytes(whole.replace(chunk(b"PLTE", bytes(768)), chunk(b"PLTE", bytes(3 * entries)) if entries else b""))
    with pytest.raises(UserError, match=f"colour 11 of a palette of {entries}"):
        read_image(path)
    assert (read_mask(path, EVERY_VALUE) == values[:, :, 0]).all()
    path.write_bytes(whole.replace(chunk(b"PLTE", bytes(768)), chunk(b"PLTE", bytes(36))))
    assert (read_image(path) == 0).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_value_is_compared_as_stored(tmp_path: Path, bits: int) -> None:
    path, top = tmp_path / "a.png", 2**bits - 1
    values = drawn(bits, 1)
    values[values == top] = 0
    for key, is_hit in ((int(values[3, 4, 0]), True), (top, False)):
        path.write_bytes(png_file(values, bits, 0, key=[key]))
        if is_hit:
            with pytest.raises(UserError, match="has transparent pixels; save the image on the background"):
                read_image(path)
        else:
            assert (read_image(path) == np.floor(values * 255 / top + 0.5)).all()
        if bits <= 8:
            assert (read_mask(path, EVERY_VALUE) == values[:, :, 0]).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_compared_as_stored(tmp_path: Path, bits: int) -> None:
    path, values = tmp_path / "a.png", drawn(bits, 3)
    hit, near = values[3, 4].tolist(), values[3, 4].tolist()
    near[1] ^= 1
    path.write_bytes(png_file(values, bits, RGB, key=hit))
    with pytest.raises(UserError, match="has transparent pixels"):
        read_image(path)
    path.write_bytes(png_file(values, bits, RGB, key=near))
    assert (read_image(path) == np.floor(values * 255 / (2**bits - 1) + 0.5)).all()
    if bits == 8:  # of a wider value the lower bits count
        path.write_bytes(png_file(values, bits, RGB, key=[value + 256 for value in hit]))
        with pytest.raises(UserError, match="has transparent pixels"):
            read_image(path)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour", [RGB, GREY_ALPHA, RGB_ALPHA])
def test_colours_of_16_bits_are_rounded_and_alpha_is_opaque_at_65535_alone(
    tmp_path: Path, colour: int, interlaced: bool
) -> None:
    path, values = tmp_path / "a.png", drawn(16, CHANNELS[colour])
    values[0, :8, 0] = 0, 128, 129, 255, 256, 65406, 65407, 65535
    has_alpha = colour != RGB
    if has_alpha:
        values[:, :, -1] = 65535
    path.write_bytes(png_file(values, 16, colour, interlaced=interlaced))
    shown = values[:, :, :-1] if has_alpha else values
    assert (read_image(path) == np.floor(shown * 255 / 65535 + 0.5)).all()
    for alpha in (65534, 65300, 255, 0) if has_alpha else ():
        values[3, 3, -1] = alpha
        path.write_bytes(png_file(values, 16, colour, interlaced=interlaced))
        with pytest.raises(UserError, match="has transparent pixels"):
            read_image(path)


def test_16_bits_come_out_the_same_of_every_format(tmp_path: Path) -> None:
    grey = np.arange(0, 65536, 17).reshape(-1, 16, 1)
    colours = grey.repeat(3, axis=2)
    height, width = grey.shape[:2]
    size = f"{width} {height} 65535\n".encode()
    files = {
        "grey.png": png_file(grey, 16, 0),
        "colours.png": png_file(colours, 16, RGB),
        "alpha.png": png_file(np.dstack([grey, np.full_like(grey, 65535)]), 16, GREY_ALPHA),
        "grey.pgm": b"P5 " + size + grey.astype(">u2").tobytes(),
        "colours.ppm": b"P6 " + size + colours.astype(">u2").tobytes(),
        "grey.tif": tiff_file(grey, 16, 1, order=">", rows=7),
        "colours.tif": tiff_file(colours, 16, 2, order=">", rows=7),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert (read_image(tmp_path / name) == np.floor(colours * 255 / 65535 + 0.5)).all(), name
