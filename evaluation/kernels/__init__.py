"""Registry of the kernels of the C program: their selection, descriptors, memory needs and stack bounds."""
