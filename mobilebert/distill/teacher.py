"""A teacher at work: one pass without gradients a batch, or none where its outputs are kept on disk.

B batch   S tokens   H hidden_size   A attention heads   P masked tokens of a row   V vocabulary
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor

from mobilebert.distill.cache import OutputCache
from mobilebert.distill.layers import run_layers
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForPreTraining, take_tokens

ROWS = "rows"  # key of a batch: which rows of the train set it holds [B]


@dataclass(frozen=True)
class Wanted:
    """What of a teacher is asked for.

    Attributes:
        first, last: layers whose outputs are, from 0, both included; none where ``last`` is below ``first``.
        attentions: of these layers too.
        masked: the last layer's output at the masked tokens.
        maps: the outputs of these layers; their attentions alone where not.
    """

    first: int
    last: int
    attentions: bool
    masked: bool
    maps: bool = True


@dataclass(frozen=True)
class TeacherOutput:
    """What a teacher made of a batch.

    Attributes:
        layers: output [B, S, H] and attention [B, A, S, S] of each layer that was asked for, or none.
        masked: [B, P, H], or none.
    """

    layers: list[tuple[Tensor | None, Tensor | None]]
    masked: Tensor | None


def cache_shapes(
    config: MobileBertConfig, max_seq_length: int, max_masked: int, wanted: Iterable[Wanted]
) -> dict[str, tuple[int, ...]]:
    """The arrays of one row that ``OutputCache`` has to hold for all that is ever wanted."""
    shapes: dict[str, tuple[int, ...]] = {}
    for one in wanted:
        for index in range(one.first, one.last + 1):
            if one.maps:
                shapes[f"map{index}"] = (max_seq_length, config.hidden_size)
            if one.attentions:
                shapes[f"attention{index}"] = (config.num_attention_heads, max_seq_length, max_seq_length)
        if one.masked:
            shapes["masked"] = (max_masked, config.hidden_size)
    return shapes


class Teacher:
    """A trained model that a student learns from.

    Args:
        model: in evaluation mode; its parameters stay as they are.
        cache: where its outputs are kept; a batch then says in ``rows`` which it holds. None computes them each time.
    """

    def __init__(self, model: MobileBertForPreTraining, cache: OutputCache | None = None):
        self.model = model
        self._cache = cache

    @paddle.no_grad()
    def look(self, batch: Mapping[str, Tensor], wanted: Wanted) -> TeacherOutput:
        """What the teacher makes of a batch."""
        if self._cache is None:
            return self._output(self._run(batch, wanted), wanted)
        rows, length = batch[ROWS].numpy(), batch["input_ids"].shape[1]
        masked = batch["masked_positions"].shape[1]
        found: dict[str, np.ndarray] = {}
        here = np.ones(len(rows), bool)
        for name in self._names(wanted):
            values, there = self._cache.read(name, rows)
            found[name], here = self._cut(name, values, length, masked), here & there
        if not here.all():
            # The whole batch, as a smaller one may have other last bits: a run that was killed within it had the whole.
            for name, tensor in self._run(batch, wanted).items():
                made = tensor.astype("float32").numpy()[~here]
                self._cache.write(name, rows[~here], made)
                found[name][~here] = made
        return self._output({name: paddle.to_tensor(values) for name, values in found.items()}, wanted)

    @paddle.no_grad()
    def logits(self, masked: Tensor) -> Tensor:
        """[..., H] of the last layer -> [..., V]."""
        return self.model.prediction_logits(masked)

    def _run(self, batch: Mapping[str, Tensor], wanted: Wanted) -> dict[str, Tensor]:
        """The named arrays of a batch, in one pass; no layer above the last one that is wanted."""
        backbone = self.model.mobilebert
        top = backbone.config.num_hidden_layers - 1
        last = top if wanted.masked else wanted.last
        first = wanted.first if wanted.first <= wanted.last else top
        layers = run_layers(backbone, batch, first, last, wanted.attentions)
        arrays: dict[str, Tensor] = {}
        for index, (hidden, attention) in enumerate(layers[: wanted.last - wanted.first + 1], wanted.first):
            if wanted.maps:
                arrays[f"map{index}"] = hidden
            if wanted.attentions:
                arrays[f"attention{index}"] = attention
        if wanted.masked:
            arrays["masked"] = take_tokens(layers[-1][0], batch["masked_positions"])
        return arrays

    @staticmethod
    def _names(wanted: Wanted) -> list[str]:
        layers = range(wanted.first, wanted.last + 1)
        names = [f"map{index}" for index in layers if wanted.maps]
        names += [f"attention{index}" for index in layers if wanted.attentions]
        return names + ["masked"] * wanted.masked

    @staticmethod
    def _cut(name: str, values: np.ndarray, length: int, masked: int) -> np.ndarray:
        """Rows of the cache's shape -> of the batch's."""
        if name == "masked":
            return values[:, :masked].copy()
        return (values[:, :, :length, :length] if name.startswith("attention") else values[:, :length]).copy()

    @staticmethod
    def _output(arrays: Mapping[str, Tensor], wanted: Wanted) -> TeacherOutput:
        layers = [
            (arrays.get(f"map{index}"), arrays.get(f"attention{index}"))
            for index in range(wanted.first, wanted.last + 1)
        ]
        return TeacherOutput(layers, arrays.get("masked"))
