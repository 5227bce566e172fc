"""The tables that drive the C program: sections of calls, and the addresses of their operands."""

from __future__ import annotations

from enum import IntEnum

from evaluation.kernels.structs import INT32, POINTER_BYTES, UINT8, UINT16, CType, Struct, members, pointer

TABLES = "program/tables"
"""Path of the header below `deeplab/runtime/c`, without suffix."""


class Location(IntEnum):
    """Location of the rows of a tensor, for one call in all tiles of its section."""

    RESIDENT = 0
    TILE = 1
    RING = 2
    EXTERNAL = 3


OPERAND = Struct(
    TABLES,
    "operand",
    "The address of an operand, for one call in all tiles of its section. RESIDENT: the whole tensor, or its rows that "
    "are in memory, row 0 at `offset`; TILE: the rectangle of the span at `offset`, the rows above it in the ring; "
    "RING: all rows are in the ring; EXTERNAL: the whole tensor, in a frame outside the arena.",
    (
        members(INT32, "offset", "ring_offset", note="bytes into the arena"),
        members(UINT16, "ring_rows", "span"),
        members(UINT16, "columns", "pitch", "channel", note="columns: of a RESIDENT or EXTERNAL tensor"),
        members(UINT8, "bits", "location"),
    ),
    enumerations=(Location,),
)
CALL = Struct(
    TABLES,
    "call",
    "One kernel over one rectangle of its output.",
    (
        members(CType("kernel *", POINTER_BYTES, POINTER_BYTES), "run"),
        members(pointer("void"), "layer"),
        members(pointer("struct operand"), "operands", note="tensors read, then tensors written"),
        members(INT32, "scratch", note="offset of scratch or accumulator, -1 for none"),
        members(UINT16, "span", note="index of the rectangle to compute"),
        members(UINT8, "reads", "writes"),
    ),
)
SECTION = Struct(
    TABLES,
    "section",
    "Calls that run in order, tile after tile. `rows` is [row tiles][spans], `columns` [column tiles][spans].",
    (
        members(pointer("struct call"), "calls"),
        members(pointer("interval"), "rows", "columns"),
        members(UINT16, "row_tiles", "column_tiles", "spans", "call_count"),
        members(UINT16, "rows_outermost"),
    ),
)
INTERVAL_BYTES = 2 * UINT16.size_bytes
"""An interval of rows or columns: the first, and one past the last."""
STRUCTS = (OPERAND, CALL, SECTION)
