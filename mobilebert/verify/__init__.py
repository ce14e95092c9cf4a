"""Proofs that model and tokenizer equal their references."""
