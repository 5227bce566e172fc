"""What a buffer of a plan is for: its colour and its name, the same wherever a plan is drawn."""

from __future__ import annotations

# Okabe & Ito (2008), "Color universal design": told apart with every common kind of colour blindness.
ROLE_COLOURS = {
    "frame": "#56B4E9",
    "activation": "#0072B2",
    "tile": "#009E73",
    "row_cache": "#E69F00",
    "accumulator": "#F0E442",
    "scratch": "#CC79A7",
    "labels": "#D55E00",
}
ROLE_NAMES = {"row_cache": "row cache", "accumulator": "sums", "labels": "label map"}
