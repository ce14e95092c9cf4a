"""Small models and batches for tests of the encoder layer's fast paths."""

import numpy as np
import paddle

SMALL = {
    "vocab_size": 60,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "embedding_size": 16,
    "intra_bottleneck_size": 32,
    "max_position_embeddings": 300,
    "attention_probs_dropout_prob": 0.0,
    "classifier_activation": False,
    "initializer_range": 0.2,
}
# What the fast paths claim to compute.
CLAIMED = {
    "mobilebert": {},
    "tiny": {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False, "num_feedforward_networks": 2},
    "both_flags": {"use_bottleneck_attention": True},
    "stream": {"key_query_shared_bottleneck": False, "num_feedforward_networks": 1},
    "wide_bottleneck": {"intra_bottleneck_size": 96, "num_attention_heads": 3},
    "odd_sizes": {"hidden_size": 50, "intermediate_size": 7, "intra_bottleneck_size": 33, "num_attention_heads": 3},
}


def make_batch(length: int = 13, masked: tuple[int, ...] = (13, 7, 0)) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Token ids and attention mask, [len(masked), length]; of each row ``masked`` tokens are kept."""
    ids = np.random.default_rng(0).integers(1, 60, [len(masked), length])
    mask = (np.arange(length) < np.array(masked)[:, None]).astype("int64")
    return paddle.to_tensor(ids), paddle.to_tensor(mask)
