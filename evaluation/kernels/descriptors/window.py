"""Members common to the structs of all convolutions."""

from __future__ import annotations

from evaluation.kernels.structs import INT16, UINT16, members

FILTER = (
    members(UINT16, "in_rows", "in_columns", "in_channels", "out_channels"),
    members(UINT16, "filter_rows", "filter_columns"),
)
WINDOW = (
    *FILTER,
    members(UINT16, "stride_rows", "stride_columns", "dilation_rows", "dilation_columns"),
    members(INT16, "before_rows", "before_columns"),
)
"""Sizes of input and filter, strides, dilations, and the padding above and to the left of the input."""
