"""Orders of the kernel calls, and calls that are computed twice."""
