"""mobilebert.mjs in Node, and ``Predictor`` on the same folder, both over a network that is plain arithmetic."""

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from mobilebert.base.errors import InputError
from mobilebert.inference import engines
from mobilebert.inference.manifest import Manifest
from mobilebert.inference.predictor import Predictor
from mobilebert.inference.source import reading_settings
from mobilebert.model.config import MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

SCRIPT = Path(__file__).with_name("web_module.mjs")
_OUTPUTS = {"question-answering": ["start_logits", "end_logits"]}
_PYTHON_NAMES = {
    "topK": "top_k", "wholeWords": "whole_words", "maxSeqLength": "max_seq_length", "docStride": "doc_stride",
    "maxAnswerLength": "max_answer_length", "allowNoAnswer": "allow_no_answer", "threshold": "threshold",
    "nullScoreDiffThreshold": "null_score_diff_threshold",
}  # fmt: skip


def logit(ids: np.ndarray, place: np.ndarray | int, output: np.ndarray | int) -> np.ndarray:
    """A number that depends on everything, float32; ``tests/support/web_module.mjs`` has the same."""
    return (((ids * 7919 + place * 104729 + output * 1299709) % 1000003) / 100000 - 5).astype(np.float32)


class Arithmetic(engines.Engine):
    """An engine without weights."""

    name = "arithmetic"
    library = "numpy"
    weight_files = ()

    def __init__(self, head: str, labels: int):
        self.head, self.labels = head, labels

    def run(self, batch):
        ids = batch["input_ids"]  # [B, S]
        places, outputs = np.arange(ids.shape[1]), np.arange(self.labels)
        if self.head == "question-answering":
            return [logit(ids, places, 0), logit(ids, places, 1)]
        if self.head == "token-classification":
            return [logit(ids[:, :, None], places[:, None], outputs)]
        return [logit((ids * (places + 1)).sum(axis=1)[:, None] % 1000003, 0, outputs)]


def write_folder(folder: Path, head: str, tokenizer: MobileBertTokenizer, noted: dict, **changes) -> Path:
    """A model's folder without its weights: configuration, tokenizer, manifest."""
    config = MobileBertConfig.preset("mobilebert", vocab_size=len(tokenizer), **changes).with_task_params(head, **noted)
    length = reading_settings(config, head).max_seq_length
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder, length)
    Manifest(head, _OUTPUTS.get(head, ["logits"]), ["onnxruntime"], None, False, 20, length).save(folder)
    return folder


def predictor_of(folder: Path) -> Predictor:
    """``Predictor`` with ``Arithmetic``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", lambda source, *_: Arithmetic(source.manifest.head, source.config.num_labels))
        return Predictor(folder)


def in_python(predictor: Predictor, method: str, texts: list, options: dict):
    """One call, in the module's names; an error is its message."""
    given = {_PYTHON_NAMES[name]: value for name, value in options.items()}
    try:
        if method == "read":
            reading = predictor.read(*texts, **given)
            answers = [vars(answer) for answer in reading.answers]
            return {"answers": answers, "nullOdds": reading.null_odds, "windows": [list(w) for w in reading.windows]}
        if method == "classify":
            return {**asdict(predictor.classify(*texts, **given))}
        return [vars(entity) for entity in predictor.entities(*texts, **given)]
    except InputError as error:
        return {"error": str(error)}


def in_node(folder: Path, calls: list, tokenize: tuple[str, ...] | list[str] = ()) -> dict:
    """What the module says: ``{"tokens": ..., "answers": ...}``; without node the test is skipped."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("runs mobilebert.mjs: install node (Debian and Ubuntu: apt install nodejs)")
    given = json.dumps({"folder": str(folder), "tokenize": list(tokenize), "calls": calls})
    result = subprocess.run([node, SCRIPT], input=given, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
