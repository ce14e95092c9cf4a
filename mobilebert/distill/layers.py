"""Layers of a teacher and of a student: which belong together, their outputs, weights that a student begins with.

B batch   S tokens   H hidden_size   A attention heads
"""

from collections.abc import Mapping
from contextlib import nullcontext

import paddle
from paddle import Tensor, nn

from mobilebert.base.errors import InputError
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.modeling import MobileBertModel, attention_bias, fast_path
from mobilebert.model.weights import LAYER

# What has to be equal so that a student can learn a teacher's layers one by one, and begin with its embeddings.
_EQUAL = (
    *("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "embedding_size"),
    *("max_position_embeddings", "type_vocab_size", "trigram_input"),
)

LayerOutput = tuple[Tensor, Tensor | None]


def run_layers(
    backbone: MobileBertModel,
    batch: Mapping[str, Tensor],
    first: int,
    last: int,
    attentions: bool,
    below_learns: bool = True,
) -> list[LayerOutput]:
    """Run a model up to a layer, and no further.

    Args:
        backbone: in evaluation mode, or without dropout.
        batch: ``input_ids``, ``attention_mask`` and ``token_type_ids`` [B, S].
        first, last: the layers whose output is wanted, from 0, both included.
        attentions: whether their attentions are wanted too, for which they leave the fast path.
        below_learns: whether the layers below ``first``, and the embeddings, are to have gradients.

    Returns:
        For each of the layers its output [B, S, H], and its attention [B, A, S, S] or none.
    """
    with nullcontext() if below_learns else paddle.no_grad():
        hidden = backbone.embeddings(batch["input_ids"], batch["token_type_ids"])
        bias = attention_bias(batch["attention_mask"], hidden.dtype)
        fast = fast_path(backbone.encoder, hidden, bias)
        for layer in backbone.encoder.layer[:first]:
            hidden, _ = layer(hidden, bias, fast)
    outputs = []
    for layer in backbone.encoder.layer[first : last + 1]:
        hidden, probabilities = layer(hidden, bias, None if attentions else fast)
        outputs.append((hidden, probabilities if attentions else None))
    return outputs


def check_pair(teacher: MobileBertConfig, student: MobileBertConfig) -> None:
    """Refuse models whose layers do not belong together one by one.

    Raises:
        InputError: another number of layers or heads, another width of the feature maps, or other embeddings.
    """
    for name in _EQUAL:
        theirs, ours = getattr(teacher, name), getattr(student, name)
        if theirs != ours:
            raise InputError(
                f"the teacher has {name}={theirs}, the student {ours}: knowledge is transferred between equal feature "
                "maps, heads and embeddings; take a teacher of the student's shape (inside its layers any width)"
            )


@paddle.no_grad()
def copy_outside(teacher: nn.Layer, student: nn.Layer) -> list[str]:
    """Give a student the teacher's embeddings and heads; both have the same ones. Returns the names.

    Not the norm of the embeddings where one has LayerNorm and the other NoNorm: the same gain would be another
    function. (So is Google's: there the two have different names, and those alone decide what is read.)
    """
    theirs = dict(teacher.named_parameters())
    same_norm = teacher.config.normalization_type == student.config.normalization_type
    copied = []
    for name, parameter in student.named_parameters():
        if LAYER.search(name) or (name.endswith(("LayerNorm.weight", "LayerNorm.bias")) and "embeddings." in name
                                   and not same_norm):  # fmt: skip
            continue
        parameter.set_value(theirs[name])
        copied.append(name)
    return copied


def layer_map(num_student: int, num_teacher: int) -> list[int]:
    """For each layer of the student the layer of the teacher whose output it learns, from 1; the last is the last.

    The teacher's layers, at least as many, are spread evenly: 2, 4, 6 ... for a student of half its depth.
    """
    return [round(number * num_teacher / num_student) for number in range(1, num_student + 1)]


@paddle.no_grad()
def copy_layers(teacher: nn.Layer, student: nn.Layer, layers: list[int]) -> None:
    """Give a student the weights of a teacher with more layers of the same shape.

    Args:
        teacher, student: of one class and, but for the number of layers, one configuration.
        layers: of the teacher, from 1, one for each of the student's.
    """
    theirs = dict(teacher.named_parameters())
    for name, parameter in student.named_parameters():
        source = LAYER.sub(lambda match: f"encoder.layer.{layers[int(match[1])] - 1}.", name)
        parameter.set_value(theirs[source])
