"""MobileBERT (Sun et al. 2020, arXiv 2004.02984) in PaddlePaddle.

The public names below are loaded on first use, so that importing the package (and every script's ``--help``)
does not start Paddle.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "MobileBertConfig": "config",
    "MobileBertTokenizer": "tokenizer",
    "MobileBertModel": "modeling",
    "MobileBertForPreTraining": "heads",
    "MobileBertForMaskedLM": "heads",
    "MobileBertForNextSentencePrediction": "heads",
    "MobileBertForSequenceClassification": "heads",
    "MobileBertForQuestionAnswering": "heads",
    "MobileBertForMultipleChoice": "heads",
    "MobileBertForTokenClassification": "heads",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'mobilebert' has no attribute '{name}'")
    return getattr(import_module(f"mobilebert.{_HOME[name]}"), name)


def __dir__():
    return sorted(__all__)
