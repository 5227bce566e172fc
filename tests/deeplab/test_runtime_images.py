"""The command's reader of images next to another reader of the format, on thousands of damaged ones."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.sources import SOURCES

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")

FUZZ = r"""
#define _XOPEN_SOURCE 700
#include "program/image.h"
#include <stdio.h>
#include <stdlib.h>

/* argv: a file of [length, bytes] records, a scratch file, columns, rows. Prints 0 or -1, and the pixels' sum. */
int main(int count, char **arguments)
{
    FILE *records = fopen(arguments[1], "rb");
    int columns = atoi(arguments[3]), rows = atoi(arguments[4]);
    unsigned length;
    (void)count;
    while (fread(&length, sizeof length, 1, records) == 1) {
        size_t size = (size_t)columns * (size_t)rows * 3;
        unsigned char *bytes = malloc(length + 1u), *pixels = calloc(size, 1); /* exact, so that one too many is seen */
        FILE *one = fopen(arguments[2], "wb");
        unsigned long sum = 0;
        int failed;
        if (length && fread(bytes, length, 1, records) != 1)
            return 3;
        fwrite(bytes, 1, length, one);
        fclose(one);
        failed = read_image(arguments[2], pixels, columns, rows, 3, 0);
        for (size_t at = 0; at < size; at++)
            sum = (sum * 31 + pixels[at]) % 1000003;
        printf("%d %lu\n", failed, failed ? 0 : sum);
        free(bytes);
        free(pixels);
    }
    fclose(records);
    return 0;
}
"""
GAP = rb"(?:\s|#[^\r\n]*[\r\n])"
IMAGE = re.compile(rb"P6" + GAP + rb"+(\d+)" + GAP + rb"+(\d+)" + GAP + rb"+(\d+)" + GAP)
TOKENS = [
    b"#",
    b"# x\n",
    b"\n",
    b" ",
    b"\r\n",
    b"\0",
    b"-",
    b"+",
    b"255",
    b"256",
    b"0",
    b"00",
    b"99999999",
    b"100000000",
]
TOKENS += [b"2147483648", b"18446744073709551616", b"P6", b"P5", b"\xff", b"1e3", b"0x14", b"\t", b"\v", b"."]


def pixels_of(data: bytes, columns: int, rows: int) -> bytes | None:
    """What ppm(5) says of it, by another reader: the pixels of an image of the right size."""
    found = IMAGE.match(data)
    if found is None or any(int(number) > 99999999 for number in found.groups()):
        return None
    if tuple(map(int, found.groups())) != (columns, rows, 255):
        return None
    pixels = data[found.end() :][: rows * columns * 3]
    return pixels if len(pixels) == rows * columns * 3 else None


def mutated(random: np.random.Generator, columns: int, rows: int) -> bytes:
    """An image with some faults, most of them in its header."""
    headers = [
        b"P6 %d %d 255\n",
        b"P6\n# made by hand\n%d\n#\n%d\n255\n",
        b"P6\t%d\r%d#\r255 ",
        b"P6  00%d 000%d 000255\n",
    ]
    data = headers[random.integers(len(headers))] % (columns, rows) + random.bytes(rows * columns * 3)
    for _ in range(random.integers(0, 4)):
        at = int(random.integers(24 if random.random() < 0.8 else len(data) + 1))
        token = TOKENS[random.integers(len(TOKENS))]
        match random.integers(5):
            case 0:
                data = data[:at] + token + data[at:]
            case 1:
                data = data[:at] + data[at + int(random.integers(1, 4)) :]
            case 2:
                data = data[:at] + bytes([random.integers(256)]) + data[at + 1 :]
            case 3:
                data = data[: int(random.integers(len(data) + 1))] if random.random() < 0.5 else data
            case 4:
                data = data[:at] + token + data[at + len(token) :]
    return data


def fuzz(count: int, folder: Path) -> None:
    """Read mutated images with the program's reader and by `pixels_of`."""
    (folder / "fuzz.c").write_text(FUZZ)
    flags = ("-std=c99", "-O0", "-g", "-Wall", "-Wextra", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    command = [compiler(), *flags, f"-I{SOURCES}", "-Wno-unused-function", "-o", folder / "fuzz", folder / "fuzz.c"]
    subprocess.run(command, check=True)
    random = np.random.default_rng(count)
    for columns, rows in ((20, 24), (3, 1)):  # the second is shorter than what is read ahead of a header
        images = [mutated(random, columns, rows) for _ in range(count // 2)]
        (folder / "records").write_bytes(b"".join(np.uint32(len(p)).tobytes() + p for p in images))
        arguments = [folder / "fuzz", folder / "records", folder / "one.ppm", str(columns), str(rows)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-2000:]
        expected = []
        for image in images:
            pixels, total = pixels_of(image, columns, rows), 0
            for value in pixels or b"":
                total = (total * 31 + value) % 1000003
            expected.append("-1 0" if pixels is None else f"0 {total}")
        assert done.stdout.splitlines() == expected
        refused = expected.count("-1 0")
        assert 0.1 * len(expected) < refused < 0.9 * len(expected)
        assert done.stderr.count("\n") == refused
        assert all(line.startswith(f"network: {folder}/one.ppm: ") for line in done.stderr.splitlines())


@needs_compiler
def test_mutated_images_are_read_as_the_format_says(tmp_path):
    fuzz(800, tmp_path)


@needs_compiler
@pytest.mark.slow
def test_many_mutated_images_are_read_as_the_format_says(tmp_path):
    fuzz(20_000, tmp_path)
