"""MobileBERT (Sun et al. 2020, arXiv 2004.02984) in PaddlePaddle.

The public names below are loaded on first use, so that importing the package (and every script's ``--help``)
does not start Paddle. When Paddle starts, ``mobilebert.process`` sets up the machine for it first.
"""

from importlib import import_module

__version__ = "0.1.0"

from mobilebert import process

_HOME = {
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
__all__ = [*_HOME, "__version__"]

process.watch()


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'mobilebert' has no attribute '{name}'")
    return getattr(import_module(f"mobilebert.{_HOME[name]}"), name)


def __dir__():
    return sorted(__all__)
