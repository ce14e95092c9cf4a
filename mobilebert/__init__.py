"""MobileBERT (Sun et al. 2020, arXiv 2004.02984) in PaddlePaddle.

from mobilebert import convert, load

convert("weight/torch", "weight/paddle")                    # PyTorch -> Paddle, tensor by tensor
load("task/squadv1").answer("Who wrote it?", "It was written by Ada Lovelace in 1843.")[0].text
load("task/sst2").classify("A joy to watch.").label

The public names are loaded on first use, so that importing the package (and every script's ``--help``) does not start
Paddle. When Paddle starts, ``mobilebert.process`` sets up the machine for it first.
"""

from mobilebert.base import early  # isort: skip (from here on, Ctrl-C is one line)  # noqa: F401
import os
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

from mobilebert import _aliases, process

if TYPE_CHECKING:  # what type checkers and editors see of the names below
    from mobilebert.convert.convert import convert as convert
    from mobilebert.inference.predictor import Predictor as Predictor
    from mobilebert.model.config import MobileBertConfig as MobileBertConfig
    from mobilebert.model.heads import MobileBertForMaskedLM as MobileBertForMaskedLM
    from mobilebert.model.heads import MobileBertForMultipleChoice as MobileBertForMultipleChoice
    from mobilebert.model.heads import MobileBertForNextSentencePrediction as MobileBertForNextSentencePrediction
    from mobilebert.model.heads import MobileBertForPreTraining as MobileBertForPreTraining
    from mobilebert.model.heads import MobileBertForQuestionAnswering as MobileBertForQuestionAnswering
    from mobilebert.model.heads import MobileBertForSequenceClassification as MobileBertForSequenceClassification
    from mobilebert.model.heads import MobileBertForTokenClassification as MobileBertForTokenClassification
    from mobilebert.model.modeling import MobileBertModel as MobileBertModel
    from mobilebert.text.tokenizer import MobileBertTokenizer as MobileBertTokenizer

_HOME = {
    "Predictor": "inference.predictor",
    "MobileBertConfig": "model.config",
    "MobileBertTokenizer": "text.tokenizer",
    "MobileBertModel": "model.modeling",
    "MobileBertForPreTraining": "model.heads",
    "MobileBertForMaskedLM": "model.heads",
    "MobileBertForNextSentencePrediction": "model.heads",
    "MobileBertForSequenceClassification": "model.heads",
    "MobileBertForQuestionAnswering": "model.heads",
    "MobileBertForMultipleChoice": "model.heads",
    "MobileBertForTokenClassification": "model.heads",
}
__all__ = [*_HOME, "__version__", "convert", "load"]

process.watch()
_aliases.install()


def load(
    model: str | os.PathLike, engine: str | None = None, threads: int | None = None, verify: bool = False
) -> "Predictor":
    """Load a fine-tuned model, with its tokenizer and how it was trained to read, and be ready to ask it.

    ``load(folder).answer(question, passage)`` and ``answer_batch`` are for a model with a question answering head,
    ``classify(text)`` and ``classify_batch`` for one with a classification head, ``entities(text)`` and
    ``entities_batch`` for one with a token classification head: names with type, score and place in the text. For the
    model alone, of any head, take its class: ``MobileBertForMaskedLM.from_pretrained(folder)``.

    Args:
        model: what export.py wrote, a fine-tuned checkpoint's folder, or its name on the hub.
        engine: what runs it: ``"onnxruntime"``, ``"openvino"``, ``"paddle"`` or ``"dygraph"`` (Paddle, from the
            checkpoint). None takes the fastest that the folder has files for.
        threads: of one run; None leaves the choice to the library.
        verify: compare the digests of all files that the folder has noted, not only up to 128 MiB.

    Returns:
        A predictor. ``Predictor`` itself has the further settings.

    Raises:
        InputError: no such model, one with another head, or a folder that was not exported for this engine.
    """
    from mobilebert.inference.predictor import Predictor

    return Predictor(model, engine, threads, verify=verify)


def __getattr__(name: str):
    if name == "convert":  # a package that can be called
        return import_module("mobilebert.convert")
    if name not in _HOME:
        raise AttributeError(f"module 'mobilebert' has no attribute '{name}'")
    return getattr(import_module(f"mobilebert.{_HOME[name]}"), name)


def __dir__():
    return sorted(__all__)
