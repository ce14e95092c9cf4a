"""Texts and pairs of texts with classes or numbers: token rows and scores."""
