"""The seven task heads, their outputs and losses; arguments, fields and defaults as in transformers.

Every ``forward`` takes the backbone's arguments, in its order or by name (see ``MobileBertModel.forward``), and its own
labels by keyword. Heads compute in float32 under mixed precision: their input reaches 1e7 in the released weights.

    B batch   S tokens   H hidden_size   E embedding_size   V vocabulary   N num_labels   C choices   P masked positions
"""

import os
from dataclasses import dataclass
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from mobilebert.base.errors import InputError
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.modeling import (
    ACTIVATION_FUNCTIONS,
    MobileBertModel,
    MobileBertPreTrainedModel,
)
from mobilebert.model.outputs import BaseModelOutputWithPooling, ModelOutput


@dataclass
class ForPreTrainingOutput(ModelOutput):
    """``prediction_logits`` [B, S or P, V], ``seq_relationship_logits`` [B, 2]."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class LogitsOutput(ModelOutput):
    """``loss`` scalar where labels were given; ``logits`` as the head documents."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput):
    """``start_logits`` and ``end_logits`` [B, S]."""

    loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class _Head(MobileBertPreTrainedModel):
    """What the heads share: the backbone in ``self.mobilebert``, and how outputs are put together."""

    uses_pooler = True

    def __init__(self, config: MobileBertConfig):
        super().__init__(config)
        self.mobilebert = MobileBertModel(config, add_pooling_layer=self.uses_pooler)

    def _run(self, layer: nn.Layer, *inputs: Tensor) -> Tensor:
        """Run a head's layer in the parameters' own precision, whatever autocast the backbone runs under."""
        with paddle.amp.auto_cast(enable=False):
            return layer(*inputs)

    def _output(
        self, kind: type[ModelOutput], backbone: BaseModelOutputWithPooling, return_dict: bool, **values
    ) -> ModelOutput | tuple:
        output = kind(**values, hidden_states=backbone.hidden_states, attentions=backbone.attentions)
        return output if return_dict else output.to_tuple()


class _Classifier(_Head):
    """A head of dropout and one linear layer called ``classifier``."""

    def __init__(self, config: MobileBertConfig, num_outputs: int):
        super().__init__(config)
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, num_outputs)
        self.initialise_weights()


class LMPredictionHeadTransform(nn.Layer):
    """Dense, activation, LayerNorm: a real LayerNorm, also in a NoNorm model."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, epsilon=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, H]."""
        return self.LayerNorm(self.activation(self.dense(hidden)))


class LMPredictionHead(nn.Layer):
    """Logits over the vocabulary: h @ [word_embeddings | dense]^T + bias.

    The first E columns of the [V, H] matrix are the word embeddings themselves (tied), the other H - E are ``dense``,
    which where both sizes are equal is [V, 0] and counts for nothing.
    """

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.transform = LMPredictionHeadTransform(config)
        self.dense = nn.Linear(config.vocab_size, config.hidden_size - config.embedding_size, bias_attr=False)
        self.bias = self.create_parameter([config.vocab_size], is_bias=True)

    def forward(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        """[B, S, H], [V, E] -> [B, S, V]."""
        decoder = paddle.concat([word_embeddings, self.dense.weight], axis=1)  # [V, E], [V, H - E] -> [V, H]
        return paddle.matmul(self.transform(hidden), decoder, transpose_y=True) + self.bias


class PreTrainingHeads(nn.Layer):
    """Hugging Face's ``cls``: masked language modeling and/or next sentence prediction."""

    def __init__(self, config: MobileBertConfig, mlm: bool, nsp: bool):
        super().__init__()
        if mlm:
            if config.embedding_size > config.hidden_size:
                raise InputError(
                    f"embedding_size={config.embedding_size} is above hidden_size={config.hidden_size}: "
                    "the language modeling head has no place for it"
                )
            self.predictions = LMPredictionHead(config)
        if nsp:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)


class _LanguageModel(_Head):
    """Heads with logits over the vocabulary."""

    with_nsp = False

    def __init__(self, config: MobileBertConfig):
        super().__init__(config)
        self.cls = PreTrainingHeads(config, mlm=True, nsp=self.with_nsp)
        self.initialise_weights()

    def prediction_logits(self, hidden: Tensor) -> Tensor:
        """[..., H] of the last layer -> [..., V]."""
        return self._run(self.cls.predictions, hidden, self.get_input_embeddings().weight)

    def _vocabulary_parameters(self) -> list[tuple[nn.Layer, str]]:
        predictions = self.cls.predictions
        return [*super()._vocabulary_parameters(), (predictions.dense, "weight"), (predictions, "bias")]


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = -100, weight: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of the rows whose label is not ignored; 0 where all are ignored (torch says NaN there).

    Not Paddle's own, which divides by all rows where ``ignore_index`` is negative, and on a CPU cuts each row's loss at
    64: a fresh head's first logits are far beyond that, as its input reaches 1e7.

    Args:
        logits: [..., N] float.
        labels: [...] int, 0 to N - 1 or ``ignore_index``; of any shape with as many numbers.
        ignore_index: the label that is not counted.
        weight: [N] of the classes: the mean is then weighted by those of the rows' labels.

    Raises:
        InputError: a label outside the classes.

    Source: ``torch.nn.CrossEntropyLoss``.
    """
    num_classes = logits.shape[-1]
    logits, labels = logits.reshape([-1, num_classes]), labels.flatten()
    counted = labels != ignore_index
    classes = paddle.where(counted, labels, paddle.zeros_like(labels))
    for label in (int(classes.min()), int(classes.max())):
        if not 0 <= label < num_classes:
            raise InputError(f"label {label}: expected 0 to {num_classes - 1}, or {ignore_index} for none")
    logits = logits - logits.max(axis=-1, keepdim=True).detach()  # so that small losses are exact too
    chosen = paddle.take_along_axis(logits, classes.unsqueeze(-1), axis=-1).squeeze(-1)
    losses = paddle.logsumexp(logits, axis=-1) - chosen
    losses = paddle.where(counted, losses, paddle.zeros_like(losses))
    if weight is not None:
        weights = paddle.where(counted, weight.astype(losses.dtype)[classes], paddle.zeros_like(losses))
        return (losses * weights).sum() / weights.sum().clip(min=1e-30)
    return losses.sum() / counted.sum().clip(min=1).astype(losses.dtype)


def take_tokens(hidden: Tensor, positions: Tensor) -> Tensor:
    """[B, S, H], [B, P] int from 0 to S - 1 -> [B, P, H]."""
    batch, length, width = hidden.shape
    rows = positions + length * paddle.arange(batch).unsqueeze(1)
    return paddle.gather(hidden.reshape([-1, width]), rows.flatten()).reshape([batch, -1, width])


class MobileBertForPreTraining(_LanguageModel):
    """Masked language modeling and next sentence prediction together."""

    with_nsp = True

    def next_sentence_logits(self, pooled: Tensor) -> Tensor:
        """[B, H] of the pooler -> [B, 2], 0 = B follows A."""
        return self._run(self.cls.seq_relationship, pooled)

    def forward(
        self,
        *inputs: Tensor | None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        masked_positions: Tensor | None = None,
        return_dict: bool = True,
        **named_inputs: Tensor | bool | None,
    ) -> ForPreTrainingOutput | tuple:
        """``labels`` [B, S] int (-100 = not predicted); ``next_sentence_label`` [B] int, 0 = B follows A.

        With ``masked_positions`` [B, P] int the tokens there alone are predicted, and ``labels`` is [B, P]: the product
        with the vocabulary is the largest of the model. The loss is the sum of both and is there when both labels are,
        as in transformers.
        """
        backbone = self.mobilebert(*inputs, **named_inputs)
        hidden = backbone.last_hidden_state
        if masked_positions is not None:
            hidden = take_tokens(hidden, masked_positions)  # [B, S, H] -> [B, P, H]
        prediction_logits = self.prediction_logits(hidden)
        seq_relationship_logits = self.next_sentence_logits(backbone.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            next_sentence_loss = cross_entropy(seq_relationship_logits, next_sentence_label)
            loss = cross_entropy(prediction_logits, labels) + next_sentence_loss
        return self._output(
            ForPreTrainingOutput,
            backbone,
            return_dict,
            loss=loss,
            prediction_logits=prediction_logits,
            seq_relationship_logits=seq_relationship_logits,
        )


class MobileBertForMaskedLM(_LanguageModel):
    """Masked language modeling: logits [B, S, V]."""

    uses_pooler = False

    def forward(
        self,
        *inputs: Tensor | None,
        labels: Tensor | None = None,
        return_dict: bool = True,
        **named_inputs: Tensor | bool | None,
    ) -> LogitsOutput | tuple:
        """``labels`` [B, S] int, -100 = not predicted."""
        backbone = self.mobilebert(*inputs, **named_inputs)
        logits = self.prediction_logits(backbone.last_hidden_state)
        loss = None if labels is None else cross_entropy(logits, labels)
        return self._output(LogitsOutput, backbone, return_dict, loss=loss, logits=logits)


class MobileBertForNextSentencePrediction(_Head):
    """Does the second text follow the first? Logits [B, 2], class 0 = it does."""

    def __init__(self, config: MobileBertConfig):
        super().__init__(config)
        self.cls = PreTrainingHeads(config, mlm=False, nsp=True)
        self.initialise_weights()

    def forward(
        self,
        *inputs: Tensor | None,
        labels: Tensor | None = None,
        return_dict: bool = True,
        **named_inputs: Tensor | bool | None,
    ) -> LogitsOutput | tuple:
        """``labels`` [B] int, 0 = B follows A, 1 = B is random."""
        backbone = self.mobilebert(*inputs, **named_inputs)
        logits = self._run(self.cls.seq_relationship, backbone.pooler_output)
        loss = None if labels is None else cross_entropy(logits, labels)
        return self._output(LogitsOutput, backbone, return_dict, loss=loss, logits=logits)


class MobileBertForSequenceClassification(_Classifier):
    """One decision a text or pair: classes, several labels at once, or a number. Logits [B, N]."""

    def __init__(self, config: MobileBertConfig):
        super().__init__(config, config.num_labels)

    def forward(
        self,
        *inputs: Tensor | None,
        labels: Tensor | None = None,
        return_dict: bool = True,
        **named_inputs: Tensor | bool | None,
    ) -> LogitsOutput | tuple:
        """``labels``: [B] int (classes), [B, N] float (multi-label), [B] or [B, N] float (regression)."""
        backbone = self.mobilebert(*inputs, **named_inputs)
        logits = self._run(self.classifier, self.dropout(backbone.pooler_output))
        loss = None if labels is None else self._loss(logits, labels)
        return self._output(LogitsOutput, backbone, return_dict, loss=loss, logits=logits)

    def problem_type(self, labels: Tensor) -> str:
        """The configured problem type, or what shape and type of the labels say (as transformers decides)."""
        if self.config.problem_type is not None:
            return self.config.problem_type
        if self.config.num_labels == 1:
            return "regression"
        return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        problem_type = self.problem_type(labels)
        if problem_type == "single_label_classification":
            return cross_entropy(logits, labels)
        if problem_type == "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, labels.astype(logits.dtype))
        return F.mse_loss(logits.flatten(), labels.astype(logits.dtype).flatten())


class MobileBertForQuestionAnswering(_Head):
    """Where in the text does the answer start and end? Logits [B, S] each."""

    uses_pooler = False

    def __init__(self, config: MobileBertConfig):
        super().__init__(config)
        if config.num_labels != 2:
            raise InputError(f"num_labels={config.num_labels}: question answering has 2 (start, end)")
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.initialise_weights()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike, *, verify: bool = False, **overrides: Any
    ) -> "MobileBertForQuestionAnswering":
        """See ``MobileBertPreTrainedModel``; the classes of another head's checkpoint do not count here."""
        if not overrides.keys() & {"num_labels", "id2label"}:
            config = MobileBertConfig.from_pretrained(name_or_path, **overrides)
            adapted = config.for_head("question-answering")
            if adapted is not config:
                overrides |= {"num_labels": adapted.num_labels, "problem_type": adapted.problem_type}
        return super().from_pretrained(name_or_path, verify=verify, **overrides)

    def forward(
        self,
        *inputs: Tensor | None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool = True,
        **named_inputs: Tensor | bool | None,
    ) -> QuestionAnsweringModelOutput | tuple:
        """``start_positions``, ``end_positions`` [B] int, in tokens; a position past the row is ignored."""
        backbone = self.mobilebert(*inputs, **named_inputs)
        logits = self._run(self.qa_outputs, backbone.last_hidden_state)  # [B, S, H] -> [B, S, 2]
        start_logits, end_logits = logits[:, :, 0], logits[:, :, 1]
        loss = None
        if start_positions is not None and end_positions is not None:
            length = logits.shape[1]
            start_loss, end_loss = (
                cross_entropy(side, positions.clip(0, length), ignore_index=length)
                for side, positions in ((start_logits, start_positions), (end_logits, end_positions))
            )
            loss = (start_loss + end_loss) / 2
        return self._output(
            QuestionAnsweringModelOutput,
            backbone,
            return_dict,
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
        )


def _flatten_choices(value: Tensor | bool | None) -> Tensor | bool | None:
    """[B, C, ...] -> [B * C, ...]; flags pass through."""
    return value.flatten(0, 1) if isinstance(value, Tensor) else value


class MobileBertForMultipleChoice(_Classifier):
    """Which of C continuations fits? Inputs [B, C, S], logits [B, C]."""

    def __init__(self, config: MobileBertConfig):
        super().__init__(config, 1)

    def forward(
        self,
        *inputs: Tensor | None,
        labels: Tensor | None = None,
        return_dict: bool = True,
        **named_inputs: Tensor | bool | None,
    ) -> LogitsOutput | tuple:
        """Every input has one dimension more than elsewhere, [B, C, ...]; ``labels`` [B] int."""
        tensors = [value for value in (*inputs, *named_inputs.values()) if isinstance(value, Tensor)]
        num_choices = tensors[0].shape[1] if tensors else 1
        backbone = self.mobilebert(
            *map(_flatten_choices, inputs), **{name: _flatten_choices(value) for name, value in named_inputs.items()}
        )
        logits = self._run(self.classifier, self.dropout(backbone.pooler_output)).reshape([-1, num_choices])
        loss = None if labels is None else cross_entropy(logits, labels)
        return self._output(LogitsOutput, backbone, return_dict, loss=loss, logits=logits)


class MobileBertForTokenClassification(_Classifier):
    """One class a token. Logits [B, S, N]."""

    uses_pooler = False

    def __init__(self, config: MobileBertConfig):
        super().__init__(config, config.num_labels)

    def forward(
        self,
        *inputs: Tensor | None,
        labels: Tensor | None = None,
        return_dict: bool = True,
        **named_inputs: Tensor | bool | None,
    ) -> LogitsOutput | tuple:
        """``labels`` [B, S] int, -100 = ignored."""
        backbone = self.mobilebert(*inputs, **named_inputs)
        logits = self._run(self.classifier, self.dropout(backbone.last_hidden_state))
        loss = None if labels is None else cross_entropy(logits, labels)
        return self._output(LogitsOutput, backbone, return_dict, loss=loss, logits=logits)


HEADS: dict[str, type[MobileBertPreTrainedModel]] = {name: globals()[cls] for name, cls in HEAD_CLASSES.items()}
