"""The model: configuration, reference, heads, and weights in and out of a folder."""
