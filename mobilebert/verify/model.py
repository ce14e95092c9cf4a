"""Are a PyTorch checkpoint and its Paddle conversion the same function? Layer by layer, head by head.

Both models run the same batches. Each tensor's difference is given relative to the tensor's own scale (its largest
magnitude), [CLS] and the other tokens apart, because [CLS] reaches 2.5e7 in the released weights and would hide the
rest. The same weights in float64 PyTorch tell rounding from a real difference.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle

from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.convert.convert import detect_head
from mobilebert.model import tensor_files, weights
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.modeling import MobileBertPreTrainedModel
from mobilebert.verify.peers import paddlenlp

if TYPE_CHECKING:
    import torch

CLASSIFIERS = {"sequence-classification", "multiple-choice", "token-classification"}
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
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


@dataclass
class Row:
    """One tensor's comparison, the worst over all batches.

    Attributes:
        name: which tensor.
        magnitude: largest absolute value, PyTorch in float64.
        max_absolute: largest absolute difference between the frameworks.
        cls_relative, tokens_relative: largest difference of the [CLS] rows and of the other tokens, each relative to
            its own largest magnitude; equal where the tensor has no token axis.
        torch_error, paddle_error: each framework (the peer, Paddle) against float64, relative to ``magnitude``.
        index: where the largest relative difference is.
    """

    name: str
    magnitude: float = 0.0
    max_absolute: float = 0.0
    cls_relative: float = 0.0
    tokens_relative: float = 0.0
    torch_error: float = 0.0
    paddle_error: float = 0.0
    index: tuple[int, ...] = ()

    @property
    def relative(self) -> float:
        """The larger of the two relative differences: what is held against the tolerance."""
        return max(self.cls_relative, self.tokens_relative)


@dataclass
class Comparison:
    """All rows, and what they were held against."""

    rows: list[Row]
    dtype: str
    tolerance: float
    peer: str = "torch"  # what Paddle is held against

    @property
    def worst(self) -> Row:
        """The row with the largest relative difference; not-a-number counts as infinite."""
        return max(self.rows, key=lambda row: np.inf if np.isnan(row.relative) else row.relative)

    @property
    def passed(self) -> bool:
        """Whether every row is within the tolerance."""
        return bool(self.worst.relative <= self.tolerance)

    def table(self) -> str:
        """The rows as text."""
        head = ["tensor", "magnitude", "max abs", "rel CLS", "rel tokens", f"{self.peer}-f64", "paddle-f64"]
        lines = [f"{head[0]:<42}" + "".join(f"{title:>14}" for title in head[1:])]
        for row in self.rows:
            numbers = (
                row.magnitude,
                row.max_absolute,
                row.cls_relative,
                row.tokens_relative,
                row.torch_error,
                row.paddle_error,
            )
            lines.append(f"{row.name:<42}" + "".join(f"{number:>14.2e}" for number in numbers))
        return "\n".join(lines)

    def verdict(self) -> str:
        """One line: equal, or which tensor is worst, where, by how much, and where on the way up it begins."""
        worst = self.worst
        where = f"{worst.name}{list(worst.index)}"
        limit = f"tolerance {self.tolerance:.0e} ({self.dtype})"
        if self.passed:
            return f"equal: worst relative difference {worst.relative:.2e} at {where}, {limit}"
        first = next(row.name for row in self.rows if not row.relative <= self.tolerance)
        return f"DIFFERENT: {where} differs by {worst.relative:.2e} relative, {limit}; the first to differ is {first}"

    def save(self, path: str | Path) -> None:
        """Write rows, type, tolerance and verdict as JSON."""
        rows = [{**asdict(row), "relative": row.relative} for row in self.rows]
        write_json(
            path,
            {"passed": self.passed, "peer": self.peer, "dtype": self.dtype, "tolerance": self.tolerance, "rows": rows},
        )


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


def _named_outputs(output: Any, is_backbone: bool, to_numpy) -> Outputs:
    named = {}
    if is_backbone:
        for depth, hidden in enumerate(output["hidden_states"]):
            named["embeddings" if depth == 0 else f"encoder.layer.{depth - 1}"] = to_numpy(hidden)
    keys = set(output.keys())
    for key in _LOGIT_FIELDS:
        if key in keys:
            named["pooler" if key == "pooler_output" else key] = to_numpy(output[key])
    return named


def run_torch(model: "torch.nn.Module", head: str, batch: Batch) -> Outputs:
    """A transformers model's outputs for one batch, by name, as NumPy arrays."""
    import torch

    inputs = {key: torch.from_numpy(value) for key, value in _shaped(head, batch).items()}
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=head == "model")
    return _named_outputs(output, head == "model", lambda tensor: tensor.numpy())


def run_paddle(model: paddle.nn.Layer, head: str, batch: Batch) -> Outputs:
    """Our model's outputs for one batch, by name, as NumPy arrays."""
    inputs = {key: paddle.to_tensor(value) for key, value in _shaped(head, batch).items()}
    with paddle.no_grad():
        output = model(**inputs, output_hidden_states=head == "model")
    return _named_outputs(output, head == "model", lambda tensor: tensor.numpy())


def _shaped(head: str, batch: Batch) -> Batch:
    """Multiple choice wants [batch, choices, tokens]: the rows, and the rows in reverse order."""
    if head != "multiple-choice":
        return batch
    return {key: np.stack([value, value[::-1]], axis=1) for key, value in batch.items()}


def load_torch(folder: Path, head: str, dtype: str, seed: int = 0) -> "torch.nn.Module":
    """A transformers model from a checkpoint's folder; a head that the checkpoint lacks is drawn from ``seed``."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    try:
        model = getattr(transformers, HEAD_CLASSES[head]).from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{folder}: transformers cannot load it ({str(error).strip().splitlines()[0]})") from None
    return model.eval().to(getattr(torch, dtype))


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
    own = detect_head(folder, state)
    left_out = set()
    if own in CLASSIFIERS:
        left_out |= CLASSIFIERS - {own}
    if config.num_labels != 2:
        left_out.add("question-answering")
    if config.embedding_size >= config.hidden_size:
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
    for folder in (torch_folder, paddle_folder):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; convert a checkpoint with convert.py first")
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
        torch_model = load_torch(torch_folder, head, dtype, seed)
        paddle_model = load_paddle(paddle_folder, head, dtype, torch_model)
        results = [(run_torch(torch_model, head, batch), run_paddle(paddle_model, head, batch)) for batch in batches]
        torch_model = torch_model.double()
        for batch, (ours_torch, ours_paddle) in zip(batches, results, strict=True):
            for name, exact in run_torch(torch_model, head, batch).items():
                label = _label(head, name)
                _update(rows.setdefault(label, Row(label)), ours_torch[name], ours_paddle[name], exact, head == "model")
    return Comparison(list(rows.values()), dtype, tolerance or TOLERANCES[dtype])


def compare_paddlenlp(
    paddle_folder: str | Path, tolerance: float | None = None, length: int = 32, seed: int = 0
) -> Comparison:
    """Run a converted checkpoint here and, renamed, in PaddleNLP's MobileBERT, in float32.

    Batches have no padding: there PaddleNLP differs on purpose (see ``interop.paddlenlp``).

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
            _update(rows.setdefault(label, Row(label)), peer[name], ours[name], exact, head == "model")
    return Comparison(list(rows.values()), "float32", tolerance or TOLERANCES["float32"], "paddlenlp")


def _label(head: str, name: str) -> str:
    return name if head == "model" else f"{HEAD_CLASSES[head].removeprefix('MobileBertFor')}.{name}"


def _update(row: Row, torch_value: np.ndarray, paddle_value: np.ndarray, exact: np.ndarray, has_tokens: bool) -> None:
    """Take one batch's result into a row, keeping the worst."""
    difference = np.abs(torch_value.astype("float64") - paddle_value)
    has_tokens = has_tokens and exact.ndim == 3
    scale = np.empty_like(exact)
    if has_tokens:
        scale[:, :1] = _scale(exact[:, :1])
        scale[:, 1:] = _scale(exact[:, 1:])
    else:
        scale[...] = _scale(exact)
    relative = difference / scale
    index = np.unravel_index(np.argmax(relative), relative.shape)
    if not relative[index] <= row.relative or not row.index:
        row.index = tuple(int(i) for i in index)
    row.magnitude = max(row.magnitude, float(np.abs(exact).max()))
    row.max_absolute = _max(row.max_absolute, difference)
    row.cls_relative = _max(row.cls_relative, relative[:, :1] if has_tokens else relative)
    row.tokens_relative = _max(row.tokens_relative, relative[:, 1:] if has_tokens else relative)
    row.torch_error = _max(row.torch_error, np.abs(torch_value - exact) / _scale(exact))
    row.paddle_error = _max(row.paddle_error, np.abs(paddle_value - exact) / _scale(exact))


def _scale(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0)) or 1.0


def _max(so_far: float, values: np.ndarray) -> float:
    """The larger; not-a-number stays (``max`` would lose it)."""
    return float(np.maximum(so_far, values.max(initial=0.0)))
