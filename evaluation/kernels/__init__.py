"""The kernels of the C program, known without a compiler: which one runs a call, what it reads, and what it takes."""
