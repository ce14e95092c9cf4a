"""The training engine. It knows batches, a loss and an evaluation function; it has not heard of SQuAD."""
