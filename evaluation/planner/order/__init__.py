"""Orders of the kernel calls: which runs when, and what is computed twice."""
