"""Questions and passages: files, features, spans of answers and the official scores."""
