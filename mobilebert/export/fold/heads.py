"""The heads of a folded program."""

from mobilebert.base.errors import InputError
from mobilebert.export.fold.writer import Stream, Writer
from mobilebert.export.program import Output, Scale, Vocabulary


def write_head(writer: Writer, head: str, stream: Stream) -> list[Output]:
    """Write a head over the last layer's output.

    Args:
        writer: of the program.
        head: a key of ``config.HEAD_CLASSES``.
        stream: what the last layer made.

    Returns:
        The program's results, named and ordered as the model's.
    """
    width = writer.config.hidden_size
    if head == "question-answering":
        writer.linear("qa_outputs", stream, writer.affine("qa_outputs"))
        names = ("start_logits", "end_logits")
        return [Output(name, "qa_outputs", i, i + 1, per_token=True, squeeze=True) for i, name in enumerate(names)]
    if head == "token-classification":
        return [_logits(writer, "logits", stream, "classifier", per_token=True)]
    if head == "masked-lm":
        return [_predictions(writer, "logits", stream)]
    first = writer.first_token(stream)
    if head == "next-sentence":
        return [_logits(writer, "logits", _pool(writer, first), "cls.seq_relationship")]
    if head in ("sequence-classification", "multiple-choice"):
        return [_logits(writer, "logits", _pool(writer, first), "classifier")]
    if head == "pretraining":
        predictions = _predictions(writer, "prediction_logits", stream)
        pooled = _pool(writer, first)
        return [predictions, _logits(writer, "seq_relationship_logits", pooled, "cls.seq_relationship")]
    if head == "model":
        hidden = _as_value(writer, stream)
        pooled = _as_value(writer, _pool(writer, first))
        return [
            Output("last_hidden_state", hidden, 0, width, per_token=True),
            Output("pooler_output", pooled, 0, width, per_token=False),
        ]
    raise InputError(f"unknown head {head!r}")


def _pool(writer: Writer, first_token: Stream) -> Stream:
    if not writer.config.classifier_activation:
        return first_token
    dense = writer.affine(f"{writer.backbone}pooler.dense")
    return writer.linear("pooled", first_token, dense, activation="tanh")


def _logits(writer: Writer, output: str, stream: Stream, dense: str, per_token: bool = False) -> Output:
    affine = writer.affine(dense)
    writer.linear(dense, stream, affine)
    return Output(output, dense, 0, len(affine.bias), per_token)


def _predictions(writer: Writer, output: str, stream: Stream) -> Output:
    """Logits over the vocabulary."""
    config, prefix = writer.config, "cls.predictions"
    writer.linear("transform", stream, writer.affine(f"{prefix}.transform.dense"), activation=config.hidden_act)
    hidden = writer.layer_norm("transform", f"{prefix}.transform", config.layer_norm_eps)
    dense = writer.weight("vocabulary.dense", writer.parameter(f"{prefix}.dense.weight"))
    bias = writer.weight("vocabulary.bias", writer.parameter(f"{prefix}.bias"))
    writer.operations.append(Vocabulary("vocabulary", hidden.value, "words", dense, bias))
    return Output(output, "vocabulary", 0, config.vocab_size, per_token=True)


def _as_value(writer: Writer, stream: Stream) -> str:
    """A value of the program that is the stream, scale and offset applied."""
    if (stream.scale == 1).all() and not stream.offset.any():
        return stream.value
    name = f"{stream.value}.plain"
    factor = writer.weight(f"{name}.factor", stream.scale)
    offset = writer.weight(f"{name}.offset", stream.offset)
    writer.operations.append(Scale(name, stream.value, factor, offset))
    return name
