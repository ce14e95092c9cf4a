"""Text to token ids: the tokenizer, its vocabulary and what it returns."""
