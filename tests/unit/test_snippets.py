"""The card's lines for ONNX Runtime, pasted and run, say what ``Predictor`` says; the others: ``tests/clients``."""

import contextlib
import io

import pytest
from support.models import save_checkpoint

from mobilebert import Predictor
from mobilebert.export.export import ExportPlan, export
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


def exported(tmp_path, head, notes=None, **changes):
    source = save_checkpoint(tmp_path / "model", head, **changes)
    if notes:
        MobileBertConfig.from_pretrained(source).with_task_params(head, **notes).save_pretrained(source)
    export(ExportPlan(str(source), tmp_path / 'ex"port', max_seq_length=24))
    return tmp_path / 'ex"port'


@pytest.mark.parametrize("threshold", [None, -100.0, 0.0, 100.0], ids=str)
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
    assert ("handle_impossible_answer=True" in readme) == (threshold is not None)


@pytest.mark.parametrize("kind", [None, "regression", "multi_label_classification"], ids=str)
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pairs"])
def test_classes(kind, pairs, tmp_path):
    labels = {0: "score"} if kind == "regression" else {0: 'a "b"', 1: "ö", 2: "c"}
    folder = exported(tmp_path, "sequence-classification", {"takes_pairs": pairs}, id2label=labels, problem_type=kind)
    card, printed = pasted(folder)
    texts = TEXTS if pairs else TEXTS[:1]
    expected = Predictor(folder).classify(*texts).scores
    assert card["classify"](*texts) == pytest.approx(expected, rel=1e-5) and list(expected) == list(labels.values())
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


def test_what_a_toy_model_knows_stands_in_its_card(tmp_path):
    folder = exported(tmp_path, "question-answering", {"caution": "knows only a toy world"})
    assert "**Take care: it knows only a toy world.**" in (folder / "README.md").read_text()
