"""The search: which candidate is tried next, and the loop that asks, evaluates and tells."""
