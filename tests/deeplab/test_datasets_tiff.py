"""TIFF files of every layout: read to the values stored, or refused; what Pillow leaves out or misreads is refused."""

import io
import itertools
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab.datasets.files import label_encoding, read_image, read_mask
from deeplab.datasets.tiff import check_lossless
from evaluation.errors import UserError
from tests.deeplab.image_files import DEFLATE, PALETTE, packed, tiff_file

EVERY_VALUE = label_encoding({value: value for value in range(256)})
GREY, RGB = 1, 2


def drawn(bits: int, channels: int = 1, most: int = 2**16) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, min(2**bits, most), (10, 13, channels))


def refused(path: Path, words: str) -> None:
    for read in (read_image, lambda path: read_mask(path, EVERY_VALUE)):
        with pytest.raises(UserError, match=words) as caught:
            read(path)
        assert len(str(caught.value)) - len(str(path)) < 300


LAYOUTS = {"strip": {}, "strips": {"rows": 3}, "tiles": {"tile": 16}}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32])
def test_one_channel_is_read_right_or_refused(
    tmp_path: Path, bits: int, planar: int, compression: int, layout: str
) -> None:
    path, accepted = tmp_path / "a.tif", 0
    for photometric, order in itertools.product((0, GREY, PALETTE, 6, None), "<>"):
        if photometric == PALETTE and bits > 8:
            continue
        values, top = drawn(bits, most=256 if bits == 32 else 2**16), 2**bits - 1
        options = {"order": order, "planar": planar, "compression": compression, **LAYOUTS[layout]}
        tags = {262: None} if photometric is None else {}
        path.write_bytes(tiff_file(values, bits, photometric or 0, tags=tags, **options))
        try:
            colours = read_image(path)
        except UserError:
            pass
        else:
            accepted += 1
            assert photometric is not None
            shown = values if photometric else top - values
            expected = np.floor(shown * 255 / top + 0.5).repeat(3, axis=2)
            if photometric == PALETTE:
                expected = (7 * np.arange(3 * 2**bits) % 256).reshape(3, -1).T[values[:, :, 0]]
            assert (colours == expected).all()
        try:
            labels = read_mask(path, label_encoding({value: value % 250 for value in range(65536)}))
        except UserError:
            continue
        accepted += 1
        assert photometric in (GREY, PALETTE, 6)
        assert (labels == values[:, :, 0] % 250).all()
    assert accepted or (planar == 2 and compression == 1 and bits != 8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_read_right_or_refused(
    tmp_path: Path, channels: int, bits: int, planar: int, compression: int, layout: str
) -> None:
    path, values = tmp_path / "a.tif", drawn(bits, channels)
    values[:, :, 3:] = 2**bits - 1
    tags = {338: [2]} if channels == 4 else {}
    for order in "<>":
        options = {"order": order, "planar": planar, "compression": compression, **LAYOUTS[layout]}
        path.write_bytes(tiff_file(values, bits, RGB, tags=tags, **options))
        if planar == 2 and bits == 16:
            refused(path, r"stores each channel apart \(planar configuration 2\) is read only of 8 bits")
        else:
            assert (read_image(path) == np.floor(values[:, :, :3] * 255 / (2**bits - 1) + 0.5)).all()


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_pixels_are_refused(tmp_path: Path, layout: str, planar: int) -> None:
    path, values = tmp_path / "a.tif", drawn(8, 3)
    whole = tiff_file(values, 8, RGB, planar=planar, **LAYOUTS[layout])
    path.write_bytes(whole)
    assert (read_image(path) == values).all()
    offsets, counts = (324, 325) if layout == "tiles" else (273, 279)
    with Image.open(path) as image:
        stored = {tag: list(image.tag_v2[tag]) for tag in (offsets, counts)}
    end = len(whole)
    for index in range(len(stored[counts])):
        for changed in ({counts: -1}, {offsets: end}):
            tags = {tag: content.copy() for tag, content in stored.items()}
            for tag, difference in changed.items():
                tags[tag][index] += difference
            path.write_bytes(tiff_file(values, 8, RGB, planar=planar, tags=tags, **LAYOUTS[layout]))
            refused(path, r"truncated: \d+ bytes in a strip or tile")
    for tags, words in (
        ({tag: content[:-1] or None for tag, content in stored.items()}, "of . strips or tiles"),
        ({counts: None}, "sizes of 0 of . strips"),
    ):
        path.write_bytes(tiff_file(values, 8, RGB, planar=planar, tags=tags, **LAYOUTS[layout]))
        refused(path, f"{words}|not a readable image")


def test_a_mask_of_fewer_rows_than_its_size_is_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "a.tif", drawn(8)
    path.write_bytes(tiff_file(values, 8, GREY, data=[packed(values[:5], 8, "<")]))
    refused(path, "truncated: 65 bytes in a strip or tile, 130 needed")


def test_compressions_that_may_change_a_mask_are_refused(tmp_path: Path) -> None:
    path, labels = tmp_path / "a.tif", drawn(8)[:, :, 0].astype(np.uint8)
    for name in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "zstd", "lzma", "raw"):
        Image.fromarray(labels).save(path, compression=name)
        assert (read_mask(path, EVERY_VALUE) == labels).all()
    Image.fromarray(labels).save(path, compression="jpeg")
    assert read_image(path).shape == (10, 13, 3)
    with pytest.raises(UserError, match="mask is a TIFF with compression JPEG, which may change or lose class indices"):
        read_mask(path, EVERY_VALUE)
    for name in ("group3", "group4", "tiff_ccitt"):
        Image.fromarray(labels > 99).save(path, compression=name)
        with pytest.raises(UserError, match="compression CCITT"):
            read_mask(path, EVERY_VALUE)


@pytest.mark.parametrize(
    ("compression", "name"),
    [(2, "CCITT"), (6, "JPEG"), (33003, "JPEG 2000"), (34712, "JPEG 2000"), (50001, "WebP"), (1234, "number 1234")],
)
def test_a_mask_of_any_other_compression_is_refused(compression: int, name: str) -> None:
    with pytest.raises(UserError, match=f"compression {name}, which may change"):
        check_lossless(Path("a.tif"), {259: compression})


def test_signed_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for order in "<>":
        path.write_bytes(tiff_file(drawn(8), 8, GREY, order=order, tags={339: [2]}))
        refused(path, "TIFF of signed 8-bit samples")
        path.write_bytes(tiff_file(drawn(16), 16, GREY, order=order, tags={339: [2]}))
        with pytest.raises(UserError, match="holds signed integers, of unknown range"):
            read_image(path)


def test_a_kind_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for bits, order, tags, words in (
        (32, ">", {}, r"\(1 x 32 bits a pixel, unsigned, big-endian\)"),
        (16, "<", {262: [PALETTE]}, r"\(1 x 16 bits a pixel, unsigned, little-endian\)"),
        (8, "<", {339: [3]}, r"\(1 x 8 bits a pixel, float, little-endian\)"),
    ):
        path.write_bytes(tiff_file(drawn(bits), bits, GREY, order=order, tags=tags))
        refused(path, f"TIFF of a kind that is not read {words}; save it as PNG of 8 or 16 bits")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(path)
    with pytest.raises(UserError, match="mask holds floats; save its class indices as 8-bit grey PNG"):
        read_mask(path, EVERY_VALUE)


def test_subsampled_colours_without_compression_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for subsampling in (None, [2, 2], [2, 1]):
        path.write_bytes(tiff_file(drawn(8, 3), 8, 6, tags={530: subsampling}))
        refused(path, "subsampled YCbCr")


BROKEN = """
import threading
from pathlib import Path
from deeplab.datasets.files import label_encoding, read_mask
from deeplab.datasets.tiff import check_lossless
from evaluation.errors import UserError
from tests.deeplab.image_files import DEFLATE, PALETTE, packed, tiff_file

def read():
    for path in sorted(Path({folder!r}).glob("*.tif")):
        try:
            read_mask(path, label_encoding({{0: 0}}))
        except UserError as error:
            said.append(str(error))

said = []
threads = [threading.Thread(target=read) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(said), "refusals")
"""


def test_libtiff_writes_nothing_beside_our_line(tmp_path: Path) -> None:
    """Its messages go to file descriptor 2, past Python."""
    values = drawn(8)
    rows = packed(values[:5], 8, "<")
    (tmp_path / "z.tif").write_bytes(tiff_file(values, 8, GREY, compression=DEFLATE, data=[zlib.compress(rows)]))
    for name in ("tiff_lzw", "packbits", "zstd", "lzma", "jpeg"):
        buffer = io.BytesIO()
        Image.fromarray(values[:, :, 0].astype(np.uint8)).save(buffer, "TIFF", compression=name)
        content = bytearray(buffer.getvalue())
        with Image.open(buffer) as image:
            start, count = image.tag_v2[273][0], image.tag_v2[279][0]
        content[start + 4 : start + count] = b"\xfe" * (count - 4)
        (tmp_path / f"{name}.tif").write_bytes(content)
    done = subprocess.run([sys.executable, "-c", BROKEN.format(folder=str(tmp_path))], capture_output=True, text=True)
    assert done.stdout == "48 refusals\n"
    assert done.stderr == ""
