"""What goes into both models, and their outputs by common names."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mobilebert.model.config import MobileBertConfig

_LOGIT_FIELDS = (
    "pooler_output",
    "logits",
    "prediction_logits",
    "seq_relationship_logits",
    "start_logits",
    "end_logits",
)


Batch = dict[str, np.ndarray]
Outputs = dict[str, np.ndarray]


def make_batches(config: MobileBertConfig, lengths: list[int], seed: int = 0, rows: int = 3) -> Iterator[Batch]:
    """Random token batches: one of each length, rows padded to different degrees, two segments.

    Yields:
        ``input_ids``, ``attention_mask``, ``token_type_ids``: [rows, length] int64.
    """
    generator = np.random.default_rng(seed)
    for length in lengths:
        real = np.maximum(np.linspace(length, 1, rows).astype(int), 1)[:, None]  # the last row is nearly all padding
        position = np.arange(length)[None]
        mask = position < real
        padding = config.pad_token_id or 0
        ids = generator.integers(0, config.vocab_size, (rows, length))
        segments = (position >= (real + 1) // 2) & mask & (config.type_vocab_size > 1)
        yield {
            "input_ids": np.where(mask, ids, padding).astype("int64"),
            "attention_mask": mask.astype("int64"),
            "token_type_ids": segments.astype("int64"),
        }


def shaped(head: str, batch: Batch) -> Batch:
    """Multiple choice wants [batch, choices, tokens]: the rows, and the rows in reverse order."""
    if head != "multiple-choice":
        return batch
    return {key: np.stack([value, value[::-1]], axis=1) for key, value in batch.items()}


def named_outputs(output: Mapping[str, Any], head: str, to_numpy: Callable[[Any], np.ndarray]) -> Outputs:
    """A model's outputs by name: the embeddings' and each layer's of the backbone, the logits of a head.

    Args:
        output: of the model, with ``hidden_states`` if it is the backbone.
        head: a name of ``HEADS``.
        to_numpy: makes an array of a tensor.
    """
    named = {}
    if head == "model":
        for depth, hidden in enumerate(output["hidden_states"]):
            named["embeddings" if depth == 0 else f"encoder.layer.{depth - 1}"] = to_numpy(hidden)
    keys = set(output.keys())
    for key in _LOGIT_FIELDS:
        if key in keys:
            named["pooler" if key == "pooler_output" else key] = to_numpy(output[key])
    return named
