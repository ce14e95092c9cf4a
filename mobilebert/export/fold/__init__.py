"""Exact folding: a checkpoint becomes a program without NoNorms.

NoNorm is gamma * x + beta. Written out over a whole layer, every gamma and beta ends up in a weight or bias next to it:

- A stream x between layers (or within one) is carried as the matrix u that exists at run time and two vectors, with
  x = scale * u + offset. Who reads x takes the scale into the rows of its weight and the offset into its bias; who adds
  to x divides its weight's columns by the scale, so the residual sum needs no multiplication.
- A division needs a scale that is neither 0 nor extreme. Otherwise (or everywhere, with ``divide=False``) gamma goes
  into the columns of the producer's weight, one multiplication of the residual stays, and the scale is 1 again.
- The key's bias is the same for all keys of a query, so softmax cancels it; the value's bias passes through the
  attention, whose weights sum to 1, into the bias of the output product.

Everything is computed in float64. LayerNorm configurations keep their norms and get the fused products only.
"""

from collections.abc import Mapping

import numpy as np

from mobilebert.export.fold.embeddings import write_embeddings
from mobilebert.export.fold.first_token import narrow_to_first_token
from mobilebert.export.fold.heads import write_head
from mobilebert.export.fold.layer import write_layer
from mobilebert.export.fold.writer import Writer
from mobilebert.export.program import Program
from mobilebert.model.config import MobileBertConfig


def fold(
    config: MobileBertConfig,
    state: Mapping[str, np.ndarray],
    head: str,
    *,
    divide: bool = True,
) -> Program:
    """Fold a checkpoint.

    Args:
        config: its configuration.
        state: its parameters by name, linear weights [in, out], as ``weights.model_state`` gives them.
        head: a key of ``heads.HEADS``.
        divide: carry scales along the residual streams, which is fastest; without, one multiplication a sum stays and
            activations keep their size, which is what int8 wants.

    Returns:
        The program, weights in float64. Heads that read [CLS] alone compute the last layer for [CLS] alone.

    Raises:
        InputError: a parameter is missing or not finite.
    """
    writer = Writer(config, state, divide)
    stream = write_embeddings(writer)
    for index in range(config.num_hidden_layers):
        stream = write_layer(writer, index, stream)
    outputs = write_head(writer, head, stream)
    program = Program(writer.operations, writer.weights, outputs, choices=head == "multiple-choice")
    return narrow_to_first_token(program)
