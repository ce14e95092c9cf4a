"""MobileBERT's layers and backbone: the paper's figure 1(c), read from top to bottom.

Shapes in the trailing comments:

    B batch   S tokens   E embedding_size (128)   H hidden_size (512)   D true_hidden_size (128)
    F intermediate_size (512)   A attention heads   V vocabulary   d = D / A

Parameters carry Hugging Face's names, so a checkpoint's key is its own documentation. Linear weights are [in, out]
(Paddle), Hugging Face's are [out, in]; nothing else differs in shape. The residual stream reaches 1e7 in the
released weights: under mixed precision every norm and residual sum stays in float32 (precision.py has the products).
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute

from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.model import weights
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.inputs import check_ids, check_length, check_token_types
from mobilebert.model.outputs import BaseModelOutputWithPooling
from mobilebert.model.precision import Linear, matmul
from mobilebert.model.tensor_files import read_state

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate=True),
    "silu": F.silu,
    "swish": F.silu,
    "tanh": paddle.tanh,
    "sigmoid": F.sigmoid,
}


def fast_path(module: nn.Layer, inputs: Tensor, attention_bias: Tensor | None = None) -> Callable[..., Tensor] | None:
    """The one hook for speed: what computes this module's function faster on this machine, or none.

    Embeddings and encoder ask before each run; ``accel/dispatch.py`` answers, and documents arguments and result. It
    builds on this file, so it is found when it is first needed. ``MOBILEBERT_FUSED=0`` in the environment: always none.
    """
    if not paddle.in_dynamic_mode():  # a trace wants the operations written here
        return None
    return import_module("mobilebert.accel.dispatch").find(module, inputs, attention_bias)


class NoNorm(nn.Layer):
    """The paper's replacement of layer normalization: gamma * h + beta, without statistics (section 4.2)."""

    def __init__(self, size: int):
        super().__init__()
        self.weight = self.create_parameter([size], default_initializer=nn.initializer.Constant(1.0))
        self.bias = self.create_parameter([size], is_bias=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """``hidden`` [..., size], any float type -> the same shape in the parameters' type."""
        return hidden.astype(self.weight.dtype) * self.weight + self.bias


def make_norm(config: MobileBertConfig, size: int, epsilon: float | None = None) -> nn.Layer:
    """The configuration's norm over ``size`` features; ``epsilon`` replaces ``layer_norm_eps``."""
    if config.normalization_type == "no_norm":
        return NoNorm(size)
    return nn.LayerNorm(size, epsilon=config.layer_norm_eps if epsilon is None else epsilon)


class MobileBertEmbeddings(nn.Layer):
    """Tokens -> [B, S, H]: a 128-wide embedding, three neighbours side by side, one product up to H."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.pad_token_id = config.pad_token_id
        self.trigram_input = config.trigram_input
        width = config.embedding_size * (3 if config.trigram_input else 1)
        # No padding_idx: Paddle would return zeros for [PAD] whatever the row holds, torch returns the row.
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        # Hugging Face always creates this product and skips it where it would change nothing; so do we.
        self.embedding_transformation = Linear(width, config.hidden_size)
        self.transform = config.trigram_input or config.embedding_size != config.hidden_size
        self.LayerNorm = make_norm(config, config.hidden_size, config.torch_layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Ids [B, S] or ``inputs_embeds`` [B, S, E] -> [B, S, H]."""
        if inputs_embeds is None:
            inputs_embeds = self._embed_words(input_ids)  # [B, S] -> [B, S, E]
        length = inputs_embeds.shape[1]
        if position_ids is None:
            position_ids = paddle.arange(length).unsqueeze(0)
        if token_type_ids is None:
            token_type_ids = paddle.zeros([1, length], dtype="int64")
        if self.trigram_input:
            # [next, current, previous]: it looks reversed and is right; zeros beyond both ends.
            following = F.pad(inputs_embeds[:, 1:], [0, 1], data_format="NLC")
            previous = F.pad(inputs_embeds[:, :-1], [1, 0], data_format="NLC")
            inputs_embeds = paddle.concat([following, inputs_embeds, previous], axis=2)  # [B, S, 3E]
        fast = fast_path(self, inputs_embeds) if self.transform else None
        if fast is not None:
            return self.dropout(fast(self, inputs_embeds, position_ids, token_type_ids))
        if self.transform:
            inputs_embeds = self.embedding_transformation(inputs_embeds)  # [B, S, 3E] -> [B, S, H]
        position_embeddings = self.position_embeddings(position_ids)
        embeddings = inputs_embeds.astype(position_embeddings.dtype) + position_embeddings
        embeddings = embeddings + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(embeddings))

    def _embed_words(self, input_ids: Tensor) -> Tensor:
        embedded = self.word_embeddings(input_ids)
        # A trace in eval mode is for exports and pictures, which want no more operations than they need.
        wants_gradients = paddle.is_grad_enabled() and (self.training or paddle.in_dynamic_mode())
        if self.pad_token_id is None or not wants_gradients:
            return embedded
        # torch's padding_idx: the row is read, and a lookup gives it no gradient. (Google's code lets it learn.)
        is_padding = (input_ids == self.pad_token_id).unsqueeze(-1)
        return paddle.where(is_padding, embedded.detach(), embedded)


class MobileBertSelfAttention(nn.Layer):
    """Multi-head attention whose query and key read one tensor and whose value reads another."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.scaling = (config.true_hidden_size // config.num_attention_heads) ** -0.5
        self.query = Linear(config.query_key_input_size, config.true_hidden_size)
        self.key = Linear(config.query_key_input_size, config.true_hidden_size)
        self.value = Linear(config.value_input_size, config.true_hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self, query_input: Tensor, key_input: Tensor, value_input: Tensor, attention_bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Inputs [B, S, D] (value: [B, S, H]) -> context [B, S, D], probabilities [B, A, S, S]."""
        query = self._split_heads(self.query(query_input))  # [B, A, S, d]
        key = self._split_heads(self.key(key_input))
        value = self._split_heads(self.value(value_input))
        scores = matmul(query, key, transpose_y=True) * self.scaling  # [B, A, S, S]
        if attention_bias is not None:
            scores = scores + attention_bias
        probabilities = self.dropout(F.softmax(scores, axis=-1))
        context = matmul(probabilities, value).transpose([0, 2, 1, 3])  # [B, S, A, d]
        return context.flatten(2), probabilities

    def _split_heads(self, hidden: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        return hidden.reshape([batch, length, self.num_heads, width // self.num_heads]).transpose([0, 2, 1, 3])


class DenseResidualNorm(nn.Layer):
    """norm(dense(hidden) + residual): how every sub-layer of MobileBERT ends.

    Serves as Hugging Face's SelfOutput, FFNOutput and OutputBottleneck; its dropout acts between product and sum.
    """

    def __init__(
        self,
        config: MobileBertConfig,
        in_size: int,
        out_size: int,
        dropout: float = 0.0,
        epsilon: float | None = None,
    ):
        super().__init__()
        self.dense = Linear(in_size, out_size)
        self.LayerNorm = make_norm(config, out_size, epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """``hidden`` [B, S, in_size], ``residual`` [B, S, out_size] -> [B, S, out_size]."""
        return self.LayerNorm(self.dropout(self.dense(hidden)).astype(residual.dtype) + residual)


class MobileBertAttention(nn.Layer):
    """Self-attention and its output product, with the residual from ``bottleneck.input``."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.self = MobileBertSelfAttention(config)
        dropout = 0.0 if config.use_bottleneck else config.hidden_dropout_prob
        self.output = DenseResidualNorm(config, config.true_hidden_size, config.true_hidden_size, dropout)

    def forward(
        self,
        query_input: Tensor,
        key_input: Tensor,
        value_input: Tensor,
        residual: Tensor,
        attention_bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """-> [B, S, D], probabilities [B, A, S, S]."""
        context, probabilities = self.self(query_input, key_input, value_input, attention_bias)
        return self.output(context, residual), probabilities


class MobileBertIntermediate(nn.Layer):
    """The widening half of a feed-forward network."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.dense = Linear(config.true_hidden_size, config.intermediate_size)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, F]."""
        return self.activation(self.dense(hidden))


class FFNLayer(nn.Layer):
    """One of the stacked feed-forward networks (all but the layer's last)."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.intermediate = MobileBertIntermediate(config)
        self.output = DenseResidualNorm(config, config.intermediate_size, config.true_hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]."""
        return self.output(self.intermediate(hidden), hidden)


class MobileBertOutput(DenseResidualNorm):
    """The end of the last feed-forward network, and the way out of the bottleneck."""

    def __init__(self, config: MobileBertConfig):
        dropout = 0.0 if config.use_bottleneck else config.hidden_dropout_prob
        super().__init__(
            config, config.intermediate_size, config.true_hidden_size, dropout, config.torch_layer_norm_eps
        )
        self.use_bottleneck = config.use_bottleneck
        if config.use_bottleneck:
            self.bottleneck = DenseResidualNorm(
                config, config.true_hidden_size, config.hidden_size, config.hidden_dropout_prob
            )

    def forward(self, intermediate: Tensor, residual: Tensor, layer_input: Tensor) -> Tensor:
        """``intermediate`` [B, S, F], ``residual`` [B, S, D], ``layer_input`` [B, S, H] -> [B, S, H]."""
        hidden = super().forward(intermediate, residual)
        return self.bottleneck(hidden, layer_input) if self.use_bottleneck else hidden


class BottleneckLayer(nn.Layer):
    """The way into the bottleneck: one product and its norm."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intra_bottleneck_size)
        self.LayerNorm = make_norm(config, config.intra_bottleneck_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, D]."""
        return self.LayerNorm(self.dense(hidden))


class Bottleneck(nn.Layer):
    """Chooses what query, key, value and the attention's residual read (paper, section 3.2 and table 1)."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.use_bottleneck_attention = config.use_bottleneck_attention
        self.key_query_shared_bottleneck = config.key_query_shared_bottleneck
        self.input = BottleneckLayer(config)
        if config.key_query_shared_bottleneck:
            self.attention = BottleneckLayer(config)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, S, H] -> inputs of query, key, value, and the residual [B, S, D]."""
        residual = self.input(hidden)
        if self.use_bottleneck_attention:
            return residual, residual, residual, residual
        if self.key_query_shared_bottleneck:
            shared = self.attention(hidden)
            return shared, shared, hidden, residual  # V reads the raw stream
        return hidden, hidden, hidden, residual


class MobileBertLayer(nn.Layer):
    """One transformer block: into the bottleneck, attention, feed-forward networks, out again."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.attention = MobileBertAttention(config)
        self.intermediate = MobileBertIntermediate(config)
        self.output = MobileBertOutput(config)
        self.bottleneck = Bottleneck(config) if config.use_bottleneck else None
        self.ffn = nn.LayerList([FFNLayer(config) for _ in range(config.num_feedforward_networks - 1)])

    def forward(
        self, layer_input: Tensor, attention_bias: Tensor | None, fast: Callable[..., Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """``layer_input`` [B, S, H] -> [B, S, H], attention probabilities [B, A, S, S] (none where ``fast``)."""
        if fast is not None:
            return fast(self, layer_input), None
        if self.bottleneck is None:
            query_input = key_input = value_input = residual = layer_input
        else:
            query_input, key_input, value_input, residual = self.bottleneck(layer_input)
        hidden, probabilities = self.attention(query_input, key_input, value_input, residual, attention_bias)
        for ffn in self.ffn:
            hidden = ffn(hidden)
        return self.output(self.intermediate(hidden), hidden, layer_input), probabilities


class MobileBertEncoder(nn.Layer):
    """The stack of layers.

    Attributes:
        recompute: keep only each layer's input for the backward pass, which runs the layer again, dropout included:
            gradients are the same, memory is less, time is more (docs/performance.md).
    """

    recompute = False

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.layer = nn.LayerList([MobileBertLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(
        self,
        hidden: Tensor,
        attention_bias: Tensor | None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None, tuple[Tensor, ...] | None]:
        """[B, S, H] -> [B, S, H]; input and each layer's output; each layer's probabilities; none where not asked."""
        fast = None if output_attentions else fast_path(self, hidden, attention_bias)
        # What nobody asked for is let go at once: where no gradients are wanted, the next layer takes its memory.
        hidden_states = (hidden,) if output_hidden_states else None
        attentions = () if output_attentions else None
        recomputes = self.recompute and not output_attentions and paddle.in_dynamic_mode() and paddle.is_grad_enabled()
        for layer in self.layer:
            # An input without a gradient, behind frozen embeddings, would hide the layer's parameters from autograd.
            if recomputes and not hidden.stop_gradient:
                # The bias is bound, not an argument: none of it wants a gradient.
                hidden = recompute(lambda inputs, layer=layer: layer(inputs, attention_bias, fast)[0], hidden)
                probabilities = None
            else:
                hidden, probabilities = layer(hidden, attention_bias, fast)
            if hidden_states is not None:
                hidden_states += (hidden,)
            if attentions is not None:
                attentions += (probabilities,)
        return hidden, hidden_states, attentions


class MobileBertPooler(nn.Layer):
    """The [CLS] vector, raw or (``classifier_activation``) through a dense layer and tanh."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size) if config.classifier_activation else None

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, H]."""
        first_token = hidden[:, 0]
        if self.dense is None:
            return first_token
        with paddle.amp.auto_cast(enable=False):  # in float32, as the heads
            return paddle.tanh(self.dense(first_token))


def attention_bias(attention_mask: Tensor | None, dtype: paddle.dtype) -> Tensor | None:
    """What is added to the attention scores: 0 where a token may be seen, the type's lowest number elsewhere.

    Args:
        attention_mask: [B, S] or [B, 1 or A, S, S], 1 (or True) = may be seen; a 4-D *float* mask is itself the bias.
        dtype: float type of the scores.

    Returns:
        Shape [B, 1, 1, S], or the 4-D mask's.

    Source: transformers' eager attention; a row that may see nothing attends evenly, as there.
    """
    if attention_mask is None:
        return None
    if attention_mask.ndim not in (2, 4):
        shape = list(attention_mask.shape)
        raise InputError(f"attention_mask has shape {shape}: expected [batch, tokens] or 4 dimensions")
    if attention_mask.ndim == 2:
        attention_mask = attention_mask.unsqueeze([1, 2])
    elif attention_mask.is_floating_point():
        return attention_mask.astype(dtype)
    return (1 - attention_mask.astype(dtype)) * paddle.finfo(dtype).min


AnyModel = TypeVar("AnyModel", bound="MobileBertPreTrainedModel")


class MobileBertPreTrainedModel(nn.Layer):
    """What every model here has: a config, weights in and out of a folder, growing word matrices."""

    def __init__(self, config: MobileBertConfig):
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls: type[AnyModel], name_or_path: str | os.PathLike, *, verify: bool = False, **overrides: Any
    ) -> AnyModel:
        """Load config and weights from a folder, or from the hub where ``name_or_path`` is no folder.

        Reads Paddle's ``model.safetensors`` or ``model_state.pdparams``, and PyTorch's ``model.safetensors`` (known by
        its header) or ``pytorch_model.bin`` (``torch_pickle``). What the checkpoint lacks (a new head) is
        freshly initialised and listed in ``model.load_report.initialised``.

        Args:
            name_or_path: a folder with ``config.json`` and weights, or a hub name.
            verify: compare the digests of all files that the folder has noted, not only up to 128 MiB.
            overrides: config fields to change, for example ``num_labels=3``.

        Returns:
            The model, in evaluation mode.

        Raises:
            InputError: no weights, a tensor of another shape, none that fits this model, or files that are not what
                the folder has noted (``base.digests``).
        """
        folder = weights.resolve_folder(name_or_path)
        if verify:
            digests.check_all(folder)
        config = MobileBertConfig.from_pretrained(folder, **overrides)
        state, layout = read_state(folder)
        weights.check_size(config, state, str(folder))
        model = cls(config)
        model.load_report = weights.load_into(model, state, layout, folder)
        model.eval()
        return model

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write ``config.json`` and ``model.safetensors`` (Paddle layout) into ``folder``, created where missing."""
        folder = Path(folder)
        weights.save_model(self, folder)
        extra = {**self.config.extra, "architectures": [type(self).__name__]}
        replace(self.config, num_labels=None, extra=extra).save_pretrained(folder)

    def resize_token_embeddings(self, num_tokens: int) -> nn.Embedding:
        """Grow or shrink every matrix over the vocabulary; new rows are the mean of the old, as in transformers."""
        config = replace(self.config, vocab_size=num_tokens)  # refuses an impossible size before anything changes
        for layer, name in self._vocabulary_parameters():
            old = getattr(layer, name)
            rows = old[: min(num_tokens, old.shape[0])]
            added = num_tokens - rows.shape[0]
            mean = old.mean(axis=0, keepdim=True)
            value = paddle.concat([rows, mean.expand([added, *old.shape[1:]])]) if added else rows
            new = layer.create_parameter(value.shape, dtype=old.dtype)
            new.set_value(value)
            setattr(layer, name, new)
        self.config = config
        self.get_input_embeddings()._num_embeddings = num_tokens
        return self.get_input_embeddings()

    def set_recompute(self, enabled: bool) -> None:
        """Whether training runs each encoder layer again in the backward pass instead of keeping what it computed."""
        getattr(self, "mobilebert", self).encoder.recompute = enabled

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embedding layer."""
        return getattr(self, "mobilebert", self).embeddings.word_embeddings

    def _vocabulary_parameters(self) -> list[tuple[nn.Layer, str]]:
        return [(self.get_input_embeddings(), "weight")]

    def initialise_weights(self) -> None:
        """Draw all weights anew: normal(0, initializer_range), biases 0, norms 1 and 0, the [PAD] row 0."""
        normal = nn.initializer.Normal(0.0, self.config.initializer_range)
        for layer in self.sublayers(include_self=True):
            if isinstance(layer, nn.Linear | nn.Embedding):
                normal(layer.weight)
        if self.config.pad_token_id is not None:
            with paddle.no_grad():
                self.get_input_embeddings().weight[self.config.pad_token_id] = 0.0


class MobileBertModel(MobileBertPreTrainedModel):
    """The backbone without a head.

    Args:
        config: sizes and rules.
        add_pooling_layer: whether ``pooler_output`` is computed.
    """

    def __init__(self, config: MobileBertConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.embeddings = MobileBertEmbeddings(config)
        self.encoder = MobileBertEncoder(config)
        self.pooler = MobileBertPooler(config) if add_pooling_layer else None
        self.initialise_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool = True,
    ) -> BaseModelOutputWithPooling | tuple:
        """Run the backbone.

        Args:
            input_ids: [B, S] int; or ``inputs_embeds`` [B, S, E] float instead.
            attention_mask: [B, S], 1 = token, 0 = padding; none = all tokens. 4-D: see ``attention_bias``.
            token_type_ids: [B, S] int, 0 = first text, 1 = second; none = 0.
            position_ids: [B, S] int; none = 0, 1, 2, ...
            output_hidden_states: also return the embeddings and each layer's output.
            output_attentions: also return each layer's attention probabilities.
            return_dict: false returns the tuple of the fields that are set.

        Raises:
            InputError: not exactly one of ``input_ids`` and ``inputs_embeds``, an empty batch, more tokens than
                positions, ids that have no row, or pairs where ``type_vocab_size`` is 1.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("pass exactly one of input_ids and inputs_embeds")
        name, given = ("inputs_embeds", inputs_embeds) if input_ids is None else ("input_ids", input_ids)
        batch, length = given.shape[:2]
        if batch == 0 or length == 0:  # a trace's unknown sizes are -1
            shape = list(given.shape)
            raise InputError(f"{name} has shape {shape}: an empty batch; pass at least one row of at least one token")
        check_length(length, self.config.max_position_embeddings)
        self._check_ids(input_ids, token_type_ids, position_ids)
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        bias = attention_bias(attention_mask, embedded.dtype)
        hidden, hidden_states, attentions = self.encoder(embedded, bias, output_hidden_states, output_attentions)
        output = BaseModelOutputWithPooling(
            last_hidden_state=hidden,
            pooler_output=None if self.pooler is None else self.pooler(hidden),
            hidden_states=hidden_states,
            attentions=attentions,
        )
        return output if return_dict else output.to_tuple()

    def _check_ids(self, input_ids: Tensor | None, token_type_ids: Tensor | None, position_ids: Tensor | None) -> None:
        """Refuse ids without a row, which Paddle may look up all the same. Under 0.1 ms on a CPU."""
        if not paddle.in_dynamic_mode():
            return
        tables = self.embeddings
        checks = (
            (input_ids, tables.word_embeddings, partial(check_ids, "input_ids")),
            (token_type_ids, tables.token_type_embeddings, check_token_types),
            (position_ids, tables.position_embeddings, partial(check_ids, "position_ids")),
        )
        for ids, table, check in checks:
            rows = table.weight.shape[0]
            # Where a GPU trains, a look waits for all that runs; only where pairs have no place at all it is taken.
            if ids is not None and (ids.place.is_cpu_place() or not paddle.is_grad_enabled() or rows == 1):
                check(ids.numpy(), rows)
