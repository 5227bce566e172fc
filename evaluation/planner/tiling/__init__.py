"""Sections of a network in tiles: schemes, rows per tile, costs, the choice of sections, steps."""
