"""The shape and rules of one MobileBERT: ``MobileBertConfig``, a frozen mirror of Hugging Face's ``config.json``."""

import math
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mobilebert.base import digests, hub
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.base.records import read_record

CONFIG_NAME = "config.json"
ACTIVATIONS = ("relu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "swish", "tanh", "sigmoid")
NORMALIZATIONS = ("no_norm", "layer_norm")
TORCH_LAYER_NORM_EPS = 1e-5
MAX_UNNAMED_LABELS = 100_000  # a number in a file is quickly written, and each label is made
PROBLEM_TYPES = (None, "regression", "single_label_classification", "multi_label_classification")

# How the command line calls the heads -> their classes, which are also `architectures` in a config.json.
HEAD_CLASSES = {
    "model": "MobileBertModel",
    "pretraining": "MobileBertForPreTraining",
    "masked-lm": "MobileBertForMaskedLM",
    "next-sentence": "MobileBertForNextSentencePrediction",
    "sequence-classification": "MobileBertForSequenceClassification",
    "question-answering": "MobileBertForQuestionAnswering",
    "multiple-choice": "MobileBertForMultipleChoice",
    "token-classification": "MobileBertForTokenClassification",
}

# Paper, table 1 and section 4.2 (operational optimizations). `classifier_activation` is false in the released
# checkpoint: its pooler is the raw [CLS] vector, although the class default (here as in Hugging Face) is true.
PRESETS: dict[str, dict[str, Any]] = {
    "mobilebert": {"classifier_activation": False},
    "mobilebert-without-opt": {
        "classifier_activation": False,
        "normalization_type": "layer_norm",
        "hidden_act": "gelu",
    },
    # Attention reads the 128-wide bottleneck and nothing else, so there is no second (shared) bottleneck.
    "mobilebert-tiny": {
        "classifier_activation": False,
        "num_feedforward_networks": 2,
        "use_bottleneck_attention": True,
        "key_query_shared_bottleneck": False,
    },
    # The teacher: the "bottleneck" widens, 512 -> 1024, and Q, K and V read the 512-wide stream themselves.
    "ib-bert-large": {
        "classifier_activation": False,
        "intra_bottleneck_size": 1024,
        "intermediate_size": 4096,
        "num_feedforward_networks": 1,
        "key_query_shared_bottleneck": False,
        "normalization_type": "layer_norm",
        "hidden_act": "gelu",
    },
}


@dataclass(frozen=True)
class MobileBertConfig:
    """Sizes in units (features, tokens, layers); names, defaults and JSON as in ``transformers.MobileBertConfig``.

    ``torch_layer_norm_eps`` is ours: the eps of the embeddings' norm and of each layer's last before the bottleneck's.

    ``num_labels`` follows from ``id2label``; pass either. Keys of a ``config.json`` that this class does not know
    are kept in ``extra`` and written back.

    Raises:
        InputError: a value is out of range or contradicts another; the message names the field.
    """

    vocab_size: int = 30522
    hidden_size: int = 512  # the stream between layers
    num_hidden_layers: int = 24
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_act: str = "relu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512  # tokens
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    # Hugging Face builds two of a model's LayerNorms without passing eps, so they have torch's; Google's do not.
    torch_layer_norm_eps: float = TORCH_LAYER_NORM_EPS
    pad_token_id: int | None = 0
    embedding_size: int = 128
    trigram_input: bool = True
    use_bottleneck: bool = True
    intra_bottleneck_size: int = 128  # the stream within a layer
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = True
    num_feedforward_networks: int = 4
    normalization_type: str = "no_norm"
    classifier_activation: bool = True
    classifier_dropout: float | None = None
    tie_word_embeddings: bool = True
    problem_type: str | None = None
    num_labels: int | None = None
    id2label: dict[int, str] | None = None
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self):
        labels = self.id2label
        if labels is not None:
            labels = _class_names(labels)
        elif self.num_labels is not None:
            labels = {index: f"LABEL_{index}" for index in range(self.num_labels)}
        else:
            labels = {0: "LABEL_0", 1: "LABEL_1"}
        if self.num_labels not in (None, len(labels)):
            raise InputError(f"num_labels={self.num_labels} contradicts id2label with {len(labels)} labels; pass one")
        object.__setattr__(self, "id2label", dict(sorted(labels.items())))
        object.__setattr__(self, "num_labels", len(labels))
        self._validate()

    def _validate(self) -> None:
        sizes = (
            "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
            "type_vocab_size embedding_size intra_bottleneck_size num_feedforward_networks num_labels"
        )
        for name in sizes.split():
            value = getattr(self, name)
            if not _is_whole(value) or value < 1:
                raise InputError(f"{name}={value!r}: expected a whole number of at least 1")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            value = getattr(self, name)
            if value is None and name == "classifier_dropout":
                continue
            if not _is_number(value) or not 0 <= value < 1:
                raise InputError(f"{name}={value!r}: expected a probability, 0 <= p < 1")
        for name in ("initializer_range", "layer_norm_eps", "torch_layer_norm_eps"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < math.inf:
                raise InputError(f"{name}={value!r}: expected a number of at least 0")
        switches = (
            "trigram_input use_bottleneck use_bottleneck_attention key_query_shared_bottleneck classifier_activation "
            "tie_word_embeddings"
        )
        for name in switches.split():
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}={getattr(self, name)!r}: expected true or false")
        for name, allowed in (
            ("hidden_act", ACTIVATIONS),
            ("normalization_type", NORMALIZATIONS),
            ("problem_type", PROBLEM_TYPES),
        ):
            if getattr(self, name) not in allowed:
                choices = ", ".join(str(choice) for choice in allowed)
                raise InputError(f"{name}={getattr(self, name)!r}: expected one of {choices}")
        if self.true_hidden_size % self.num_attention_heads:
            raise InputError(
                f"num_attention_heads={self.num_attention_heads} does not divide "
                f"true_hidden_size={self.true_hidden_size}"
            )
        if list(self.id2label) != list(range(self.num_labels)):
            raise InputError(f"id2label={self.id2label}: expected the class indices 0 to {self.num_labels - 1}")
        if self.pad_token_id is not None and not (
            _is_whole(self.pad_token_id) and 0 <= self.pad_token_id < self.vocab_size
        ):
            raise InputError(
                f"pad_token_id={self.pad_token_id!r} is outside the vocabulary of {self.vocab_size} tokens"
            )
        if not self.tie_word_embeddings:
            raise InputError("tie_word_embeddings=false: MobileBERT's decoder is its embedding; set it to true")

    @property
    def is_regression(self) -> bool:
        """Whether a classification is a number, not a class."""
        return self.problem_type == "regression" or (self.problem_type is None and self.num_labels == 1)

    @property
    def true_hidden_size(self) -> int:
        """Width of the stream within a layer: the bottleneck's, or the hidden size where there is none."""
        return self.intra_bottleneck_size if self.use_bottleneck else self.hidden_size

    @property
    def query_key_input_size(self) -> int:
        """Width of what the query and key projections read.

        Hugging Face always takes ``true_hidden_size`` and so crashes where Q and K read the stream between layers
        (the paper's IB-BERT teacher).
        """
        bottlenecked = self.use_bottleneck_attention or self.key_query_shared_bottleneck
        return self.true_hidden_size if bottlenecked else self.hidden_size

    @property
    def value_input_size(self) -> int:
        """Width of what the value projection reads."""
        return self.true_hidden_size if self.use_bottleneck_attention else self.hidden_size

    @property
    def label2id(self) -> dict[str, int]:
        """Label word -> class index."""
        return {label: index for index, label in self.id2label.items()}

    @property
    def head(self) -> str | None:
        """The head that ``architectures`` declares, a key of ``HEAD_CLASSES``; None where it names none known here."""
        declared = self.extra.get("architectures") or []
        return next((name for name, kind in HEAD_CLASSES.items() if kind in declared), None)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "MobileBertConfig":
        """A configuration of the paper: one of ``PRESETS``, with changes by keyword."""
        if name not in PRESETS:
            raise InputError(f"unknown preset {name!r}: expected one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})

    @classmethod
    def from_dict(cls, values: dict[str, Any], **overrides: Any) -> "MobileBertConfig":
        """Build from the content of a ``config.json``; unknown keys go to ``extra``."""
        values = dict(values)
        model_type = values.pop("model_type", "mobilebert")
        if model_type != "mobilebert":
            raise InputError(f"model_type={model_type!r}: expected 'mobilebert'")
        declared = values.get("architectures")
        if declared is not None and not isinstance(declared, list):
            raise InputError(f"architectures={declared!r}: expected a list of class names")
        count = values.get("num_labels")
        if _is_whole(count) and count > MAX_UNNAMED_LABELS and not values.get("id2label"):
            raise InputError(f"num_labels={count}: so many classes have names; write them into id2label")
        label2id = values.pop("label2id", None)
        for derived in ("true_hidden_size", "_num_labels"):
            values.pop(derived, None)
        if label2id and not {"num_labels", "id2label"} & set(overrides):
            values["id2label"] = _agreed_names(values.get("id2label"), label2id)
        known = {f.name for f in fields(cls)} - {"extra"}
        if "num_labels" in overrides and "id2label" not in overrides:
            values.pop("id2label", None)
        if "id2label" in overrides and "num_labels" not in overrides:
            values.pop("num_labels", None)
        unknown = {key: values.pop(key) for key in list(values) if key not in known}
        return cls(**{**values, **overrides}, extra=unknown)

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike, **overrides: Any) -> "MobileBertConfig":
        """Read ``config.json`` from a folder, or from the hub where ``name_or_path`` is no folder.

        Raises:
            InputError: no such file, broken JSON or a bad value; the message names the file.
        """
        return cls.from_file(Path(hub.resolve(name_or_path, [CONFIG_NAME])) / CONFIG_NAME, **overrides)

    @classmethod
    def from_file(cls, path: str | os.PathLike, **overrides: Any) -> "MobileBertConfig":
        """Read a JSON file of any name.

        Raises:
            InputError: as ``from_pretrained``.
        """
        digests.check(Path(path).parent, Path(path).name)
        values = read_record(path, dict[str, Any])
        try:
            return cls.from_dict(values, **overrides)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The content of ``config.json``, loadable by transformers (which derives ``num_labels`` from the labels)."""
        values = asdict(self)
        extra = values.pop("extra")
        values.pop("num_labels")
        values["id2label"] = {str(index): label for index, label in self.id2label.items()}
        values["label2id"] = self.label2id
        values["true_hidden_size"] = self.true_hidden_size
        if self.torch_layer_norm_eps == TORCH_LAYER_NORM_EPS:
            values.pop("torch_layer_norm_eps")  # transformers does not know the name
        return {"model_type": "mobilebert", **values, **extra}

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write ``config.json`` into ``folder``."""
        with digests.recorded(Path(folder), CONFIG_NAME):
            write_json(Path(folder) / CONFIG_NAME, self.to_dict())

    def with_labels(self, labels: list[str], problem_type: str | None = None) -> "MobileBertConfig":
        """A copy whose classes are ``labels``, in this order."""
        return replace(self, num_labels=None, id2label=dict(enumerate(labels)), problem_type=problem_type)

    def for_head(self, head: str) -> "MobileBertConfig":
        """The shape of a model with ``head`` on this one's encoder: a classifier's classes are none of its.

        Question answering has 2 outputs, whatever the classes of the checkpoint that it starts from; a config that
        says it is for question answering is taken at its word, and so are 2 labels.
        """
        if head != "question-answering" or head == self.head or self.num_labels == 2:
            return self
        return replace(self, num_labels=2, id2label=None, problem_type=None)

    def task_params(self, head: str) -> dict[str, Any]:
        """How a fine-tuned model wants to be used, as ``with_task_params`` noted it; empty where nothing is noted."""
        noted = self.extra.get("task_specific_params")
        values = noted.get(head) if isinstance(noted, dict) else None
        return dict(values) if isinstance(values, dict) else {}

    def with_task_params(self, head: str, **values: Any) -> "MobileBertConfig":
        """A copy that notes how its model was trained to be used: ``max_seq_length``, ``doc_stride`` and the like.

        They stand in ``config.json`` under transformers' key ``task_specific_params``, by head, and go wherever the
        checkpoint goes.
        """
        noted = self.extra.get("task_specific_params")
        noted = {**(noted if isinstance(noted, dict) else {}), head: values}
        return replace(self, num_labels=None, extra={**self.extra, "task_specific_params": noted})


def _class_names(labels: Any) -> dict[int, str]:
    """An ``id2label`` with whole numbers as keys.

    Raises:
        InputError: it is no such mapping, or one number or one name stands twice: names tell the classes apart.
    """
    try:
        names = {int(key): str(value) for key, value in labels.items()}
    except (AttributeError, ValueError, TypeError, OverflowError):
        raise InputError(f"id2label={labels!r}: expected a mapping from class index to label word") from None
    for key, value in labels.items():
        if value is None or isinstance(value, list | dict):
            raise InputError(f"id2label={labels!r}: class {key} has no name; expected a word for each class")
    if len(names) < len(labels):
        raise InputError(f"id2label={labels!r}: a class index stands twice; expected each once")
    first: dict[str, int] = {}
    for index, name in names.items():
        other = first.setdefault(name.strip(), index)
        if other != index:
            raise InputError(
                f"id2label: classes {other} and {index} are both called {name!r}; give each a name of its own"
            )
    return names


def _agreed_names(id2label: Any, label2id: Any) -> Any:
    """The class names of a ``config.json`` that has a ``label2id``: those of the one that has more than placeholders.

    transformers writes ``LABEL_0`` and so on where a training gave no names, and leaves such a mapping beside another
    that was given some. Further names of a class in ``label2id`` are no contradiction.

    Args:
        id2label: as it stands in the file; None where there is none.
        label2id: the same.

    Returns:
        What to take as ``id2label``.

    Raises:
        InputError: the two disagree.
    """
    try:
        given = {str(name): int(index) for name, index in label2id.items()}
    except (AttributeError, ValueError, TypeError, OverflowError):
        raise InputError(f"label2id={label2id!r}: expected a mapping from label word to class index") from None
    if id2label is not None and all(name == f"LABEL_{index}" for name, index in given.items()):
        return id2label
    names = None if id2label is None else _class_names(id2label)
    if names is None or all(name == f"LABEL_{index}" for index, name in names.items()):
        found = {index: name for name, index in given.items()}
        if len(found) < len(given) or (names is not None and set(found) != set(names)):
            raise InputError(
                f"label2id={label2id!r}: cannot tell each class's name from it; name the classes in id2label"
            )
        return found
    for name, index in given.items():
        if index not in names:
            raise InputError(f"label2id has class {index}, {name!r}, which id2label lacks; correct one of them")
        called = {other.casefold() for other, place in given.items() if place == index}
        if names[index].casefold() not in called:
            raise InputError(
                f"label2id calls class {index} {name!r}, id2label calls it {names[index]!r}; correct one of them"
            )
    return names


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
