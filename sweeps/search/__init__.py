"""The search: the samplers, and the loop that asks, evaluates and tells."""
