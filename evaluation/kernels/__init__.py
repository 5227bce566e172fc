"""What is known of the C program's kernels without a compiler: how much stack each takes, on each instruction set."""
