"""An exported transformers checkpoint against transformers itself, and what SQuAD's rows give through an engine."""

import numpy as np
import pytest
import torch
from support.models import CHECKPOINT_SIZES, save_checkpoint
from support.texts import CHECKPOINT_VOCABULARY, write_long_squad
from transformers import MobileBertConfig, MobileBertForQuestionAnswering, MobileBertForSequenceClassification

from mobilebert.data.collate import INPUT_NAMES, PackedDataset
from mobilebert.data.qa.features import build_features
from mobilebert.data.qa.squad_json import read_squad
from mobilebert.export.export import ExportPlan, export
from mobilebert.inference.engines import load
from mobilebert.inference.predictor import logits_function
from mobilebert.inference.rows import batches_by_tokens, run_rows, span_shapes
from mobilebert.text.tokenizer import MobileBertTokenizer

MODELS = {"question-answering": MobileBertForQuestionAnswering, "classes": MobileBertForSequenceClassification}


def torch_checkpoint(folder, kind):
    torch.manual_seed(0)
    model = MODELS[kind](MobileBertConfig(**CHECKPOINT_SIZES, num_labels=2)).eval()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                parameter.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, parameter.shape)))
            elif name.endswith("bias"):
                parameter.copy_(torch.from_numpy(rng.normal(0, 0.3, parameter.shape)))
            else:
                parameter.mul_(4)
    model.save_pretrained(folder)
    MobileBertTokenizer(vocab={word: index for index, word in enumerate(CHECKPOINT_VOCABULARY)}).save_pretrained(folder)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_an_exported_transformers_checkpoint_is_transformers(tmp_path, kind):
    model = torch_checkpoint(tmp_path / "checkpoint", kind)
    export(ExportPlan(str(tmp_path / "checkpoint"), tmp_path / "out", format="all"))
    rng = np.random.default_rng(1)
    mask = np.arange(40) < np.array([40, 1, 17, 39])[:, None]
    arrays = rng.integers(0, len(CHECKPOINT_VOCABULARY), (4, 40)), mask.astype(np.int64), rng.integers(0, 2, (4, 40))
    batch = dict(zip(INPUT_NAMES, arrays, strict=True))
    with torch.no_grad():
        double = model.double()(**{name: torch.from_numpy(array) for name, array in batch.items()})
    for engine in ("onnxruntime", "paddle", "dygraph"):
        got = load(tmp_path / "out", engine).run(batch)
        expected = [double[name].numpy() for name in load(tmp_path / "out", "onnxruntime").outputs]
        for value, reference in zip(got, expected, strict=True):
            assert np.abs(value - reference).max() < 5e-6 * np.abs(reference).max()
    with torch.no_grad():  # the comparison can fail
        double = model(**{name: torch.from_numpy(array[:, ::-1].copy()) for name, array in batch.items()})
    assert np.abs(got[0] - double[0].numpy()).max() > 1e-3


def test_the_evaluation_loop_takes_an_exported_model(tmp_path):
    """``logits_function`` stands where a model's forward pass does, and gives the same logits."""
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "question-answering")
    export(ExportPlan(str(checkpoint), tmp_path / "out", format="all"))
    tokenizer = MobileBertTokenizer.from_pretrained(checkpoint)
    examples, _ = read_squad(write_long_squad(tmp_path / "squad.json"))
    rows = build_features(examples, tokenizer, max_seq_length=64, doc_stride=20, is_training=False)
    data = PackedDataset(rows, tokenizer.pad_token_id)
    batch = {name: array for name, array in data.batch(np.arange(len(rows))).items() if name in INPUT_NAMES}
    forward, plain = (logits_function(tmp_path / "out", engine) for engine in ("onnxruntime", "dygraph"))
    for got, expected in zip(forward(batch), plain(batch), strict=True):
        assert np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()
    engine = load(tmp_path / "out", "onnxruntime")
    batches = batches_by_tokens(rows.lengths)
    collected = run_rows(engine.run, data, batches, span_shapes(rows.lengths))
    inside = np.arange(rows.lengths.max()) < rows.lengths[:, None]
    assert np.allclose(collected[0][inside], forward(batch)[0][inside], atol=1e-5)
