"""Are a PyTorch checkpoint and its Paddle conversion the same function? Layer by layer, head by head.

Both models run the same batches (``batches``); ``comparison`` says how a difference is measured. The same weights in
float64 PyTorch tell rounding from a real difference.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paddle

from mobilebert.base.errors import InputError
from mobilebert.convert.formats import hf
from mobilebert.model import tensor_files, weights
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.head_of import CLASSIFIERS, detect_head
from mobilebert.model.heads import HEADS
from mobilebert.model.modeling import MobileBertPreTrainedModel
from mobilebert.verify.batches import Batch, Outputs, make_batches, named_outputs, shaped
from mobilebert.verify.comparison import Comparison, Row
from mobilebert.verify.peers import paddlenlp
from mobilebert.verify.peers import torch as torch_peer

if TYPE_CHECKING:
    import torch

TOLERANCES = {"float32": 1e-5, "float64": 1e-10}


def run_paddle(model: paddle.nn.Layer, head: str, batch: Batch) -> Outputs:
    """Our model's outputs for one batch, by name, as NumPy arrays."""
    inputs = {key: paddle.to_tensor(value) for key, value in shaped(head, batch).items()}
    with paddle.no_grad():
        output = model(**inputs, output_hidden_states=head == "model")
    return named_outputs(output, head, lambda tensor: tensor.numpy())


def load_paddle(
    folder: Path, head: str, dtype: str, torch_model: "torch.nn.Module | None" = None
) -> MobileBertPreTrainedModel:
    """Our model from a converted folder; parameters that the folder lacks are copied from ``torch_model``."""
    model = HEADS[head].from_pretrained(folder)
    missing = set(model.load_report.initialised)
    if missing and torch_model is not None:
        state = {key: value.float().numpy() for key, value in torch_model.state_dict().items()}
        fitted, _ = weights.fit_state(model, state, "pt", "the PyTorch model")
        for name, parameter in model.named_parameters():
            if name in missing:
                parameter.set_value(np.ascontiguousarray(fitted[name]))
    return model.to(dtype=dtype)


def comparable_heads(folder: Path, config: MobileBertConfig) -> list[str]:
    """The backbone, the checkpoint's own head, and those that can be added to it without a clash of ``classifier``."""
    state, _ = tensor_files.read_state(folder)
    own = detect_head(folder, config, state)
    left_out = set()
    if own in CLASSIFIERS:
        left_out |= {*CLASSIFIERS} - {own}
    if config.num_labels != 2:
        left_out.add("question-answering")
    if config.embedding_size > config.hidden_size:
        left_out |= {"pretraining", "masked-lm"}
    return [head for head in HEADS if head not in left_out]


def compare(
    torch_folder: str | Path,
    paddle_folder: str | Path,
    dtype: str = "float32",
    tolerance: float | None = None,
    lengths: list[int] | None = None,
    heads: list[str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Run a checkpoint and its conversion on the same batches.

    Args:
        torch_folder: what transformers loads.
        paddle_folder: what ``convert.py`` wrote.
        dtype: ``"float32"`` or ``"float64"``.
        tolerance: largest relative difference allowed; none = ``TOLERANCES[dtype]``.
        lengths: tokens in a row, a batch each; none = 7, 32 and 128.
        heads: names of ``HEADS``; none = ``comparable_heads``. A head that the checkpoint lacks is drawn from ``seed``.
        seed: of the batches and of lacking heads.

    Raises:
        InputError: a folder cannot be loaded, or both hold different models.
    """
    torch_folder, paddle_folder = Path(torch_folder), Path(paddle_folder)
    for folder, how in (
        (torch_folder, "bash scripts/download_weights.sh fetches one"),
        (paddle_folder, "convert.py makes one"),
    ):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; {how}")
    # transformers builds whatever the configuration asks for.
    weights.check_size(MobileBertConfig.from_pretrained(torch_folder), hf.read(torch_folder), str(torch_folder))
    config = MobileBertConfig.from_pretrained(paddle_folder)
    if lengths is None:
        lengths = sorted({min(length, config.max_position_embeddings) for length in (7, 32, 128)})
    if min(lengths) < 1:
        raise InputError(f"length {min(lengths)}: expected at least 1 token")
    if max(lengths) > config.max_position_embeddings:
        raise InputError(f"length {max(lengths)}: the model has {config.max_position_embeddings} positions")
    rows: dict[str, Row] = {}
    batches = list(make_batches(config, lengths, seed))
    for head in heads or comparable_heads(paddle_folder, config):
        torch_model = torch_peer.load(torch_folder, head, dtype, seed)
        paddle_model = load_paddle(paddle_folder, head, dtype, torch_model)
        results = [
            (torch_peer.run(torch_model, head, batch), run_paddle(paddle_model, head, batch)) for batch in batches
        ]
        torch_model = torch_model.double()
        for batch, (ours_torch, ours_paddle) in zip(batches, results, strict=True):
            for name, exact in torch_peer.run(torch_model, head, batch).items():
                label = _label(head, name)
                rows.setdefault(label, Row(label)).update(ours_torch[name], ours_paddle[name], exact, head == "model")
    return Comparison(list(rows.values()), dtype, tolerance or TOLERANCES[dtype])


def compare_paddlenlp(
    paddle_folder: str | Path, tolerance: float | None = None, length: int = 32, seed: int = 0
) -> Comparison:
    """Run a converted checkpoint here and, renamed, in PaddleNLP's MobileBERT, in float32.

    Batches have no padding: there PaddleNLP differs on purpose (see ``peers.paddlenlp``).

    Args:
        paddle_folder: what ``convert.py`` wrote.
        tolerance: largest relative difference allowed; none = ``TOLERANCES["float32"]``.
        length: tokens in a row.
        seed: of the batch and of heads that the checkpoint lacks.

    Raises:
        InputError: the folder cannot be loaded, or there is no PaddleNLP (``bash scripts/setup.sh paddlenlp``).
    """
    folder = Path(paddle_folder)
    config = MobileBertConfig.from_pretrained(folder)
    generator = np.random.default_rng(seed)
    shape = (3, min(length, config.max_position_embeddings))
    ids = generator.integers(0, config.vocab_size, shape)
    ids[ids == config.pad_token_id] = config.vocab_size - 1
    batch = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": generator.integers(0, config.type_vocab_size, shape),
    }
    rows: dict[str, Row] = {}
    for head in comparable_heads(folder, config):
        if HEAD_CLASSES[head] not in paddlenlp.CLASSES:
            continue
        paddle.seed(seed)
        model = load_paddle(folder, head, "float32")
        peer = paddlenlp.run_paddlenlp(config.to_dict(), weights.model_state(model), batch, HEAD_CLASSES[head])
        for depth in range(config.num_hidden_layers + 1) if head == "model" else ():
            peer["embeddings" if depth == 0 else f"encoder.layer.{depth - 1}"] = peer.pop(f"hidden_states.{depth}")
        peer["pooler"] = peer.get("pooler_output")
        ours = run_paddle(model, head, batch)
        for name, exact in run_paddle(model.to(dtype="float64"), head, batch).items():
            label = _label(head, name)
            rows.setdefault(label, Row(label)).update(peer[name], ours[name], exact, head == "model")
    return Comparison(list(rows.values()), "float32", tolerance or TOLERANCES["float32"], "paddlenlp")


def _label(head: str, name: str) -> str:
    return name if head == "model" else f"{HEAD_CLASSES[head].removeprefix('MobileBertFor')}.{name}"
