"""Task distillation: a fine-tuned model shows a student what it answers, and where asked what its layers make.

B batch   S tokens   N outputs   L labels
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from mobilebert.base import digests, hub
from mobilebert.base.errors import InputError
from mobilebert.data.cache import tokenizer_digest
from mobilebert.data.collate import IGNORED, INPUT_NAMES
from mobilebert.distill.layers import copy_layers, layer_map
from mobilebert.distill.losses import feature_map_losses, soft_target_loss
from mobilebert.model import weights
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.modeling import MobileBertPreTrainedModel
from mobilebert.tasks.model import check_fit, check_no_export
from mobilebert.tasks.plan import RunPlan
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train.step import LossFn

# What is added to the logits of padding; its probability is then 0.
_NOTHING = -1e9
_WEIGHTS = (".safetensors", ".pdparams", ".bin")


def load_teacher(folder: str, head: str, head_name: str) -> MobileBertPreTrainedModel:
    """A fine-tuned checkpoint, in evaluation mode.

    Raises:
        InputError: an export, or a checkpoint without the head.
    """
    check_no_export(folder)
    teacher = HEADS[head].from_pretrained(folder)
    if teacher.load_report.initialised:
        raise InputError(f"{folder}: has no {head_name}; a teacher is fine-tuned on the task first")
    return teacher


def shortened(teacher: MobileBertPreTrainedModel, num_layers: int) -> MobileBertPreTrainedModel:
    """A student with ``num_layers`` of the teacher's layers, evenly spaced, and all else of it.

    Raises:
        InputError: the teacher has not so many.
    """
    there = teacher.config.num_hidden_layers
    if not 1 <= num_layers <= there:
        raise InputError(f"`student_layers={num_layers}`: the teacher has {there}; expected 1 to {there}")
    student = type(teacher)(replace(teacher.config, num_hidden_layers=num_layers))
    copy_layers(teacher, student, layer_map(num_layers, there))
    student.eval()
    return student


def check_teacher(
    teacher: MobileBertPreTrainedModel,
    student: MobileBertConfig,
    tokenizer: MobileBertTokenizer,
    plan: RunPlan,
    max_seq_length: int,
) -> None:
    """Refuse a teacher that reads or answers otherwise than the student.

    Raises:
        InputError: another vocabulary, other classes or another order of them, fewer positions than a row has; with
            ``hidden_weight`` a stream of another width, or fewer layers.
    """
    source, config = plan.teacher, teacher.config
    if tokenizer_digest(MobileBertTokenizer.from_pretrained(source)) != tokenizer_digest(tokenizer):
        raise InputError(
            f"`teacher={source}`: its tokenizer is not the student's, so the same ids are other words; "
            "train the student with the teacher's (`tokenizer_name`), or a teacher with the student's"
        )
    try:
        check_fit(config, tokenizer, max_seq_length)
    except InputError as error:
        raise InputError(f"`teacher={source}`: {error}") from None
    theirs, ours = list(config.id2label.values()), list(student.id2label.values())
    kinds = {config.problem_type, student.problem_type} - {None}
    if hasattr(teacher, "classifier") and (theirs != ours or len(kinds) > 1):
        raise InputError(
            f"`teacher={source}`: its classes are {', '.join(theirs)}, the student's {', '.join(ours)}; expected the "
            "same in the same order (`label_order` sets a new head's)"
        )
    if plan.hidden_weight and config.hidden_size != student.hidden_size:
        raise InputError(
            f"`hidden_weight={plan.hidden_weight:g}`: the teacher's layers are {config.hidden_size} wide, the "
            f"student's {student.hidden_size}; only layers of one width can be compared"
        )
    if plan.hidden_weight and config.num_hidden_layers < student.num_hidden_layers:
        raise InputError(
            f"`hidden_weight={plan.hidden_weight:g}`: the teacher has {config.num_hidden_layers} layers, the student "
            f"{student.num_hidden_layers}; each of the student's is compared with one of its own"
        )


def digest_of(plan: RunPlan) -> str:
    """Of the teacher's weights and how it is asked: a run with another teacher is another run."""
    parts = (weights_digest(plan.teacher), plan.temperature, plan.alpha, plan.hidden_weight)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def weights_digest(name_or_path: str) -> str:
    """Of all weights of a checkpoint, in whatever kind of file, and of its configuration.

    Raises:
        InputError: it has no weights.
    """
    folder = weights.resolve_folder(name_or_path)
    files = [path for path in sorted(folder.iterdir()) if path.suffix in _WEIGHTS]
    if not files:
        raise InputError(f"`teacher={name_or_path}`: found no weights ({', '.join(_WEIGHTS)})")
    files += [folder / name for name in hub.CONFIG_FILES if (folder / name).is_file()]
    return hashlib.sha256(repr([(path.name, digests.digest(path)) for path in files]).encode()).hexdigest()


def with_teacher(teacher: MobileBertPreTrainedModel, outputs: tuple[str, ...], plan: RunPlan) -> LossFn:
    """The loss of a student: ``alpha`` x the head's own + (1 - ``alpha``) x the distance to the teacher's answers.

    Args:
        teacher: see ``load_teacher``.
        outputs: fields of a head's output that are compared.
        plan: ``temperature``, ``alpha``, and ``hidden_weight``, by which the mean over the layers' distance is added.
    """
    compare = _comparison(teacher, plan.temperature)
    forward = {"output_hidden_states": True} if plan.hidden_weight else {}

    def distilled(net: paddle.nn.Layer, batch: dict[str, Tensor]) -> Tensor:
        with paddle.no_grad():
            theirs = teacher(**{name: batch[name] for name in INPUT_NAMES}, **forward)
        ours = net(**batch, **forward)
        soft = sum(compare(theirs[name], ours[name], batch) for name in outputs) / len(outputs)
        total = plan.alpha * ours.loss + (1 - plan.alpha) * soft
        if plan.hidden_weight:
            pairs = enumerate(layer_map(net.config.num_hidden_layers, teacher.config.num_hidden_layers), start=1)
            maps = [(theirs.hidden_states[at], ours.hidden_states[number]) for number, at in pairs]
            distances = [feature_map_losses(*pair, batch["attention_mask"])["feature_map"] for pair in maps]
            total = total + plan.hidden_weight * sum(distances) / len(distances)
        return total

    return distilled


def _comparison(
    teacher: MobileBertPreTrainedModel, temperature: float
) -> Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]:
    """How one output of a teacher and of a student is compared: logits of both and the batch -> a scalar."""
    soft = partial(soft_target_loss, temperature=temperature)
    head, kind = next(name for name, cls in HEADS.items() if cls is type(teacher)), teacher.config.problem_type
    if head == "question-answering":

        def positions(theirs: Tensor, ours: Tensor, batch: dict[str, Tensor]) -> Tensor:  # [B, S]
            padding = (1 - batch["attention_mask"].astype(ours.dtype)) * _NOTHING
            return soft(theirs + padding, ours + padding).mean()

        return positions
    if head == "token-classification":

        def tokens(theirs: Tensor, ours: Tensor, batch: dict[str, Tensor]) -> Tensor:  # [B, S, L]
            counted = (batch["labels"] != IGNORED).astype(ours.dtype)  # as in the head's own loss
            return (soft(theirs, ours) * counted).sum() / counted.sum().clip(min=1)

        return tokens
    if teacher.config.num_labels == 1 and kind in (None, "regression"):
        return lambda theirs, ours, batch: F.mse_loss(ours, theirs)
    if kind == "multi_label_classification":  # each label is a choice between its logit and 0
        two = partial(paddle.stack, axis=-1)
        return lambda theirs, ours, batch: soft(
            two([theirs, paddle.zeros_like(theirs)]), two([ours, paddle.zeros_like(ours)])
        ).mean()
    return lambda theirs, ours, batch: soft(theirs, ours).mean()
