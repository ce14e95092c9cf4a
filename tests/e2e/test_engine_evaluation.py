"""``--engine``: an exported model is scored as its checkpoint is, and what cannot be is said in one line."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.models import CHECKPOINT_SIZES, forget_digests, save_checkpoint
from support.texts import CHECKPOINT_VOCABULARY, write_long_squad

from mobilebert.export.export import ExportPlan, export
from mobilebert.inference.source import ReadingSettings
from mobilebert.tasks.model import load_exported, run_of
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.qa import QaFiles, QuestionAnswering

ENGINES = ("native", "onnxruntime", "paddle", "dygraph")
LABELS = {"id2label": {0: "negative", 1: "positive"}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Checkpoints with three heads, what each becomes, and text to score them on."""
    folder = tmp_path_factory.mktemp("engines")
    save_checkpoint(folder / "qa", "question-answering")
    save_checkpoint(folder / "sst2", "sequence-classification", **LABELS)
    save_checkpoint(folder / "ner", "token-classification", id2label=dict(enumerate(["O", "B-A", "I-A"])))
    for name in ("qa", "sst2", "ner"):
        export(ExportPlan(str(folder / name), folder / f"{name}-all", format="all"))
    export(ExportPlan(str(folder / "qa"), folder / "qa-onnx"))
    write_questions(folder / "squad.json")
    write_sentences(folder / "sst2.tsv")
    write_tagged(folder / "ner.conll")
    return folder


def write_questions(path):
    """Questions with different contexts, most of two windows; the answers are where a random model may find them."""
    write_long_squad(path)
    data = json.loads(path.read_text())
    paragraphs = []
    for seed in range(12):
        words = [
            CHECKPOINT_VOCABULARY[5 + i]
            for i in np.random.default_rng(seed).integers(0, len(CHECKPOINT_VOCABULARY) - 5, 20 + 5 * seed)
        ]
        answers = [{"text": word, "answer_start": len(" ".join(words[:i])) + (i > 0)} for i, word in enumerate(words)]
        questions = [{"id": f"{seed}", "question": "Who wrote it ?", "answers": answers[:3]}]
        paragraphs.append({"context": " ".join(words), "qas": questions})
    data["data"][0]["paragraphs"] += paragraphs
    path.write_text(json.dumps(data))


def write_sentences(path):
    rng = np.random.default_rng(0)
    rows = [
        " ".join(CHECKPOINT_VOCABULARY[5 + i] for i in rng.integers(0, len(CHECKPOINT_VOCABULARY) - 5, length))
        + f"\t{length % 2}\n"
        for length in range(3, 60)
    ]
    path.write_text("sentence\tlabel\n" + "".join(rows))


def write_tagged(path):
    """Sentences of up to two windows, with tags that a random model may find."""
    rng = np.random.default_rng(0)
    lines = []
    for length in range(3, 80, 2):
        for number in rng.integers(0, len(CHECKPOINT_VOCABULARY) - 5, length):
            lines.append(f"{CHECKPOINT_VOCABULARY[5 + number]} {['O', 'B-A'][number % 2]}")
        lines.append("")
    path.write_text("\n".join(lines))


def squad_arguments(place, model, out):
    return (
        "run_squad", "--model_name_or_path", model, "--output_dir", out, "--dev_file", place / "squad.json",
        "--do_eval", "--max_seq_length", CHECKPOINT_SIZES["max_position_embeddings"], "--doc_stride", 16,
        "--cache_dir", "",
    )  # fmt: skip


def glue_arguments(place, model, out):
    return (
        "run_glue", "--task_name", "sst2", "--model_name_or_path", model, "--output_dir", out,
        "--dev_file", place / "sst2.tsv", "--do_eval", "--max_seq_length", 64, "--cache_dir", "",
    )  # fmt: skip


def ner_arguments(place, model, out):
    return (
        "run_ner", "--model_name_or_path", model, "--output_dir", out, "--dev_file", place / "ner.conll", "--do_eval",
        "--max_seq_length", 64, "--doc_stride", 16,
    )  # fmt: skip


ARGUMENTS = {"qa": squad_arguments, "sst2": glue_arguments, "ner": ner_arguments}


@pytest.mark.parametrize("head", ARGUMENTS)
def test_every_engine_gives_the_checkpoints_scores(place, tmp_path, run_script, head):
    def evaluated(model, *engine):
        out = tmp_path / "-".join(["out", *engine])
        code, _, errors = run_script(*ARGUMENTS[head](place, place / model, out), *engine)
        assert code == 0, errors
        result = json.loads((out / "eval_results.json").read_text())["evaluated"]
        assert result.pop("model") == str(place / model)
        assert result.pop("engine", None) == (engine[1] if engine else None)
        return result

    expected = evaluated(head)
    assert 0 < expected["accuracy" if head == "sst2" else "f1"] < 100  # neither: it would not tell models apart
    for engine in ENGINES:
        scores = evaluated(f"{head}-all", "--engine", engine, "--threads", "1")
        assert scores == pytest.approx(expected, rel=1e-4)


def test_answers_are_written_too(place, tmp_path, run_script):
    for out, *engine in (("checkpoint",), ("onnxruntime", "--engine", "onnxruntime")):
        model = place / ("qa-onnx" if engine else "qa")
        arguments = [
            "run_squad", "--model_name_or_path", model, "--output_dir", tmp_path / out, "--do_predict",
            "--test_file", place / "squad.json", "--max_seq_length", 64, "--doc_stride", 16, "--cache_dir", "",
        ]  # fmt: skip
        assert run_script(*arguments, *engine)[0] == 0
    texts = [json.loads((tmp_path / out / "predictions.json").read_text()) for out in ("checkpoint", "onnxruntime")]
    assert texts[0] == texts[1] and len(set(texts[0].values())) > 1


def test_the_engine_reads_its_own_files_not_the_checkpoint(place, tmp_path):
    """The negative control: other weights in the exported folder, other logits, whatever the checkpoint says."""
    rng = np.random.default_rng(0)
    batch = {
        "input_ids": rng.integers(0, CHECKPOINT_SIZES["vocab_size"], (2, 16)),
        "attention_mask": np.ones((2, 16), np.int64),
        "token_type_ids": np.zeros((2, 16), np.int64),
    }

    def logits(folder, engine):
        return load_exported(str(folder), "question-answering", engine, 1).run(batch)[0]

    save_checkpoint(tmp_path / "altered", "question-answering")
    tensors = load_file(forget_digests(tmp_path / "altered") / "model.safetensors")
    tensors["qa_outputs.weight"] = tensors["qa_outputs.weight"] * 1.01
    save_file(tensors, tmp_path / "altered" / "model.safetensors", {"format": "pd"})
    export(ExportPlan(str(tmp_path / "altered"), tmp_path / "out", format="all"))
    task = QuestionAnswering(QaFiles(), ReadingSettings(64))
    model, _ = task.build_model(RunPlan(tmp_path, model_name_or_path=str(place / "qa")), 0)
    (expected, _) = run_of(model, task.outputs)(batch)
    for engine in ENGINES:
        np.testing.assert_allclose(logits(place / "qa-all", engine), expected, rtol=0, atol=1e-4)
        assert np.abs(logits(tmp_path / "out", engine) - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("head", "model", "engine", "said"),
    [
        ("qa", "qa-onnx", ("--engine", "onnxruntime", "--do_train"), "--engine onnxruntime: an exported model cannot"),
        ("sst2", "sst2-all", ("--engine", "paddle", "--do_train"), "--engine paddle: an exported model cannot"),
        ("qa", "qa", ("--engine", "onnxruntime"), "qa: no export.json, so not an exported model; make one"),
        ("sst2", "sst2", ("--engine", "paddle"), "sst2: no export.json, so not an exported model; make one"),
        ("qa", "qa-onnx", ("--engine", "paddle"), "qa-onnx: was not exported for paddle (only for onnxruntime)"),
        ("qa", "nowhere", ("--engine", "paddle"), "nowhere: no such folder; --engine paddle wants one that export.py"),
        ("qa", "sst2-all", ("--engine", "paddle"), "its head is sequence-classification, but question-answering is"),
        ("sst2", "qa-all", ("--engine", "paddle"), "its head is question-answering, but sequence-classification is"),
        ("qa", "qa-onnx", (), "without its checkpoint; evaluate it with --engine onnxruntime"),
        ("qa", "qa-onnx", ("--engine", "onnx"), "--engine: expected one of native, onnxruntime, paddle"),
        ("qa", "qa-onnx", ("--engine", "onnxruntime", "--threads", "0"), "--threads 0: expected at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_one_line(place, tmp_path, run_script, head, model, engine, said):
    out = tmp_path / "out"
    code, _, errors = run_script(*ARGUMENTS[head](place, place / model, out), *engine)
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert said in errors
    assert not out.exists()


def test_a_whole_export_is_a_checkpoint_too(place, tmp_path, run_script):
    code, _, errors = run_script(*squad_arguments(place, place / "qa-all", tmp_path / "out"))
    assert code == 0, errors
