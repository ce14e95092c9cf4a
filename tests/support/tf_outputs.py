"""A model's outputs, ours and transformers', in float64 and under the names of ``google_mobilebert.Google``'s."""

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import torch

from mobilebert.model import tensor_files
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from support.google_mobilebert import batch
from support.torch_checkpoints import load

# Head -> field of its output: what ``Google`` calls it.
FIELDS = {
    "pretraining": {"prediction_logits": "prediction", "seq_relationship_logits": "next"},
    "masked-lm": {"logits": "prediction"},
    "sequence-classification": {"logits": "classes"},
    "model": {"last_hidden_state": "sequence", "pooler_output": "pooled"},
}


def of_paddle(folder: Path, head: str) -> dict[str, np.ndarray]:
    """Our model's, from a converted folder."""
    model = HEADS[head](MobileBertConfig.from_pretrained(folder)).to(dtype="float64")
    parameters = dict(model.named_parameters())
    for name, value in tensor_files.read_state(folder)[0].items():
        parameters[name].set_value(value.astype("float64"))
    model.eval()
    ids, mask, types = map(paddle.to_tensor, batch())
    return _named(model(ids, attention_mask=mask, token_type_ids=types), head)


def of_torch(folder: Path, head: str, eps: float | None = None) -> dict[str, np.ndarray]:
    """transformers'; ``eps`` replaces the two that it builds without the configuration's."""
    model = load(folder, head, "float64")
    backbone = getattr(model, "mobilebert", model)
    for norm in (backbone.embeddings.LayerNorm, *(layer.output.LayerNorm for layer in backbone.encoder.layer)):
        if eps and isinstance(norm, torch.nn.LayerNorm):
            norm.eps = eps
    ids, mask, types = map(torch.from_numpy, batch())
    with torch.no_grad():
        return _named(model(ids, attention_mask=mask, token_type_ids=types), head)


def _named(output: Any, head: str) -> dict[str, np.ndarray]:
    if head == "question-answering":
        return {"squad": np.stack([output.start_logits.numpy(), output.end_logits.numpy()], -1)}
    return {name: getattr(output, field).numpy() for field, name in FIELDS[head].items()}
