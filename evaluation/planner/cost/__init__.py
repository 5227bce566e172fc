"""Figures of a plan: tables, stack and weights by the rules of a target."""
