"""Processes that evaluate candidates, on this machine or a Ray cluster."""
