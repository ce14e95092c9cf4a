"""The card's lines for ONNX Runtime, pasted and run, say what ``Predictor`` says; the others: ``tests/clients``."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
from support.models import save_checkpoint

from mobilebert import Predictor
from mobilebert.export import litert_card, snippets
from mobilebert.export.checkpoint import load_checkpoint
from mobilebert.export.export import ExportPlan, export
from mobilebert.inference.source import read_source
from mobilebert.model.config import MobileBertConfig

QUESTION = "who wrote the notes ?"
CONTEXT = "Ada Lovelace wrote the notes in 1843 . The engine was in it . Who wrote ? The notes . It was 1843 . " * 2
TEXTS = ("ada wrote the notes in 1843", "who was in it ?")


def pasted(folder, first="import onnxruntime"):
    """What the card's block that begins so defines, and what it prints."""
    blocks = (folder / "README.md").read_text().split("```python\n")[1:]
    (code,) = (block.partition("```")[0] for block in blocks if block.startswith(first))
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "card", "exec"), names)
    return names, printed.getvalue()


def exported(tmp_path, head, notes=None, plan=None, **changes):
    source = save_checkpoint(tmp_path / "model", head, **changes)
    if notes:
        MobileBertConfig.from_pretrained(source).with_task_params(head, **notes).save_pretrained(source)
    export(ExportPlan(str(source), **{"out": tmp_path / 'ex"port', "max_seq_length": 24, **(plan or {})}))
    return tmp_path / 'ex"port'


@pytest.mark.parametrize("threshold", [None, -100.0, 0.12345678, 100.0], ids=str)
def test_answers(threshold, tmp_path):
    notes = {"doc_stride": 6, "max_answer_length": 4}
    if threshold is not None:
        notes |= {"version_2_with_negative": True, "null_score_diff_threshold": threshold}
    folder = exported(tmp_path, "question-answering", notes)
    card, printed = pasted(folder)
    predictor = Predictor(folder)
    assert printed.strip() == predictor.answer("Who wrote it?", "Ada wrote it.")[0].text
    for context in (CONTEXT, CONTEXT[40:], CONTEXT[90:], "Ada wrote ."):
        assert card["answer"](QUESTION, context) == predictor.answer(QUESTION, context)[0].text
    readme = (folder / "README.md").read_text()
    assert '"max_seq_len": 24, "doc_stride": 6, "max_answer_len": 4' in readme
    assert threshold is None or f"none - best[0] > {threshold!r} else" in readme
    assert ("handle_impossible_answer=True" in readme) == (threshold is not None)


@pytest.mark.parametrize("kind", [None, "regression", "an old regression", "multi_label_classification"], ids=str)
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pairs"])
def test_classes(kind, pairs, tmp_path):
    labels = {0: 'a "b"', 1: "ö", 2: "c\u2028d\x85e"}
    if kind in ("regression", "an old regression"):
        labels, kind = {0: "score"}, "regression" if kind == "regression" else None
    folder = exported(tmp_path, "sequence-classification", {"takes_pairs": pairs}, id2label=labels, problem_type=kind)
    card, printed = pasted(folder)
    texts = TEXTS if pairs else TEXTS[:1]
    expected = Predictor(folder).classify(*texts).scores
    assert card["classify"](*texts) == pytest.approx(expected, rel=1e-5) and list(expected) == list(labels.values())
    is_number = 'function_to_apply="none"' in (folder / "README.md").read_text()
    assert is_number == Predictor(folder).is_regression == (len(labels) == 1)
    example = ("It rains.", "The street is wet.") if pairs else ("A joy to watch.",)
    assert eval(printed) == pytest.approx(Predictor(folder).classify(*example).scores, rel=1e-5)


def test_tags(tmp_path):
    folder = exported(tmp_path, "token-classification", id2label={0: "O", 1: "B-PER", 2: "I-PER"})
    card, _ = pasted(folder)
    tags = card["tags"]("Ada Lovelace wrote the notes")
    assert [word for word, _ in tags] == ["Ada", "Lovelace", "wrote", "the", "notes"]
    predictor = Predictor(folder)
    (logits,) = predictor.engine.run(predictor.tokenizer("Ada Lovelace wrote the notes", return_tensors="np"))
    assert [tag for _, tag in tags] == [["O", "B-PER", "I-PER"][index] for index in logits[0, 1:-1].argmax(-1)]


@pytest.mark.parametrize(
    ("head", "notes", "labels", "line"),
    [
        ("question-answering", {}, 2, 'await model.answer("Who wrote it?", "Ada wrote it.")'),
        ("token-classification", {}, 2, 'await model.entities("Ada Lovelace lived in London.")'),
        ("sequence-classification", {}, 2, 'await pipeline("text-classification", "./hub")'),
        ("sequence-classification", {}, 1, 'await model.classify("A joy to watch.")'),
        (
            "sequence-classification",
            {"takes_pairs": True},
            2,
            'await model.classify("It rains.", "The street is wet.")',
        ),
    ],
)
def test_transformers_js(head, notes, labels, line, tmp_path, monkeypatch):
    """A relative folder begins with a dot: of one or two names transformers.js makes a model of the hub."""
    monkeypatch.chdir(tmp_path)
    exported(tmp_path, head, notes, {"out": Path("hub"), "layout": "hub"}, num_labels=labels)
    (code,) = (block.partition("```")[0] for block in Path("hub/README.md").read_text().split("```js\n")[1:])
    assert line in code and '"hub' not in code
    assert ('from "./hub/mobilebert.mjs"' in code) == ("pipeline" not in line)
    source = read_source("hub")
    static = replace(source.manifest, quantization="int8")  # of another file: onnx/model.onnx is float32
    lines = snippets.sections(Path("hub"), Path("hub"), static, source.config, source.rules)
    assert any(line.startswith("OpenVINO (`pip install") for line in lines)


@pytest.mark.parametrize("takes_pairs", [False, True])
def test_mediapipe(takes_pairs, tmp_path):
    """It reads one text; ``tests/clients/mediapipe`` runs what the card says."""
    folder = exported(tmp_path, "sequence-classification", {"takes_pairs": takes_pairs})
    manifest = replace(read_source(folder).manifest, engines=["litert"])
    lines = litert_card.lines(folder, manifest, load_checkpoint(str(tmp_path / "model"), None))
    path = str(folder / "model.tflite").replace('"', '\\"')
    assert any(f'model_asset_path="{path}"' in line for line in lines) != takes_pairs
    assert takes_pairs or compile("\n".join(lines).split("```python\n")[-1].partition("```")[0], "card", "exec")


def test_what_a_toy_model_knows_stands_in_its_card(tmp_path):
    folder = exported(tmp_path, "question-answering", {"caution": "knows only a toy world"})
    assert "**Take care: it knows only a toy world.**" in (folder / "README.md").read_text()
