"""Images and masks of every kind people have are read to the right values, or refused in one line that says why."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from deeplab.datasets.files import ImagePair, label_encoding, read_image, read_mask, read_pair
from deeplab.datasets.interface import VOID
from evaluation.errors import UserError

COLOURS = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
ENCODING = label_encoding({**{value: value for value in range(11)}, 255: VOID})


def png(rows: np.ndarray, bits: int, colour_type: int = 0, *extra: bytes) -> bytes:
    """A PNG of one channel with `bits` a pixel, by the specification: Pillow writes grey of 8 and 16 bits only."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = rows.shape
    lines = b""
    for row in rows:
        written = "".join(format(int(value), f"0{bits}b") for value in row)
        written += "0" * (-len(written) % 8)
        lines += b"\0" + bytes(int(written[at : at + 8], 2) for at in range(0, len(written), 8))
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(7 * value % 256 for value in range(3 * 2**bits))) if colour_type == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )  # fmt: skip


def refused(path: Path, words: str, reader=read_image) -> None:
    with pytest.raises(UserError, match=words) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) - len(str(path)) < 300


def mask(path: Path) -> np.ndarray:
    return read_mask(path, ENCODING)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("suffix", "options"), [("jpg", {"quality": 100}), ("png", {}), ("tif", {}), ("webp", {})])
def test_an_orientation_tag_is_applied(tmp_path: Path, suffix: str, options: dict, orientation: int) -> None:
    path, tags = tmp_path / f"a.{suffix}", Image.Exif()
    tags[274] = orientation
    Image.fromarray(COLOURS).save(path, exif=tags, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (read_image(path) == expected).all()
    assert read_image(path).shape == ((7, 5, 3) if orientation > 4 else (5, 7, 3))


def test_an_image_and_its_mask_are_both_as_a_viewer_shows_them(tmp_path: Path) -> None:
    tags, half = Image.Exif(), Image.Exif()
    tags[274], half[274] = 6, 3
    image, labels = tmp_path / "a.png", tmp_path / "m.png"
    Image.fromarray(COLOURS).save(image, exif=tags)
    upright = np.arange(35).reshape(7, 5) % 11
    Image.fromarray(upright.astype(np.uint8)).save(labels)
    pair = ImagePair("a", image, labels)
    pixels, found = read_pair(pair, ENCODING)
    assert (pixels == np.rot90(COLOURS, -1)).all()
    assert (found == upright).all()
    Image.fromarray(upright.astype(np.uint8)).save(labels, exif=half)
    assert (read_pair(pair, ENCODING)[1] == upright[::-1, ::-1]).all()
    Image.fromarray(upright.T.astype(np.uint8)).save(labels)
    with pytest.raises(
        UserError, match=r"mask is 7x5, its image a\.png 5x7 once its orientation tag is applied; label"
    ):
        read_pair(pair, ENCODING)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_grey_of_sixteen_bits_is_scaled(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 257, 300], [32768, 40000, 65407, 65535]], np.uint16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    expected = np.round(values / 65535 * 255)
    assert (read_image(path) == expected[:, :, None]).all()
    assert read_image(path).dtype == np.uint8


def test_grey_of_other_byte_order_bits_and_polarity_is_scaled(tmp_path: Path) -> None:
    values, path = np.array([[0, 4095, 65535]], np.uint16), tmp_path / "a.tif"
    Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes()).save(path)
    assert read_image(path)[0, :, 0].tolist() == [0, 16, 255]
    Image.fromarray(values).save(path, tiffinfo={262: 0})  # white is 0
    assert read_image(path)[0, :, 0].tolist() == [255, 239, 0]
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x00])  # 0, 4095, 2048 and filling, 12 bits each
    tags = [(256, 3), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 6)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 16) + packed + b"\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    assert read_image(path)[0, :, 0].tolist() == [0, 255, 128]


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [*((suffix, mode) for suffix in ("png", "bmp", "tif", "webp") for mode in ("1", "L", "P", "RGB")),
     *((suffix, mode) for suffix in ("jpg", "tif") for mode in ("CMYK", "YCbCr")), ("jpg", "1"), ("jpg", "L")],
)  # fmt: skip
def test_images_of_other_modes_come_as_a_viewer_shows_them(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOURS).convert(mode).save(path)
    with Image.open(path) as image:
        assert (read_image(path) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_an_alpha_channel_is_dropped_where_it_is_opaque_and_refused_elsewhere(tmp_path: Path, mode: str) -> None:
    image, path = Image.fromarray(COLOURS).convert(mode), tmp_path / "a.tif"
    image.save(path)
    assert (read_image(path) == np.asarray(image.convert("RGB"))).all()
    image.putalpha(Image.fromarray(COLOURS[:, :, 0]))
    image.save(path)
    refused(path, "has transparent pixels; save the image on the background")


def test_transparent_colours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS).save(path, transparency=tuple(map(int, COLOURS[0, 0])))
    refused(path, "has transparent pixels")
    Image.fromarray(COLOURS[:, :, 0]).convert("P").save(path, transparency=0)
    refused(path, "has transparent pixels")
    Image.fromarray(COLOURS[:, :, 0].astype(np.uint16)).save(path, transparency=int(COLOURS[2, 3, 0]))
    refused(path, "has transparent pixels")


def test_numbers_of_unknown_range_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(COLOURS[:, :, 0].astype(np.float32) / 255).save(path)
    refused(path, "holds floats, of unknown range; save the image as RGB or grey of 8 or 16 bits")
    Image.fromarray(COLOURS[:, :, 0].astype(np.int32)).save(path)
    refused(path, "holds 32-bit integers")


@pytest.mark.parametrize(("suffix", "name"), [("png", "APNG"), ("webp", "WebP"), ("tif", "TIFF")])
def test_several_frames_are_refused(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOURS).save(path, save_all=True, append_images=[Image.fromarray(COLOURS[::-1])])
    refused(path, "holds 2 frames or pages")


def test_a_phones_jpeg_with_a_preview_is_its_first_image(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(COLOURS).save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (2, 2))])
    assert read_image(path).shape == (5, 7, 3)


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"<svg/>", b"\0" * 99]
)
@pytest.mark.parametrize("reader", [read_image, mask])
def test_no_other_decoder_runs_whatever_the_suffix(tmp_path: Path, monkeypatch, content: bytes, reader) -> None:
    reached = tmp_path / "reached"
    (tmp_path / "gs").write_text(f"#!/bin/sh\necho 99.0\ntouch {reached}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", "not a readable image: empty, damaged, or none of JPEG, PNG", reader)
    assert not reached.exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for side in (10_000, 100_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        idat = struct.pack(">I", 3) + b"IDATabc" + struct.pack(">I", zlib.crc32(b"IDATabc"))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + idat)
        script = (
            f"from pathlib import Path; from deeplab.datasets.files import read_image; read_image(Path({str(path)!r}))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert "Warning" not in done.stderr
        assert "scale the image down" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["trunc_idat.png", "zero.png", "mask_rgb.png"])
def test_the_cases_are_refused_as_masks(shared, name: str) -> None:
    refused(shared("cases/images") / name, "not a readable image|mask is RGB", mask)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "ppm", "tif", "webp"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, tolerant: bool, monkeypatch) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.tile(COLOURS, (20, 20, 1))).save(path)
    whole = path.read_bytes()
    for share in (0, 0.3, 0.6, 0.9):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)  # as another library may leave it
        path.write_bytes(whole[: int(share * len(whole))])
        refused(path, "not a readable image")


def test_one_flipped_bit_in_a_png_never_changes_a_label(tmp_path: Path) -> None:
    labels, path = np.arange(64).reshape(8, 8) % 11, tmp_path / "a.png"
    whole = png(labels, 8)
    outcomes = []
    for bit in range(0, 8 * len(whole), 5):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            outcomes.append((mask(path) == labels).all())
        except UserError:
            outcomes.append("refused")
    assert set(outcomes) <= {True, "refused"}
    assert outcomes.count("refused") > 0.9 * len(outcomes)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "not a file")
    refused(tmp_path / "none.png", "no such file")
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path / "a\0.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    refused(tmp_path / "link.png", "not a file")


@pytest.mark.parametrize("colour_type", [0, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_masks_values_are_those_stored(tmp_path: Path, bits: int, colour_type: int) -> None:
    labels = np.arange(30).reshape(5, 6) % min(11, 2**bits)
    (tmp_path / "a.png").write_bytes(png(labels, bits, colour_type))
    assert (mask(tmp_path / "a.png") == labels).all()


def test_a_mask_of_sixteen_bits_keeps_its_values(tmp_path: Path) -> None:
    values = np.array([[0, 10, 255]], np.uint16)
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        assert mask(tmp_path / f"a.{suffix}").tolist() == [[0, 10, VOID]]
    values[0, 1] = 65535
    Image.fromarray(values).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", r"label 65535 at row 0, column 1; allowed are 0-10, 255", mask)
    wide = label_encoding({0: 0, 255: 1, 65535: VOID})
    assert read_mask(tmp_path / "a.png", wide).tolist() == [[0, VOID, 1]]


def test_a_palette_mask_with_transparency_keeps_its_values(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 3, 10]], np.uint8)).convert("P")
    indices = np.asarray(image).copy()
    image.save(tmp_path / "a.png", transparency=0)
    everything = label_encoding({value: value for value in range(256)})
    assert (read_mask(tmp_path / "a.png", everything) == indices).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK"])
def test_colours_and_alpha_in_a_mask_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", f"mask is {mode}, expected one channel .*save it as 8-bit grey or palette PNG", mask)


def test_masks_whose_format_changes_values_are_refused(tmp_path: Path) -> None:
    labels = Image.fromarray(np.zeros((4, 4), np.uint8))
    for suffix, name in (("jpg", "JPEG"), ("webp", "WEBP"), ("pgm", "PPM")):
        labels.save(tmp_path / f"a.{suffix}")
        refused(
            tmp_path / f"a.{suffix}", f"mask is {name}, which changes class indices; save it as 8-bit grey PNG", mask
        )
    labels.save(tmp_path / "a.png", "JPEG")
    refused(tmp_path / "a.png", "mask is JPEG", mask)
    labels.save(tmp_path / "a.tif", tiffinfo={262: 0})
    refused(tmp_path / "a.tif", "white as 0", mask)
