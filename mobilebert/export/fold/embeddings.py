"""The embeddings of a folded program: words, positions, token types, and the way to hidden_size."""

import numpy as np

from mobilebert.export.fold.writer import Affine, Stream, Writer
from mobilebert.export.program import Positions, Words


def write_embeddings(writer: Writer) -> Stream:
    """Write the embeddings; gives the stream that the first layer reads."""
    config, prefix = writer.config, f"{writer.backbone}embeddings"
    words = writer.weight("words", writer.parameter(f"{prefix}.word_embeddings.weight"))
    writer.operations.append(Words("embedded", words, config.trigram_input))
    width = config.hidden_size
    if config.trigram_input or config.embedding_size != width:
        affine = writer.affine(f"{prefix}.embedding_transformation")
    else:
        affine = Affine(np.eye(width), np.zeros(width))  # rare, so a product is good enough for a sum
    positions = writer.parameter(f"{prefix}.position_embeddings.weight")
    token_types = writer.parameter(f"{prefix}.token_type_embeddings.weight")
    if writer.no_norm:
        gamma, beta = writer.norm(prefix)
        positions, token_types, affine = positions * gamma, token_types * gamma, affine.times(gamma)
    else:
        positions = positions + affine.bias  # each token has one position: no sum of its own for the bias
    positions = writer.weight("positions.table", positions)
    token_types = writer.weight("token_types.table", token_types)
    writer.operations.append(Positions("positions", positions, token_types))
    writer.product_plus("embeddings", "embedded", affine.weight, "positions")
    if writer.no_norm:
        return Stream("embeddings", np.ones(width), affine.bias + beta)
    return writer.layer_norm("embeddings", prefix, config.torch_layer_norm_eps)
