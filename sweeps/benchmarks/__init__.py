"""Measurements of the sweep engine beside what it is compared with, each a command of its own."""
