"""run_squad.py from files to scores, and everything that can be wrong with what it is given."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.texts import NAMES, squad, write_squad, write_vocabulary

from mobilebert.inference.source import ReadingSettings
from mobilebert.model.config import MobileBertConfig
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.qa import QaFiles, QuestionAnswering

ROOT = Path(__file__).parents[2]
CONFIG = {
    "vocab_size": 38, "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_feedforward_networks": 2, "max_position_embeddings": 48,
    "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1, "normalization_type": "layer_norm",
}  # fmt: skip
TRAIN = (
    "--do_train", "--max_seq_length", "48", "--doc_stride", "8", "--batch_size", "8", "--learning_rate", "3e-3",
    "--max_steps", "12", "--eval_steps", "6", "--save_steps", "0", "--log_steps", "1", "--cache_dir", "",
)  # fmt: skip
EVAL = ("--do_eval", "--max_seq_length", "48", "--doc_stride", "8", "--cache_dir", "")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Vocabulary, data of both versions, a shape without weights, and a checkpoint with a question answering head."""
    folder = tmp_path_factory.mktemp("squad")
    size = len(write_vocabulary(folder / "vocab.txt").read_text().splitlines())
    (folder / "shape.json").write_text(json.dumps({**CONFIG, "vocab_size": size}))
    write_squad(folder / "train.json", 60)
    write_squad(folder / "dev.json", 10, seed=1)
    write_squad(folder / "train2.json", 60, unanswerable=True)
    write_squad(folder / "dev2.json", 12, seed=1, unanswerable=True)
    plan = RunPlan(folder, config_name=str(folder / "shape.json"))
    model, _ = QuestionAnswering(QaFiles(), ReadingSettings(48)).build_model(plan, 0)
    model.save_pretrained(folder / "checkpoint")
    shutil.copyfile(folder / "vocab.txt", folder / "checkpoint" / "vocab.txt")
    return folder


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def printed_scores(output):
    """The indented JSON at the end of what an evaluation prints."""
    assert output[output.index("\n{") :].startswith('\n{\n  "exact": ')
    return json.loads(output[output.index("\n{") :])


def test_training_and_evaluation_give_the_same_numbers_and_answers(place, tmp_path, run_script):
    out, again = tmp_path / "out", tmp_path / "again"
    files = "--train_file", place / "train.json", "--dev_file", place / "dev.json"
    code, output, errors = run_script(
        "run_squad", "--config_name", place / "shape.json", "--tokenizer_name", place / "vocab.txt",
        "--output_dir", out, *files, *TRAIN, "--do_eval",
    )  # fmt: skip
    assert code == 0 and not errors
    assert {path.name for path in out.iterdir()} >= {
        "run.log", "logs", "args.json", "eval_results.json", "predictions.json", "nbest_predictions.json", "best",
    }  # fmt: skip
    arguments = read(out / "args.json")
    assert arguments["max_steps"] == 12 and arguments["learning_rate"] == 3e-3 and arguments["adam_beta2"] == 0.98
    assert arguments["train_file"] == str(place / "train.json") and arguments["doc_stride"] == 8
    log = (out / "run.log").read_text()
    for said in ("paddle", "learning_rate", "checksum", "12 steps in all", "dev-selected", "final checkpoint"):
        assert said in log and (said in output)
    results = read(out / "eval_results.json")
    assert results["examples"] == 10 and results["final"]["step"] == 12
    losses = [json.loads(line)["loss"] for line in (out / "train.jsonl").read_text().splitlines()]
    assert len(losses) == 12 and sum(losses[-3:]) < sum(losses[:3])

    assert set(read(out / "best" / "manifest.json")["files"]) == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
    }  # fmt: skip
    noted = read(out / "best" / "config.json")["task_specific_params"]["question-answering"]
    assert noted == {
        "max_seq_length": 48, "doc_stride": 8, "max_answer_length": 30,
        "version_2_with_negative": False, "null_score_diff_threshold": 0.0,
    }  # fmt: skip

    code, output, errors = run_script(
        "run_squad", "--model_name_or_path", out / "best", "--output_dir", again, *files[2:], *EVAL
    )  # fmt: skip
    assert code == 0 and not errors
    evaluated = read(again / "eval_results.json")["evaluated"]
    selected = results["dev_selected"]
    whole = {"exact": evaluated["exact_match"], "f1": evaluated["f1"], "total": 10}
    assert printed_scores(output) == {**whole, **{f"HasAns_{name}": value for name, value in whole.items()}}
    assert (evaluated["exact_match"], evaluated["f1"]) == (selected["exact_match"], selected["f1"])
    for name in ("predictions.json", "nbest_predictions.json"):
        assert read(again / name) == read(out / name)
    assert list(read(out / "predictions.json")) == [f"s1q{number}" for number in range(10)]

    # predict.py reads as the model was trained, without a flag that says how: the same answers.
    code, _, errors = run_script(
        "predict", "qa", "--model", out / "best", "--input", place / "dev.json", "--output", tmp_path / "answers.jsonl"
    )  # fmt: skip
    assert code == 0 and not errors
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert {row["id"]: row["answer"] for row in rows} == read(out / "predictions.json")

    # Unlabelled questions, other batches: the same answers.
    questions = read(place / "dev.json")
    for paragraph in questions["data"][0]["paragraphs"]:
        del paragraph["qas"][0]["answers"]
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    code, _, errors = run_script(
        "run_squad", "--model_name_or_path", out / "best", "--output_dir", tmp_path / "predicted", "--do_predict",
        "--test_file", tmp_path / "questions.json", *EVAL[1:], "--eval_batch_size", "3",
    )  # fmt: skip
    assert code == 0 and not errors
    assert read(tmp_path / "predicted" / "predictions.json") == read(out / "predictions.json")
    assert not (tmp_path / "predicted" / "eval_results.json").exists()


def test_version_2_has_null_odds_and_a_threshold_that_works(place, tmp_path, run_script):
    out = tmp_path / "out"
    code, _, errors = run_script(
        "run_squad", "--config_name", place / "shape.json", "--tokenizer_name", place / "vocab.txt",
        "--output_dir", out, "--train_file", place / "train2.json", "--dev_file", place / "dev2.json",
        "--version_2_with_negative", *TRAIN, "--do_eval",
    )  # fmt: skip
    assert code == 0 and not errors
    scores = read(out / "eval_results.json")["dev_selected"]
    assert scores["total"] == 12 and scores["HasAns_total"] == 8 and scores["NoAns_total"] == 4
    assert {"exact", "f1", "best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"} <= set(scores)
    assert len(read(out / "null_odds.json")) == 12
    for threshold, empty in ((-1e9, 12), (1e9, 0)):
        folder = tmp_path / f"at{threshold:g}"
        code, output, _ = run_script(
            "run_squad", "--model_name_or_path", out / "best", "--output_dir", folder, "--dev_file",
            place / "dev2.json", "--version_2_with_negative", f"--null_score_diff_threshold={threshold}", *EVAL,
        )  # fmt: skip
        assert code == 0
        predictions = read(folder / "predictions.json")
        assert sum(not text for text in predictions.values()) == empty
        evaluated = read(folder / "eval_results.json")["evaluated"]
        assert evaluated["NoAns_exact"] == (100 if empty else 0)
        del evaluated["model"]
        assert printed_scores(output) == evaluated and "best_f1_thresh" in evaluated


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_real_files(version, data_folder, tmp_path, run_script):
    """A slice of the real dev set as train and dev set, long contexts in several windows."""
    whole = read(data_folder / "squad" / f"dev-v{version}.json")
    article = {**whole["data"][0], "paragraphs": whole["data"][0]["paragraphs"][:2]}
    (tmp_path / "slice.json").write_text(json.dumps({**whole, "data": [article]}))
    (tmp_path / "shape.json").write_text(
        json.dumps({**CONFIG, "vocab_size": 30522, "max_position_embeddings": 128, "num_hidden_layers": 1})
    )
    version_2 = ["--version_2_with_negative"] if version == "2.0" else []
    common = [
        "--max_seq_length", "96", "--doc_stride", "32", "--cache_dir", tmp_path / "cache", *version_2,
        "--dev_file", tmp_path / "slice.json", "--do_eval",
    ]  # fmt: skip
    code, _, errors = run_script(
        "run_squad", "--config_name", tmp_path / "shape.json", "--tokenizer_name", data_folder / "vocab.txt",
        "--output_dir", tmp_path / "out", "--train_file", tmp_path / "slice.json", "--do_train",
        "--batch_size", "8", "--max_steps", "4", "--learning_rate", "1e-3", *common,
    )  # fmt: skip
    assert code == 0 and not errors
    results = read(tmp_path / "out" / "eval_results.json")
    assert results["features"] > results["examples"] == sum(len(p["qas"]) for p in article["paragraphs"])
    code, _, _ = run_script(
        "run_squad", "--model_name_or_path", tmp_path / "out" / "best", "--output_dir", tmp_path / "again", *common
    )
    assert code == 0
    evaluated = read(tmp_path / "again" / "eval_results.json")["evaluated"]
    assert all(evaluated[key] == value for key, value in results["dev_selected"].items() if key != "step")
    assert read(tmp_path / "again" / "predictions.json") == read(tmp_path / "out" / "predictions.json")


# What can be wrong with the data


def first_question(content):
    return content["data"][0]["paragraphs"][0]["qas"][0]


def misplace(content):
    first_question(content)["answers"][0]["answer_start"] += 1


def duplicate(content):
    paragraphs = content["data"][0]["paragraphs"]
    paragraphs[3]["qas"][0]["id"] = paragraphs[1]["qas"][0]["id"]


def empty(content):
    content["data"][0]["paragraphs"][2]["context"] = "  "


def unanswer(content):
    first_question(content)["answers"] = []


BAD_DATA = {
    "misplaced answer": (misplace, "1 of 60 questions have an answer that is not in the context at its answer_start"
                                   " (first: s0q0)"),
    "duplicate id": (duplicate, "s0q1"),
    "empty context": (empty, "train.json: data[0].paragraphs[2].context is empty"),
    "no answer in v1.1": (unanswer, "for SQuAD v2.0 set --version_2_with_negative"),
    "no structure": (lambda content: content.pop("data"), "train.json: data is missing; expected SQuAD's structure"),
}  # fmt: skip


def expect_error(ended, *messages):
    code, _, errors = ended
    assert code == 2, errors
    assert errors.startswith("error: ") and errors.count("\n") == 1 and errors.endswith("\n")
    for message in messages:
        assert message in errors


def train_from(place, *arguments):
    """A complete command; what is given last counts."""
    return (
        "run_squad", "--config_name", place / "shape.json", "--tokenizer_name", place / "vocab.txt",
        "--train_file", place / "train.json", "--dev_file", place / "dev.json", *TRAIN, "--do_eval", *arguments,
    )  # fmt: skip


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_named(name, place, tmp_path, run_script):
    spoil, message = BAD_DATA[name]
    content = squad(60)
    spoil(content)
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    ended = run_script(*train_from(place, "--train_file", path, "--output_dir", tmp_path / "out"))
    expect_error(ended, str(path), message)
    assert not (tmp_path / "out").exists()


def test_missing_and_broken_files_are_named(place, tmp_path, run_script):
    (tmp_path / "broken.json").write_text('{"data": [\n  {]')
    (tmp_path / "broken.json.gz").write_bytes(b"\x1f\x8b no archive")
    for flag in ("--train_file", "--dev_file"):
        for name, message in (
            ("absent.json", "absent.json: no such file"),
            ("broken.json", "broken.json: broken JSON at line 2 column 4"),
            ("broken.json.gz", "broken.json.gz: cannot be read"),
        ):
            ended = run_script(*train_from(place, flag, tmp_path / name, "--output_dir", tmp_path / "out"))
            expect_error(ended, message)
    assert not (tmp_path / "out").exists()


def test_bad_answers_can_be_dropped(place, tmp_path, run_script):
    content = squad(60)
    misplace(content)
    (tmp_path / "train.json").write_text(json.dumps(content))
    code, output, _ = run_script(
        *train_from(
            place, "--train_file", tmp_path / "train.json", "--output_dir", tmp_path / "out", "--max_steps", "1",
            "--on_bad_answer", "drop",
        )
    )  # fmt: skip
    assert code == 0 and "59 examples" in output and "1 dropped" in output


# What annotation tools write


BRIDGE = "The bridge was built by Ann Teel in 1843. It carries two roads."
ANN = {"text": "Ann Teel", "answer_start": 24}


def write_bridge(path, *questions, context=BRIDGE):
    qas = [{"id": f"q{number}", "question": "who ?", **entry} for number, entry in enumerate(questions)]
    path.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": [{"context": context, "qas": qas}]}]}))
    return path


def test_impossible_questions_with_answers(place, tmp_path, run_script):
    """Named in training, left out when told so; evaluated by the official rule, with a line that says how many."""
    mine = write_bridge(tmp_path / "mine.json", {"answers": [ANN]}, {"answers": [ANN], "is_impossible": "true"})
    said = "mine.json: 1 of 2 questions have answers, but is_impossible is true (first: q1)"
    command = train_from(place, "--train_file", mine, "--output_dir", tmp_path / "out", "--max_steps", "1")
    for version_2 in ("--version_2_with_negative", "--no-version_2_with_negative"):
        expect_error(run_script(*command, version_2), said, "leave these questions out with --on_bad_answer drop")
    code, output, _ = run_script(*command, "--dev_file", mine, "--on_bad_answer", "drop")
    assert code == 0 and f"{said}; left out" in output and "1 examples, 0 unanswerable, 1 dropped" in output
    assert f"{said}; scored by their answers" in output
    assert read(tmp_path / "out" / "eval_results.json")["examples"] == 2


def test_no_answer_as_an_empty_text(place, tmp_path, run_script):
    """One unanswerable question, in training and in evaluation; without version 2 it is named."""
    mine = write_bridge(tmp_path / "mine.json", {"answers": [ANN]}, {"answers": [{"text": "", "answer_start": -1}]})
    files = ("--train_file", mine, "--dev_file", mine, "--output_dir", tmp_path / "out", "--max_steps", "1")
    expect_error(run_script(*train_from(place, *files)), "1 of 2 questions have no answer (first: q1)")
    code, output, _ = run_script(*train_from(place, *files, "--version_2_with_negative", "--on_bad_answer", "drop"))
    assert code == 0 and "2 examples, 1 unanswerable, 0 dropped" in output
    assert output.count("1 of 2 questions have only answers without a text (first: q1); they count as unanswer") == 2
    scores = read(tmp_path / "out" / "eval_results.json")["dev_selected"]
    assert (scores["HasAns_total"], scores["NoAns_total"]) == (1, 1)


def test_a_dev_file_with_a_wrong_start_is_evaluated(place, tmp_path, run_script):
    mine = write_bridge(tmp_path / "mine.json", {"answers": [{"text": "1843", "answer_start": 3}]}, {"answers": [ANN]})
    arguments = ("run_squad", "--model_name_or_path", place / "checkpoint", *EVAL, "--dev_file", mine)
    code, _, errors = run_script(*arguments, "--output_dir", tmp_path / "out")
    assert code == 0, errors
    assert read(tmp_path / "out" / "eval_results.json")["examples"] == 2


def test_questions_to_be_answered_need_nothing_else(place, tmp_path, run_script):
    """Ids as numbers, answers of null; a context of zero-width characters has no answer, not the word "empty"."""
    content = read(write_bridge(tmp_path / "mine.json", {"id": 51, "answers": None}))
    content["data"][0]["paragraphs"].append({"context": "\u200b\u200b", "qas": [{"id": 52, "question": "who ?"}]})
    (tmp_path / "mine.json").write_text(json.dumps(content))
    arguments = ("run_squad", "--model_name_or_path", place / "checkpoint", *EVAL[1:], "--do_predict")
    for version_2 in ("--version_2_with_negative", "--no-version_2_with_negative"):
        out = tmp_path / version_2
        code, _, errors = run_script(*arguments, "--test_file", tmp_path / "mine.json", "--output_dir", out, version_2)
        assert code == 0, errors
        answers = read(out / "predictions.json")
        assert list(answers) == ["51", "52"] and answers["52"] == ""
    assert answers["51"] and answers["51"] in BRIDGE
    code, _, errors = run_script(
        "predict", "qa", "--model", place / "checkpoint", "--input", tmp_path / "mine.json",
        "--output", tmp_path / "answers.jsonl",
    )  # fmt: skip
    assert code == 0, errors
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert rows[0]["answer"] and [(row["id"], row["answer"]) for row in rows][1] == ("52", "")


# What can be wrong with the model


def test_checkpoints_and_vocabularies_that_do_not_fit_are_named(place, tmp_path, run_script):
    bad = tmp_path / "bad"
    vocabulary = (place / "vocab.txt").read_text()

    def spoil(**config):
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(place / "checkpoint", bad)
        (bad / "config.json").write_text(json.dumps({**read(bad / "config.json"), **config}))

    def evaluate(*arguments):
        return run_script(
            "run_squad", "--model_name_or_path", bad, "--output_dir", tmp_path / "out", "--dev_file",
            place / "dev.json", *EVAL, *arguments,
        )  # fmt: skip

    spoil()
    assert evaluate("--output_dir", tmp_path / "good")[0] == 0
    spoil(intermediate_size=40)
    expect_error(evaluate(), "bad: config.json says intermediate_size=40, its weights have 32; does its config.json")
    spoil(num_hidden_layers=3)
    expect_error(evaluate(), "bad: config.json says num_hidden_layers=3, its weights have 2; does its config.json")
    spoil(num_hidden_layers=1)
    expect_error(evaluate(), "tensors of the backbone have no place in the model, first mobilebert.encoder.layer.1")
    spoil(model_type="bert")
    expect_error(evaluate(), "config.json: model_type='bert': expected 'mobilebert'")
    spoil()
    (bad / "vocab.txt").write_text(vocabulary + "extra\n")
    size = len(vocabulary.splitlines())
    expect_error(evaluate(), f"the tokenizer has {size + 1} tokens, the model {size}; give the model's own vocabulary")
    spoil()
    (bad / "vocab.txt").unlink()
    expect_error(evaluate(), "vocab.txt")
    spoil()
    (bad / "model.safetensors").write_bytes(b"torn")
    expect_error(evaluate(), "model.safetensors: has 4 bytes instead of")
    (bad / "manifest.json").unlink()
    expect_error(evaluate(), "model.safetensors: not a readable safetensors file")
    (bad / "model.safetensors").unlink()
    expect_error(evaluate(), "bad: found neither model.safetensors nor model_state.pdparams")
    expect_error(evaluate("--model_name_or_path", tmp_path / "absent"), "absent: no such folder")
    expect_error(
        evaluate("--max_seq_length", "64", "--model_name_or_path", place / "checkpoint"), "--max_seq_length 64"
    )
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_a_head_answers_nothing(place, tmp_path, run_script):
    from mobilebert.model.modeling import MobileBertModel

    MobileBertModel(MobileBertConfig(**read(place / "shape.json"))).save_pretrained(tmp_path / "bare")
    shutil.copyfile(place / "vocab.txt", tmp_path / "bare" / "vocab.txt")
    ended = run_script(
        "run_squad", "--model_name_or_path", tmp_path / "bare", "--output_dir", tmp_path / "out", "--dev_file",
        place / "dev.json", *EVAL,
    )  # fmt: skip
    expect_error(ended, "bare: has no question answering head; train one with --do_train first")


def test_a_shape_that_is_impossible_is_named(place, tmp_path, run_script):
    (tmp_path / "shape.json").write_text(json.dumps({**CONFIG, "num_attention_heads": 5}))
    ended = run_script(*train_from(place, "--config_name", tmp_path / "shape.json", "--output_dir", tmp_path / "out"))
    expect_error(ended, "shape.json: num_attention_heads=5 does not divide true_hidden_size=16")


# What can be wrong with the run


def test_a_run_that_diverges_stops_with_one_line(place, tmp_path, run_script):
    ended = run_script(
        *train_from(place, "--output_dir", tmp_path / "out", "--learning_rate", "1e38", "--warmup_ratio", "0")
    )
    expect_error(ended, "step ", "loss nan", "the 8 examples are s0q", "lower learning_rate, or on_nan=skip")
    assert not (tmp_path / "out" / "best").exists() and not (tmp_path / "out" / "eval_results.json").exists()
    assert list((tmp_path / "out").glob("nonfinite_step*.npz"))


def test_an_earlier_run_is_not_overwritten(place, tmp_path, run_script):
    out = tmp_path / "out"
    assert run_script(*train_from(place, "--output_dir", out, "--max_steps", "2"))[0] == 0
    before = contents(out)
    ended = run_script(*train_from(place, "--output_dir", out, "--max_steps", "3"))
    expect_error(ended, f"{out}: holds an earlier run; resume it (--resume), overwrite it")
    assert contents(out) == before
    code, _, _ = run_script(*train_from(place, "--output_dir", out, "--max_steps", "3", "--overwrite_output_dir"))
    assert code == 0 and read(out / "args.json")["max_steps"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to do: give --do_train, --do_eval or --do_predict"),
        (("--do_eval",), "--model_name_or_path is missing: which checkpoint is to answer?"),
        (("--do_train", "--config_name", "x"), "give --tokenizer_name (a vocab.txt) too"),
        (("--do_predict", "--model_name_or_path", "x"), "--do_predict: which questions? give --test_file"),
        (("--do_train", "--config_name", "x", "--tokenizer_name", "y", "--model_name_or_path", "z"), "exactly one of"),
        (("--do_train", "--batch_size", "0"), "--batch_size=0: expected a whole number of at least 1"),
        (("--do_eval", "--n_best_size", "0"), "--n_best_size 0: expected at least 1"),
        (("--do_eval", "--eval_batch_size", "0"), "--eval_batch_size 0: expected at least 1"),
        (("--do_train", "--learning_rat", "1"), "unknown argument --learning_rat; did you mean --learning_rate?"),
    ],
)
def test_flags_that_make_no_sense_are_named(arguments, message, tmp_path, run_script):
    expect_error(run_script("run_squad", "--output_dir", tmp_path / "out", *arguments), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_real_command(place, tmp_path):
    """As a user meets it: exit codes, one line for an error beside the line of runtime, no traceback."""
    content = squad(12)
    misplace(content)
    (tmp_path / "bad.json").write_text(json.dumps(content))
    ours = ("MOBILEBERT_QUIET", "OMP_NUM_THREADS")  # this process has had its threads set
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    for train_file, code in ((place / "train.json", 0), (tmp_path / "bad.json", 2)):
        script, *arguments = train_from(
            place, "--train_file", train_file, "--output_dir", tmp_path / f"out{code}", "--max_steps", "2"
        )
        ended = subprocess.run(
            [sys.executable, f"{script}.py", *map(str, arguments)],
            capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr
        lines = ended.stderr.splitlines()
        assert lines[0].startswith("runtime: ")
        if code:
            assert len(lines) == 2 and lines[1].startswith("error: ") and "(first: s0q0)" in lines[1]
            assert not (tmp_path / "out2").exists()
        else:
            assert len(lines) == 1 and (tmp_path / "out0" / "best" / "vocab.txt").exists()
    assert all(name in (place / "vocab.txt").read_text() for name in NAMES)


# How a checkpoint is read: the flag, else its note, else the default.


def test_evaluation_reads_as_the_checkpoint_notes_and_flags_win(place, tmp_path, run_script):
    out, files = tmp_path / "out", ("--dev_file", place / "dev.json", "--cache_dir", "")
    assert run_script(*train_from(place, "--output_dir", out, "--max_steps", "2", "--max_answer_length", "7"))[0] == 0

    def read_with(name, *flags):
        arguments = ("run_squad", "--model_name_or_path", out / "best", "--output_dir", tmp_path / name, "--do_eval")
        code, output, errors = run_script(*arguments, *files, *flags)
        assert code == 0, errors
        return next(line for line in output.splitlines() if line.startswith("reading: "))

    noted = read_with("noted")
    for said in (
        "max_seq_length 48 (noted by the checkpoint)", "doc_stride 8 (noted by the checkpoint)",
        "max_answer_length 7 (noted by the checkpoint)", "allow_no_answer False (noted by the checkpoint)",
    ):  # fmt: skip
        assert said in noted
    explicit = read_with("explicit", "--max_seq_length", "48", "--doc_stride", "8", "--max_answer_length", "7")
    assert "max_seq_length 48 (given), doc_stride 8 (given), max_answer_length 7 (given)" in explicit
    assert contents(tmp_path / "noted")["predictions.json"] == contents(tmp_path / "explicit")["predictions.json"]
    assert "doc_stride 13 (given)" in read_with("flag", "--max_seq_length", "40", "--doc_stride", "13")

    # predict.py answers the same, by the same rule; without notes both take the defaults, the stride cut to a third.
    config = json.loads((out / "best" / "config.json").read_text())
    del config["task_specific_params"]
    (out / "best" / "config.json").write_text(json.dumps(config))
    plain = read_with("plain")
    assert "max_seq_length 48 (default), doc_stride 16 (default), max_answer_length 30 (default)" in plain
    code, _, errors = run_script(
        "predict", "qa", "--model", out / "best", "--input", place / "dev.json", "--output", tmp_path / "answers.jsonl"
    )  # fmt: skip
    assert code == 0, errors
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert {row["id"]: row["answer"] for row in rows} == read(tmp_path / "plain" / "predictions.json")
