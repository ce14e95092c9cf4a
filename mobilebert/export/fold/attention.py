"""The self-attention of a folded program, up to the norm behind its output product."""

import numpy as np

from mobilebert.export.fold.writer import Stream, Writer
from mobilebert.export.program import Attention


def write_attention(writer: Writer, name: str, prefix: str, stream: Stream) -> Stream:
    """Write a layer's self-attention: what reads what is chosen as in ``modeling.Bottleneck.forward``.

    Args:
        writer: of the program.
        name: of the layer's values in the program.
        prefix: of the layer's parameters.
        stream: the layer's input.

    Returns:
        norm(output(context) + residual).
    """
    config, layer = writer.config, _AttentionParts(writer, name, prefix)
    if not config.use_bottleneck:
        query, key, value = layer.query(stream), layer.key(stream), layer.value(stream)
        return layer.output(layer.context(query, key, value), residual=stream)

    if config.use_bottleneck_attention:
        hidden = layer.bottleneck("residual", "input", stream)
        query, key, value = layer.query(hidden), layer.key(hidden), layer.value(hidden)
        return layer.output(layer.context(query, key, value), residual=hidden)

    # Nothing but the residual sum reads this one, so it is made as that sum needs it.
    residual = layer.bottleneck_for_sum(stream)
    if config.key_query_shared_bottleneck:
        shared = layer.bottleneck("shared", "attention", stream)
        value = layer.value(stream)
        query, key = layer.query(shared), layer.key(shared)
    else:
        query, key, value = layer.query(stream), layer.key(stream), layer.value(stream)
    return layer.output_of_sum(layer.context(query, key, value), residual)


class _AttentionParts:
    """The products of one layer's attention.

    Each is a product of its own: taking the columns of one large product apart again costs a copy, which is slower in
    ONNX Runtime and in Paddle Inference.
    """

    def __init__(self, writer: Writer, name: str, prefix: str):
        self.writer, self.name, self.prefix = writer, name, prefix
        self.config = writer.config

    def bottleneck(self, part: str, which: str, stream: Stream, factor: np.ndarray | float = 1.0) -> Stream:
        """The product and norm of ``bottleneck.<which>``, multiplied by ``factor`` (which a LayerNorm cannot be)."""
        name, prefix = f"{self.name}.{part}", f"{self.prefix}.bottleneck.{which}"
        dense = self.writer.affine(f"{prefix}.dense")
        if self.writer.no_norm:
            gamma, beta = self.writer.norm(prefix)
            return self.writer.linear_without_bias(name, stream, dense.times(gamma).plus(beta).times(factor))
        self.writer.linear(name, stream, dense)
        return self.writer.layer_norm(name, prefix, self.config.layer_norm_eps)

    def query(self, stream: Stream) -> Stream:
        """The query, divided by sqrt(head size)."""
        dense = self.writer.affine(f"{self.prefix}.attention.self.query")
        head_size = self.config.true_hidden_size // self.config.num_attention_heads
        return self.writer.linear(f"{self.name}.query", stream, dense.times(head_size**-0.5))

    def key(self, stream: Stream) -> Stream:
        """The key; softmax cancels its offset."""
        dense = self.writer.affine(f"{self.prefix}.attention.self.key")
        return self.writer.linear_without_bias(f"{self.name}.key", stream, dense)

    def value(self, stream: Stream) -> Stream:
        """The value; its offset passes through the attention."""
        dense = self.writer.affine(f"{self.prefix}.attention.self.value")
        return self.writer.linear_without_bias(f"{self.name}.value", stream, dense)

    def context(self, query: Stream, key: Stream, value: Stream) -> Stream:
        """softmax(query @ key^T + mask) @ value."""
        name = f"{self.name}.context"
        heads = self.config.num_attention_heads
        self.writer.operations.append(Attention(name, query.value, key.value, value.value, heads))
        return Stream(name, value.scale, value.offset)

    def output(self, context: Stream, residual: Stream) -> Stream:
        """norm(output(context) + residual)."""
        name, prefix = f"{self.name}.attention.output", f"{self.prefix}.attention.output"
        return self.writer.add_and_norm(name, context, prefix, residual, self.config.layer_norm_eps)

    def bottleneck_for_sum(self, stream: Stream) -> Stream:
        """``bottleneck.input``, multiplied by the gamma of the attention output's NoNorm where there is one."""
        gamma = self.writer.norm(f"{self.prefix}.attention.output")[0] if self.writer.no_norm else 1.0
        return self.bottleneck("residual", "input", stream, gamma)

    def output_of_sum(self, context: Stream, residual: Stream) -> Stream:
        """As ``output``, for a residual of ``bottleneck_for_sum``."""
        if not self.writer.no_norm:
            return self.output(context, residual)
        prefix = f"{self.prefix}.attention.output"
        return self.writer.add_to_multiplied(f"{self.name}.attention.output", context, prefix, residual)
