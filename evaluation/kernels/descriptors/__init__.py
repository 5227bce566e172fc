"""Kernels of the C program and the descriptor structs they read; one module for each family of `deeplab/runtime/c`."""
