"""Texts in, answers and classes out; the same from every engine and every thread."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.models import CHECKPOINT_SIZES, forget_digests, save_checkpoint
from support.table_models import save_classifier

from mobilebert.base.errors import InputError
from mobilebert.export.export import ExportPlan, export
from mobilebert.inference import source
from mobilebert.inference.manifest import MANIFEST
from mobilebert.inference.predictor import Predictor, logits_function
from mobilebert.inference.rows import batches_by_tokens
from mobilebert.model.config import MobileBertConfig
from mobilebert.tasks import recipes

ENGINES = ("onnxruntime", "paddle", "dygraph")
QUESTION = "Who wrote the notes ?"
CONTEXT = "The Engine was in it.  Ada Lovelace\twrote the notes in 1843 . " * 12  # two spaces, a tab, four windows


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Exported models of both heads that a predictor knows, and one that it does not."""
    folder = tmp_path_factory.mktemp("exported")
    labels = {0: "negative", 1: "neutral", 2: "positive"}
    heads = {"qa": ("question-answering", {}), "classes": ("sequence-classification", {"id2label": labels})}
    for name, (head, changes) in heads.items():
        checkpoint = save_checkpoint(folder / "checkpoint" / name, head, **changes)
        export(ExportPlan(str(checkpoint), folder / name, format="all"))
    export(ExportPlan(str(save_checkpoint(folder / "checkpoint" / "lm", "masked-lm")), folder / "lm"))
    return folder


def test_answers_are_pieces_of_the_context(folder):
    predictor = Predictor(folder / "qa")
    answers = predictor.answer(QUESTION, CONTEXT, top_k=5)
    assert len(answers) == 5
    assert all(answer.text == CONTEXT[answer.start : answer.end] != "" for answer in answers)
    assert len({(answer.start, answer.end) for answer in answers}) == 5
    scores = [answer.score for answer in answers]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < answer.probability < 1 for answer in answers)


def test_a_late_window_can_hold_the_answer(folder):
    predictor = Predictor(folder / "qa")
    ends = [answer.end for answer in predictor.answer(QUESTION, CONTEXT, top_k=20)]
    assert max(ends) > len(CONTEXT) // 3  # beyond the first window


def test_no_answer(folder):
    predictor = Predictor(folder / "qa")
    assert all(answer.text for answer in predictor.answer(QUESTION, CONTEXT, top_k=20))
    eager = predictor.answer(QUESTION, CONTEXT, top_k=2, allow_no_answer=True, null_score_diff_threshold=-1e9)
    assert (eager[0].text, eager[0].start, eager[0].end) == ("", -1, -1)
    assert eager[1].text
    never = predictor.answer(QUESTION, CONTEXT, allow_no_answer=True, null_score_diff_threshold=1e9)
    assert never == [] or never[0].text


def test_a_batch_is_its_rows(folder):
    predictor = Predictor(folder / "qa")
    contexts = [CONTEXT, "Ada Lovelace", "The engine . " * 7, "in 1843"]
    together = predictor.answer_batch([QUESTION] * 4, contexts, top_k=3)
    for context, answers in zip(contexts, together, strict=True):
        alone = predictor.answer(QUESTION, context, top_k=3)
        assert [answer.text for answer in alone] == [answer.text for answer in answers]
        assert np.allclose([answer.score for answer in alone], [answer.score for answer in answers], atol=1e-4)
    assert predictor.answer_batch([], []) == []


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_engines_agree(folder, engine):
    reference, other = Predictor(folder / "qa"), Predictor(folder / "qa", engine=engine, threads=1)
    for context in (CONTEXT, "Ada"):
        expected, got = (predictor.answer(QUESTION, context, top_k=3) for predictor in (reference, other))
        assert [(answer.text, answer.start) for answer in got] == [(answer.text, answer.start) for answer in expected]
        assert np.allclose([a.score for a in got], [a.score for a in expected], rtol=1e-4, atol=1e-5)
    texts, pairs = ["good film", "", "boring . " * 100], ["bad", "the engine", ""]
    reference, other = Predictor(folder / "classes"), Predictor(folder / "classes", engine=engine)
    for expected, got in zip(reference.classify_batch(texts), other.classify_batch(texts), strict=True):
        assert got.label == expected.label
        assert got.scores == pytest.approx(expected.scores, abs=1e-5)
    one, two = (predictor.classify_batch(texts, pairs) for predictor in (reference, other))
    assert [a.score for a in one] == pytest.approx([a.score for a in two], abs=1e-5)
    assert reference.classify("good film").scores != pytest.approx(reference.classify("bad film").scores, abs=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_get_their_own_answers(folder, engine):
    predictor = Predictor(folder / "qa", engine=engine)
    contexts = [CONTEXT[i:] for i in range(0, 96, 8)]
    expected = [predictor.answer(QUESTION, context) for context in contexts]
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda context: predictor.answer(QUESTION, context), contexts * 3))
    for alone, together in zip(expected * 3, got, strict=True):
        assert (alone[0].text, alone[0].start) == (together[0].text, together[0].start)


def test_kinds_of_classification(folder):
    labels = ["negative", "neutral", "positive"]
    predictor = Predictor(folder / "classes")
    result = predictor.classify("good film", "bad film")
    assert list(result.scores) == labels
    assert sum(result.scores.values()) == pytest.approx(1)
    assert result.score == max(result.scores.values()) == result.scores[result.label]
    predictor.config = predictor.config.with_labels(labels, "multi_label_classification")
    assert sum(predictor.classify("good film", "bad film").scores.values()) != pytest.approx(1)
    predictor.config = predictor.config.with_labels(labels, "regression")
    assert min(predictor.classify("good film").scores.values()) < 0 or predictor.classify("good film").score > 1


def test_rows_are_grouped_by_length():
    lengths = np.array([5, 300, 6, 300, 290, 5])
    groups = batches_by_tokens(lengths, tokens_per_run=600)
    assert sorted(np.concatenate(groups)) == list(range(6))
    assert [sorted(lengths[group]) for group in groups] == [[300, 300], [6, 290], [5, 5]]
    assert [len(group) for group in batches_by_tokens(lengths, tokens_per_run=1)] == [1] * 6


def test_onnxruntime_loads_without_paddle(folder):
    code = (
        "import sys, time; start = time.perf_counter(); from mobilebert.inference.predictor import Predictor; "
        f"predictor = Predictor({str(folder / 'qa')!r}); predictor.answer('Who ?', 'Ada wrote it .'); "
        "assert not {'paddle', 'torch', 'transformers'} & set(sys.modules); print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10  # 0.3 s on an idle machine; the benchmark reports it


def test_logits_function(folder):
    forward = logits_function(folder / "qa", "onnxruntime", threads=1)
    batch = {name: np.ones((2, 7), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    start_logits, end_logits = forward(batch)
    assert start_logits.shape == end_logits.shape == (2, 7)
    assert not np.array_equal(start_logits, end_logits)


def test_errors(folder, tmp_path):
    predictor = Predictor(folder / "qa")
    for arguments, message in (
        (("", CONTEXT), "question 0 is empty"),
        (("\u200b", CONTEXT), "question 0 is empty"),
        ((QUESTION, "  "), "context 0 is empty"),
        ((QUESTION, 3), "context 0: expected a text, got int"),
        ((QUESTION, "Ada \ud800"), "context 0: has an invalid character at 4"),
        (("who " * 80, CONTEXT), "raise the one or lower the other"),
    ):
        with pytest.raises(InputError, match=message):
            predictor.answer(*arguments)
    with pytest.raises(InputError, match="1 questions for 2 contexts"):
        predictor.answer_batch([QUESTION], [CONTEXT, CONTEXT])
    with pytest.raises(InputError, match="expected a list of texts"):
        predictor.answer_batch(QUESTION, [CONTEXT])
    with pytest.raises(InputError, match="2 questions for 1 ids: expected as many"):
        predictor.read_batch([QUESTION] * 2, [CONTEXT] * 2, ids=["a"])
    with pytest.raises(InputError, match="context b is empty"):
        predictor.read_batch([QUESTION] * 2, [CONTEXT, ""], ids=["a", "b"])
    with pytest.raises(InputError, match="max_answer_length=0: expected at least 1"):
        predictor.answer(QUESTION, CONTEXT, max_answer_length=0)
    with pytest.raises(InputError, match="top_k=0"):
        predictor.answer(QUESTION, CONTEXT, top_k=0)
    with pytest.raises(InputError, match="max_seq_length=65: expected 4 to 64"):
        predictor.answer(QUESTION, CONTEXT, max_seq_length=65)
    with pytest.raises(InputError, match="its head is question-answering; only sequence-classification classifies"):
        predictor.classify("good")
    with pytest.raises(InputError, match="its head is masked-lm"):
        Predictor(folder / "lm").answer(QUESTION, CONTEXT)
    with pytest.raises(InputError, match=r"was not exported for paddle \(only for onnxruntime\); export again"):
        Predictor(folder / "lm", engine="paddle")
    with pytest.raises(InputError, match="engine 'tflite': expected one of native, onnxruntime, paddle"):
        Predictor(folder / "qa", engine="tflite")
    with pytest.raises(InputError, match="`threads=0`: expected at least 1"):
        Predictor(folder / "qa", threads=0)
    with pytest.raises(InputError, match=r"has neither export\.json nor config\.json; give a fine-tuned"):
        Predictor(tmp_path)
    (tmp_path / MANIFEST).write_text('{"format": 99}')
    with pytest.raises(InputError, match="expected format 1; export the model again"):
        Predictor(tmp_path)


def test_a_checkpoint_answers_as_its_export(folder):
    predictors = [Predictor(place) for place in (folder / "qa", folder / "checkpoint" / "qa")]
    for context in (CONTEXT, "Ada Lovelace"):
        exported, checkpoint = (predictor.answer(QUESTION, context, top_k=3) for predictor in predictors)
        assert [(a.text, a.start) for a in checkpoint] == [(a.text, a.start) for a in exported]
        assert np.allclose([a.score for a in checkpoint], [a.score for a in exported], atol=1e-4)
    exported, checkpoint = (Predictor(place) for place in (folder / "classes", folder / "checkpoint" / "classes"))
    texts = ["good film", "boring . " * 100]
    for expected, got in zip(exported.classify_batch(texts), checkpoint.classify_batch(texts), strict=True):
        assert got.scores == pytest.approx(expected.scores, abs=1e-5)


def test_the_best_engine_is_chosen(folder, tmp_path):
    def engine(place):
        return type(Predictor(place).engine).__name__

    checkpoint = folder / "checkpoint" / "classes"
    export(ExportPlan(str(checkpoint), tmp_path / "paddle", format="paddle"))
    export(ExportPlan(str(checkpoint), tmp_path / "onnx"))
    assert engine(folder / "classes") == "NativeEngine"
    assert engine(tmp_path / "onnx") == "OnnxRuntimeEngine"
    assert engine(tmp_path / "paddle") == "PaddleEngine"
    assert engine(checkpoint) == "DygraphEngine"


def test_checkpoints_that_are_none(folder, tmp_path):
    with pytest.raises(InputError, match=r"says \['MobileBertForMaskedLM'\], expected MobileBertForQuestionAnswering"):
        Predictor(folder / "checkpoint" / "lm")
    for path in (folder / "checkpoint" / "lm").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("ForMaskedLM", "ForQuestionAnswering"))
    with pytest.raises(InputError, match=r"config\.json says \w+ForQuestionAnswering, but the weights have no qa_out"):
        Predictor(tmp_path)
    (tmp_path / "vocab.txt").write_text((tmp_path / "vocab.txt").read_text() + "more\n")
    (tmp_path / "tokenizer.json").unlink()
    tokens = CHECKPOINT_SIZES["vocab_size"]
    with pytest.raises(
        InputError, match=f"its tokenizer has {tokens + 1} tokens, its model {tokens}; do they belong together"
    ):
        Predictor(tmp_path)


def test_how_a_model_was_trained_goes_with_it(folder, tmp_path):
    noted = {"max_seq_length": 24, "doc_stride": 6, "max_answer_length": 2, "version_2_with_negative": True}
    extra = {"task_specific_params": {"question-answering": {**noted, "null_score_diff_threshold": -1e9}}}
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "question-answering", extra=extra)
    export(ExportPlan(str(checkpoint), tmp_path / "exported"))
    export(ExportPlan(str(checkpoint), tmp_path / "longer", max_seq_length=40))
    plain = Predictor(folder / "qa")
    for name, length in (("checkpoint", 24), ("exported", 24), ("longer", 40)):
        predictor = Predictor(tmp_path / name)
        reading = predictor.read(QUESTION, CONTEXT, top_k=3)
        assert reading.answers[0].text == ""
        assert reading.windows == plain.read(QUESTION, CONTEXT, max_seq_length=length, doc_stride=6).windows
        assert all(len(answer.text.split()) <= 2 for answer in reading.answers)
        options = {"max_answer_length": 30, "allow_no_answer": False, "max_seq_length": 64, "doc_stride": 21}
        said = predictor.read(QUESTION, CONTEXT, top_k=3, **options)
        assert (said.answers, said.windows) == (pytest.approx(said.answers), plain.read(QUESTION, CONTEXT).windows)
        assert said.null_odds is None and said.answers[0].text
    assert plain.read(QUESTION, CONTEXT).answers[0].text
    for name, value in (("doc_stride", -1), ("max_answer_length", "2"), ("version_2_with_negative", 1)):
        extra = {"task_specific_params": {"question-answering": {name: value}}}
        wrong = save_checkpoint(tmp_path / name, "question-answering", extra=extra)
        with pytest.raises(InputError, match=rf"config\.json: task_specific_params has {name}={value!r}; correct it"):
            Predictor(wrong)


def test_windows_cover_the_context(folder):
    predictor = Predictor(folder / "qa")
    windows = predictor.read(QUESTION, CONTEXT).windows
    assert windows == predictor.read(QUESTION, CONTEXT).windows
    assert len(windows) > 2
    assert windows[0][0] == 0 and windows[-1][1] == len(CONTEXT.rstrip())
    for (low, high), (next_low, next_high) in pairwise(windows):
        assert low < next_low < high < next_high
    apart = predictor.read(QUESTION, CONTEXT, doc_stride=0).windows
    assert all(high <= low for (_, high), (low, _) in pairwise(apart))
    assert predictor.read(QUESTION, "Ada").windows == [(0, 3)]
    with pytest.raises(InputError, match="context 0 is empty"):
        predictor.read(QUESTION, "")


def test_places_are_offered_once(folder):
    """Overlapping windows offer the same places; probabilities are shared among different ones."""
    predictor = Predictor(folder / "qa")
    answers = predictor.answer(QUESTION, CONTEXT, top_k=20, doc_stride=40)
    assert len({(answer.start, answer.end) for answer in answers}) == len(answers) > 5
    assert sum(answer.probability for answer in answers) == pytest.approx(1)


def test_question_tokens_do_not_crowd_out_the_answers(folder):
    """The best 20 tokens of a window may all be the question's: there is an answer all the same."""
    predictor = Predictor(folder / "qa")

    class Partial:
        """Scores the question's tokens higher than the context's."""

        def run(self, batch):
            context = batch["token_type_ids"] * batch["attention_mask"]
            scores = (1 - context) * 50.0 + np.arange(context.shape[1]) * 0.1
            return [scores.astype(np.float32), scores.astype(np.float32)]

    predictor.engine = Partial()
    question = "who wrote the notes in it ? " * 5
    for allow in (False, True):
        one, other = predictor.read_batch([question, "Who ?"], ["Ada wrote .", CONTEXT], allow_no_answer=allow, top_k=2)
        assert next(a.text for a in one.answers if a.text) == "."
        assert any(a.text for a in other.answers)
        assert (one.null_odds is None) != allow


def test_answers_keep_their_last_mark(folder):
    """Decomposed text: no answer and no window ends between a letter and its mark."""
    context = "ada\u0301 wrote\u0301 it\u0301"
    reading = Predictor(folder / "qa").read(QUESTION, context, top_k=20)
    assert {answer.text for answer in reading.answers} >= {"ada\u0301", "it\u0301", context}
    assert all(answer.text == context[answer.start : answer.end] for answer in reading.answers)
    assert all(context[answer.end : answer.end + 1] in (" ", "") for answer in reading.answers)
    assert reading.windows == [(0, len(context))]


def test_a_context_without_a_token(folder):
    answers = Predictor(folder / "qa").answer(QUESTION, "\x00\ufeff\x01")
    assert [(a.text, a.start, a.end, a.probability) for a in answers] == [("", -1, -1, 1.0)]


def test_outputs_that_are_no_numbers(folder):
    for head, call in (("qa", lambda p: p.answer("a", "b")), ("classes", lambda p: p.classify("a"))):
        predictor = Predictor(folder / head)
        run = predictor.engine.run
        for value in (np.nan, np.inf, -np.inf):
            predictor.engine.run = lambda batch, run=run, value=value: [output * 0 + value for output in run(batch)]
            with pytest.raises(InputError, match="its outputs are not numbers; did the training diverge"):
                call(predictor)


def test_a_damaged_file(folder, tmp_path):
    for path in (folder / "lm").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = forget_digests(tmp_path) / "model.onnx"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        Predictor(tmp_path)


def test_openvino_reads_the_portable_file_and_the_default_one(folder, tmp_path):
    pytest.importorskip("openvino", reason="the optional engine openvino is not installed")
    export(ExportPlan(str(folder / "checkpoint" / "qa"), tmp_path / "portable", portable=True))
    expected = Predictor(folder / "qa").answer(QUESTION, CONTEXT, top_k=3)
    for place in (tmp_path / "portable", folder / "qa"):
        got = Predictor(place, engine="openvino", threads=1).answer(QUESTION, CONTEXT, top_k=3)
        assert [(answer.text, answer.start) for answer in got] == [(answer.text, answer.start) for answer in expected]


# Several labels a text


@pytest.fixture
def tagger(tmp_path):
    """Gives a logit of 2 to the labels whose words are in the text, and 0, a probability of one half, to the others."""
    votes = {"good": "a", "film": "c"}
    return save_classifier(tmp_path / "tagger", ["a", "b", "c"], votes, "multi_label_classification")


def test_labels_above_the_threshold_are_chosen(tagger):
    predictor = Predictor(tagger)
    found = predictor.classify("good film")
    assert found.chosen == ("a", "c") and found.label == "a" and found.scores["b"] == 0.5  # one half is not above it
    assert found.scores["a"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert predictor.classify("good film", threshold=0.9).chosen == ()
    assert predictor.classify("film", threshold=0.4).chosen == ("c", "a", "b")
    with pytest.raises(InputError, match="`threshold=1`: expected a probability between 0 and 1"):
        predictor.classify("film", threshold=1)


def test_a_noted_threshold_holds_where_the_call_does_not_say(tagger):
    values = json.loads((tagger / "config.json").read_text())
    noted = {"task_specific_params": {"sequence-classification": {"threshold": 0.4}}}
    (tagger / "config.json").write_text(json.dumps({**values, **noted}))
    predictor = Predictor(tagger)
    assert predictor.classify("film").chosen == ("c", "a", "b")
    assert predictor.classify("film", threshold=0.5).chosen == ("c",)


def test_one_class_a_text_has_no_choice(tmp_path):
    save_classifier(tmp_path / "plain", ["a", "b"], {"good": "a"})
    assert Predictor(tmp_path / "plain").classify("good").chosen is None


def test_a_caution_is_said_once_and_not_where_it_is_to_be_quiet(tmp_path, capsys, monkeypatch):
    """What the training of a model noted, such as that the quickstart's knows its own toy world alone."""
    folder = save_checkpoint(tmp_path / "\x1btoy", "question-answering")
    config = MobileBertConfig.from_pretrained(folder)
    config.with_task_params("question-answering", caution="knows only a toy\nworld").save_pretrained(folder)
    said = f"{tmp_path}/\\x1btoy: knows only a toy\\nworld\n"
    monkeypatch.setenv("MOBILEBERT_QUIET", "1")
    Predictor(folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("MOBILEBERT_QUIET", "0")
    source._warn.cache_clear()
    for _ in range(2):
        Predictor(folder)
    assert capsys.readouterr().err == said
    config.with_task_params("question-answering", caution=["no", "text"]).save_pretrained(folder)
    Predictor(folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("table", "name"), [(recipes.QA_RECIPES, "quickstart"), (recipes.NER_RECIPES, "ner_sample")], ids=str
)
def test_the_recipes_of_toy_worlds_have_a_caution(table, name):
    assert [other for other, recipe in table.items() if recipe.caution] == [name]
