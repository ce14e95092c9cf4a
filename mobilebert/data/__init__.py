"""From files to batches: read, tokenize, window, cache, pad. Imports without Paddle."""
