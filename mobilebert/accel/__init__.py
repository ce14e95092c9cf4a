"""The fast path of the encoder layer on a CPU, in NumPy and in C."""
