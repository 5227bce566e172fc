"""Packed weights and sub-byte elements, read and written by the C program's own functions."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest

from deeplab.runtime.compilers import compiler
from deeplab.runtime.layers.weight_formats import bitmap, packed, relative_index
from deeplab.runtime.sources import SOURCES
from evaluation.interpreter.packing import pack_rows, packed_bytes, unpack_rows
from evaluation.kernels.constants import WeightFormat
from evaluation.kernels.weights import Format

SOURCE = """
#include "program/kernels.h"
#include "low_bit/unpack.h"
#include "int8/copy.h"
#include "int8/copy.c"

void unpack_all(const uint8_t *stored, int format, int bits, int rows, int length, int entries, int bytes, uint8_t *to)
{
    struct unpacker u;
    begin_unpacking(&u, stored, format, bits, (uint32_t)(rows * length), (uint32_t)entries);
    for (int row = 0; row < rows; row++, to += length * bytes)
        unpack_row(&u, to, length, bytes);
}

void load(const uint8_t *row, int bits, int first, int count, int16_t *to)
{
    load_elements(row, bits, first, count, to);
}

void store(uint8_t *row, int bits, int first, int count, const int16_t *from)
{
    store_elements(row, bits, first, count, from);
}

void copy_row(const uint8_t *from, uint8_t *to, int bits, int channels, const int *places)
{
    struct copy_layer layer = {(uint16_t)channels};
    struct view in = {(uint8_t *)from, NULL, 0, 0, 0, 0, places[0], places[1], bits};
    struct view out = {to, NULL, 0, 0, 0, 0, places[2], places[3], bits};
    struct region at = {0, 1, places[4], places[5]};
    out.left = places[6];
    copy(&layer, &in, &out, &at, NULL);
}

void put(uint8_t *row, int bits, int index, int value) { put_element(row, bits, index, value); }
"""
FLAGS = ("-std=c99", "-O0", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover=all")

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc or clang)")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("streams")
    (folder / "streams.c").write_text(SOURCE)
    library = folder / "streams.so"
    command = [compiler(), *FLAGS, f"-I{SOURCES}", "-shared", "-fPIC", "-o", str(library), str(folder / "streams.c")]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def stored(values: np.ndarray, bits: int, form: Format) -> tuple[np.ndarray, int]:
    if form is Format.DENSE:
        return pack_rows(values, bits).reshape(-1), 0
    if form is Format.BITMAP:
        return bitmap(values.reshape(-1), bits), 0
    return relative_index(values.reshape(-1), bits)


def sparse(bits: int, density: float, shape: tuple[int, int]) -> np.ndarray:
    """Codes with runs of zeros longer than 16 and longer than a row; the first and the last are zero too."""
    random = np.random.default_rng(bits)
    dtype = np.int8 if bits <= 8 else np.int16
    values = random.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape).astype(dtype)
    values[random.random(shape) >= density] = 0
    values[2:5] = 0
    values[0, 0] = values[-1, -40:] = 0
    return values


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 11, 16])
@pytest.mark.parametrize("density", [1.0, 0.3, 0.05, 0.0])
def test_weights_come_back_row_by_row(program, form, bits, density):
    values = sparse(bits, density, (9, 61))
    data, entries = stored(values, bits, form)
    found = np.full(values.shape, 0x55, values.dtype)
    size = values.dtype.itemsize
    program.unpack_all(_pointer(data), WeightFormat[form.name], bits, *values.shape, entries, size, _pointer(found))
    np.testing.assert_array_equal(found, values)


def test_a_relative_index_is_what_its_definition_says():
    """Five zeros and a 3; seventeen zeros, which need a filler for 16, one more and a -1; the last zeros not at all."""
    values = np.array([0] * 5 + [3] + [0] * 17 + [-1] + [0] * 30)
    data, entries = relative_index(values, 4)
    assert data.tolist() == [5 | 3 << 4, 15 | 0 << 4, 1 | 15 << 4]
    assert entries == 3


def test_a_bitmap_is_what_its_definition_says():
    assert bitmap(np.array([0, 3, 0, 0, -1, 2, 0, 0, 0, 1]), 4).tolist() == [0b110010, 0b10, 3 | 15 << 4, 2 | 1 << 4]


def test_a_long_stream_is_packed_in_portions_without_seams():
    values = np.random.default_rng(0).integers(0, 32, (1 << 16) + 5)
    np.testing.assert_array_equal(packed(values, 5), pack_rows(values[np.newaxis], 5)[0])


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 16])
def test_elements_are_loaded_and_stored_at_any_position_of_a_row(program, bits):
    """Neighbours, those that share a byte included, stay as they are."""
    random = np.random.default_rng(bits)
    dtype, limit = ("int16" if bits == 16 else "int8"), 1 << (bits - 1)
    values = random.integers(-limit, limit, 40).astype(dtype)
    for first in range(9):
        for count in (1, 2, 5, 8, 31):
            row = pack_rows(values[np.newaxis], bits)[0].copy()
            loaded = np.zeros(count, np.int16)
            program.load(_pointer(row), bits, first, count, _pointer(loaded))
            np.testing.assert_array_equal(loaded, values[first : first + count])
            changed = random.integers(-limit, limit, count).astype(np.int16)
            expected = values.copy()
            expected[first : first + count] = changed
            one_by_one = row.copy()
            program.store(_pointer(row), bits, first, count, _pointer(changed))
            for index, code in enumerate(changed):
                program.put(_pointer(one_by_one), bits, first + index, int(code))
            for memory in (row, one_by_one):
                np.testing.assert_array_equal(unpack_rows(memory[np.newaxis], bits, 40, dtype)[0], expected)


@pytest.mark.parametrize("bits", [4, 5, 6, 8, 16])
@pytest.mark.parametrize(
    ("channels", "places"),
    [(3, (3, 0, 3, 0, 0, 7, 0)), (3, (3, 0, 3, 0, 1, 6, 0)), (3, (3, 0, 3, 0, 3, 6, 2)), (3, (5, 1, 3, 0, 1, 6, 0)),
     (2, (2, 0, 7, 3, 0, 5, 0))],
)  # fmt: skip
def test_copies_leave_their_neighbours_alone(program, bits, channels, places):
    """Of rows, parts and slices. `places`: pitch and first channel of both, columns, the target's first column."""
    random, dtype, limit = np.random.default_rng(bits), "int16" if bits == 16 else "int8", 1 << (bits - 1)
    pitch, channel, to_pitch, to_channel, left, right, to_left = places
    source = random.integers(-limit, limit, (8, pitch)).astype(dtype)
    target = random.integers(-limit, limit, (8, to_pitch)).astype(dtype)
    rows = [pack_rows(values.reshape(1, -1), bits)[0].copy() for values in (source, target)]
    program.copy_row(_pointer(rows[0]), _pointer(rows[1]), bits, channels, _pointer(np.array(places, np.int32)))
    copied = source[left:right, channel : channel + channels]
    target[left - to_left : right - to_left, to_channel : to_channel + channels] = copied
    found = unpack_rows(rows[1][np.newaxis], bits, target.size, dtype).reshape(target.shape)
    np.testing.assert_array_equal(found, target)


def test_no_byte_beyond_the_last_code_is_touched(program):
    """The row ends where its last code ends, and what follows belongs to others."""
    for bits, count in ((3, 7), (4, 5), (5, 11), (6, 9)):
        memory = np.full(packed_bytes(count, bits) + 1, 0xA5, np.uint8)
        program.store(_pointer(memory), bits, 0, count, _pointer(np.zeros(count, np.int16)))
        assert memory[-1] == 0xA5
        assert memory[-2] >> (count * bits % 8 or 8) == 0xA5 >> (count * bits % 8 or 8)


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
