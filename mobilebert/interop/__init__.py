"""Other frameworks: weights in and out, proofs of equality. The only room that imports torch or transformers."""
