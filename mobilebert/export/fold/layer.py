"""One layer of a folded program: attention, feed-forward networks, and the way out of the bottleneck."""

from mobilebert.export.fold.attention import write_attention
from mobilebert.export.fold.writer import Stream, Writer


def write_layer(writer: Writer, index: int, stream: Stream) -> Stream:
    """Write layer ``index`` over ``stream``; gives the next layer's input."""
    config, name, prefix = writer.config, f"layer{index}", f"{writer.backbone}encoder.layer.{index}"
    hidden = write_attention(writer, name, prefix, stream)
    last = config.num_feedforward_networks - 1
    for number in range(last):
        output = f"{name}.ffn{number}"
        hidden = _feed_forward(writer, output, f"{prefix}.ffn.{number}", hidden, config.layer_norm_eps)
    # transformers builds the last one's norm without passing the configuration's epsilon.
    hidden = _feed_forward(writer, f"{name}.ffn{last}", prefix, hidden, config.torch_layer_norm_eps)
    if not config.use_bottleneck:
        return hidden
    return writer.add_and_norm(f"{name}.output", hidden, f"{prefix}.output.bottleneck", stream, config.layer_norm_eps)


def _feed_forward(writer: Writer, name: str, prefix: str, stream: Stream, epsilon: float) -> Stream:
    dense = writer.affine(f"{prefix}.intermediate.dense")
    hidden = writer.linear(f"{name}.intermediate", stream, dense, activation=writer.config.hidden_act)
    return writer.add_and_norm(f"{name}.output", hidden, f"{prefix}.output", stream, epsilon)
