"""From logits to answers, in plain NumPy."""
