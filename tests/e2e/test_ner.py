"""Entities as a person finds them: the generated sample, trained, scored, resumed, exported, asked."""

import json
import shutil

import pytest
from support.models import save_checkpoint

from mobilebert import load
from mobilebert.base.files import file_digest
from mobilebert.data.ner.sentences import read_sentences
from samples.ner.generate import columns, generate

DEV_DIGEST_PREFIX = "The Feneon is a rare book."


@pytest.fixture(scope="module")
def data(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("ner_sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["generate.py", "--output_dir", str(folder), "--train_passages", "400",
                                   "--dev_passages", "50", "--vocab_size", "300"])  # fmt: skip
        from samples.ner.generate import main

        main()
    return folder


def test_the_sample_is_the_same_everywhere_and_in_both_forms(data):
    dev = generate("dev", 50, 0)
    assert dev[0]["text"].startswith(DEV_DIGEST_PREFIX) and dev == generate("dev", 50, 0) != generate("dev", 50, 1)
    spans, tagged = (read_sentences(data / f"dev{suffix}") for suffix in (".jsonl", ".conll"))
    assert spans.words == tagged.words and spans.tags == tagged.tags
    assert columns(dev) == (data / "dev.conll").read_text()
    names = [{row["text"][low:high] for row in generate(split, 300, 0) for low, high, kind in row["entities"]
              if kind != "DATE"} for split in ("train", "dev")]  # fmt: skip
    assert names[0] and names[1] and not names[0] & names[1]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return tmp_path_factory.mktemp("ner_run") / "output"


def training(data, output):
    return (
        "run_ner", "--recipe", "ner_sample", "--config_name", data / "config.json", "--tokenizer_name",
        data / "vocab.txt", "--train_file", data / "train.jsonl", "--dev_file", data / "dev.conll", "--output_dir",
        output, "--do_train", "--do_eval", "--max_steps", 90, "--save_steps", 60, "--eval_steps", 90, "--log_steps", 30,
    )  # fmt: skip


def test_from_training_to_answers(run_script, data, trained, tmp_path):
    code, said, errors = run_script(*training(data, trained))
    assert code == 0, errors
    best, results = trained / "best", json.loads((trained / "eval_results.json").read_text())
    assert results["dev_selected"]["f1"] > 90 and results["sentences"] == 50
    assert set(results["final"]) == {"step", "loss", "precision", "recall", "f1", "strict_f1", "accuracy"}
    assert (trained / "types.txt").read_text().splitlines()[0].split() == ["precision", "recall", "F1", "entities"]
    rows = [line.split("\t") for line in (trained / "predictions.conll").read_text().splitlines() if line]
    right = sum(gold == predicted for _, gold, predicted in rows)
    assert 100 * right / len(rows) == pytest.approx(results["dev_selected"]["accuracy"])

    weights = file_digest(best / "model.safetensors")
    checkpoint = trained / "checkpoints" / "step_00000060"
    code, said, errors = run_script(*training(data, trained), "--resume", checkpoint)
    assert code == 0 and "resumed at step 60" in said and file_digest(best / "model.safetensors") == weights

    exported = tmp_path / "int8"
    code, said, errors = run_script(
        "export", "--model", best, "--out", exported, "--quantize", "int8", "--calibration", data / "dev.jsonl",
        "--plot", tmp_path / "agreement.png",
    )  # fmt: skip
    metrics = json.loads((exported / "export.json").read_text())["metrics"]
    assert code == 0 and metrics["fp32"]["f1"] == pytest.approx(results["dev_selected"]["f1"])
    assert metrics["int8"]["f1"] > metrics["fp32"]["f1"] - 5 and (tmp_path / "agreement.png").stat().st_size > 5000
    code, said, errors = run_script(
        "run_ner", "--model", exported, "--engine", "onnxruntime", "--dev_file", data / "dev.jsonl", "--do_eval",
        "--output_dir", tmp_path / "eval",
    )  # fmt: skip
    assert code == 0 and f"f1: {metrics['int8']['f1']:.6g}" in said.splitlines()

    entities, asked = tmp_path / "entities.jsonl", data / "dev.jsonl"
    for expected in ("50 texts", "50 texts, 50 of them were there already"):
        code, said, errors = run_script("predict", "ner", "--model", best, "--input", asked, "--output", entities)
        assert (code, said) == (0, f"{entities}: {expected}\n")
    whole = entities.read_bytes()
    entities.write_bytes(whole[: len(whole) // 2])  # killed on the way
    assert run_script("predict", "ner", "--model", best, "--input", asked, "--output", entities)[0] == 0
    assert entities.read_bytes() == whole
    found = [json.loads(line) for line in whole.splitlines()]
    right = there = 0
    for row, line in zip(found, asked.read_text().splitlines(), strict=True):
        assert all(row["text"][one["start"] : one["end"]] == one["text"] for one in row["entities"])
        wanted = {tuple(one) for one in json.loads(line)["entities"]}
        right += len(wanted & {(one["start"], one["end"], one["type"]) for one in row["entities"]})
        there += len(wanted)
    assert 100 * right / there == pytest.approx(results["dev_selected"]["recall"])  # the same as of whole sentences

    text = f"{found[0]['text']} \U0001f642 e\u0301 " * 30  # windows; the text itself is never changed
    predictor = load(best)
    together = predictor.entities(text)
    alone = predictor.entities(found[0]["text"])
    assert len(text) > 3000 and len(together) >= 25 * len(alone) > 0
    assert all(text[one.start : one.end] == one.text for one in together)
    assert predictor.entities_batch([text, ""]) == [together, []]
    code, said, _ = run_script("predict", "ner", "--model", best, "--text", found[0]["text"])
    assert code == 0 and f"**{alone[0].text}**" in said and f"{alone[0].start}-{alone[0].end}" in said
    code, said, _ = run_script("predict", "ner", "--model", exported, "--text", "a \x1b[2J b", "--json")
    assert code == 0 and json.loads(said)["text"] == "a \x1b[2J b"


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    labels = dict(enumerate(["O", "B-PER", "I-PER"]))
    return save_checkpoint(tmp_path_factory.mktemp("tagger") / "model", "token-classification", id2label=labels)


FILES = {"good": "ada B-PER\nlovelace I-PER\n\nwrote O\n", "other": "ada B-PER\nin O\nengine B-LOC\n", "bare": "ada\nwrote\n"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--do_eval", "--dev_file", "other"), "other:3: tag 'B-LOC', but the model knows O, B-PER, I-PER\n"),
        (("--do_train", "--train_file", "other", "--max_seq_length", 32), "to train a new head on this encoder use --init_from "),
        (("--do_eval", "--dev_file", "bare"), "bare:1: words without tags; tag every sentence\n"),
        (("--do_eval",), "error: which dev set? give --dev_file\n"),
        (("--do_predict", "--do_eval", "--test_file", "bare", "--dev_file", "good"), "--do_predict writes pred"),
        (("--do_eval", "--dev_file", "good", "--doc_stride", 30, "--max_seq_length", 32), "would never advance"),
        (("--do_eval", "--validation_file", "good"), "--dev_file"),
    ],
)
def test_what_does_not_go_together_is_one_line(run_script, tagger, tmp_path, monkeypatch, arguments, said):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    code, _, errors = run_script("run_ner", "--model", tagger, "--output_dir", "out", *arguments)
    assert code == 2 and said in errors and errors.startswith("error: ") and errors.count("\n") == 1


def test_sentences_without_tags_are_tagged(run_script, tagger, tmp_path):
    (tmp_path / "bare").write_text(FILES["bare"])
    arguments = ("--model", tagger, "--output_dir", tmp_path / "out", "--do_predict", "--test_file")
    assert run_script("run_ner", *arguments, tmp_path / "bare")[0] == 0
    rows = [line.split("\t") for line in (tmp_path / "out" / "predictions.conll").read_text().splitlines()]
    assert [row[0] for row in rows] == ["ada", "wrote"] and {len(row) for row in rows} == {2}


@pytest.mark.parametrize("source", ["--model", "--init_from"])
def test_a_new_head_has_the_types_of_the_train_file(run_script, tagger, tmp_path, source):
    (tmp_path / "other").write_text(FILES["other"])
    qa = save_checkpoint(tmp_path / "qa", "question-answering")
    start = qa if source == "--model" else tagger
    code, said, errors = run_script(
        "run_ner", source, start, "--train_file", tmp_path / "other", "--output_dir", tmp_path / "out", "--do_train",
        "--max_steps", 1, "--max_seq_length", 32,
    )  # fmt: skip
    assert code == 0, errors
    config = json.loads((tmp_path / "out" / "final" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert config["task_specific_params"]["token-classification"] == {"max_seq_length": 32, "doc_stride": 10}
    shutil.rmtree(tmp_path / "out")


def test_parts_of_speech_are_tags_too(run_script, tagger, tmp_path):
    (tmp_path / "a.conll").write_text("ada PROPN\nwrote VERB\nnotes NOUN\n")
    arguments = ("--train_file", tmp_path / "a.conll", "--dev_file", tmp_path / "a.conll", "--output_dir", tmp_path)
    code, said, _ = run_script("run_ner", "--init_from", tagger, *arguments, "--do_train", "--do_eval", "--scheme",
                               "plain", "--max_steps", 1, "--max_seq_length", 32)  # fmt: skip
    assert code == 0 and set(json.loads((tmp_path / "eval_results.json").read_text())["final"]) == {
        "step", "loss", "accuracy",
    }  # fmt: skip
    found = load(tmp_path / "best").entities("ada wrote")
    assert [entity.text for entity in found] == ["ada", "wrote"]
