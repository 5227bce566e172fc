"""The kernels of the C program with the structs that they read, a module for each folder of `deeplab/runtime/c`."""
