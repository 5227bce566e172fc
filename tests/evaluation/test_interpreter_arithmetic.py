"""The interpreter's integer arithmetic against exact rational numbers, and the packing of narrow codes."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.graph import Quantization, Tensor
from evaluation.interpreter.packing import pack_rows, packed_bytes, unpack_rows
from evaluation.interpreter.requantize import (
    activation_range,
    integer_range,
    multiply,
    multiply_once,
    multiply_wide,
    quantize_multiplier,
    round_half_away,
)

HALF = Fraction(1, 2)
accumulators = st.integers(-(2**31), 2**31 - 1)
mantissas = st.integers(2**30, 2**31 - 1)


def half_up(value: Fraction) -> int:
    return math.floor(value + HALF)


def half_away(value: Fraction) -> int:
    return half_up(abs(value)) * (1 if value >= 0 else -1)


@given(accumulators, mantissas, st.integers(-31, 0))
def test_multiply_rounds_twice(x, mantissa, exponent):
    high = half_up(Fraction(x * mantissa, 2**31))
    assert multiply(np.array([x]), mantissa, exponent)[0] == half_away(Fraction(high, 2**-exponent))


@given(st.integers(-(2**20), 2**20), mantissas, st.integers(1, 10))
def test_multiply_by_more_than_one(x, mantissa, exponent):
    assert multiply(np.array([x]), mantissa, exponent)[0] == half_up(Fraction(x * 2**exponent * mantissa, 2**31))


@pytest.mark.parametrize(("x", "expected"), [(1, 1), (-1, 0), (3, 2), (-3, -1)])
def test_the_first_rounding_takes_ties_up(x, expected):
    assert multiply(np.array([x]), 2**30, 0)[0] == expected


@pytest.mark.parametrize(("x", "expected"), [(2, 1), (-2, -1), (6, 2), (-6, -2)])
def test_the_second_rounding_takes_ties_away_from_zero(x, expected):
    assert multiply(np.array([x]), 2**30, -1)[0] == expected


@given(accumulators, mantissas, st.integers(-31, 6))
def test_multiply_once_rounds_once(x, mantissa, exponent):
    exact = Fraction(x * mantissa) * Fraction(2) ** (exponent - 31)
    assert multiply_once(np.array([x]), mantissa, exponent)[0] == half_up(exact)


@given(st.integers(-(2**46), 2**46), mantissas, st.integers(-31, 6))
def test_multiply_wide_uses_fifteen_bits_of_the_mantissa(x, mantissa, exponent):
    reduced = min(half_up(Fraction(mantissa, 2**16)), 2**15 - 1)
    exact = Fraction(x * reduced) * Fraction(2) ** (exponent - 15)
    assert multiply_wide(np.array([x]), mantissa, exponent)[0] == half_up(exact)


@given(st.floats(1e-9, 1e6))
def test_quantize_multiplier_is_the_nearest_mantissa(real):
    mantissa, exponent = quantize_multiplier(real)
    assert 2**30 <= mantissa < 2**31
    error = abs(Fraction(mantissa) * Fraction(2) ** (exponent - 31) - Fraction(real))
    assert error <= Fraction(2) ** (exponent - 32)


def test_quantize_multiplier_at_its_edges():
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(1.0) == (2**30, 1)
    assert quantize_multiplier(1.0 - 2**-40) == (2**30, 1)
    assert quantize_multiplier(2.0**-40) == (0, 0)


def test_round_half_away():
    np.testing.assert_array_equal(
        round_half_away(np.array([0.5, 1.5, -0.5, -2.5, 0.49999997, 2.2], np.float32)), [1, 2, -1, -3, 0, 2]
    )


def test_ranges_follow_the_bits():
    def tensor(dtype, bits):
        grid = Quantization(np.array([0.5], np.float32), np.array([-2], np.int64))
        return Tensor("t", (1,), dtype, bits, grid)

    assert integer_range(tensor("int8", 4)) == (-8, 7)
    assert integer_range(tensor("uint8", 6)) == (0, 63)
    assert integer_range(tensor("int16", 16)) == (-32768, 32767)
    assert activation_range("RELU", tensor("int8", 4)) == (-2, 7)
    assert activation_range("RELU6", tensor("int8", 8)) == (-2, 10)
    assert activation_range("RELU_N1_TO_1", tensor("int8", 8)) == (-4, 0)


@given(st.data())
def test_packing_is_dense_and_lossless(data):
    bits, is_signed = data.draw(st.integers(1, 7)), data.draw(st.booleans())
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)
    rows = data.draw(st.lists(st.lists(st.integers(low, high), min_size=5, max_size=5), min_size=1, max_size=3))
    dtype = "int8" if is_signed else "uint8"
    packed = pack_rows(np.array(rows, dtype), bits)
    assert packed.shape == (len(rows), packed_bytes(5, bits)) == (len(rows), math.ceil(5 * bits / 8))
    np.testing.assert_array_equal(unpack_rows(packed, bits, 5, dtype), rows)


def test_int4_lies_as_tflite_stores_it():
    np.testing.assert_array_equal(pack_rows(np.array([[1, -1, 7]], np.int8), 4), [[0xF1, 0x07]])
