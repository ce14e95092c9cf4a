"""Deployment: a fine-tuned checkpoint becomes a small, fast model that is proven equal to it."""
