"""Entities as a person finds them: the commands of docs/own-data.md, and what is refused."""

import json
import re
import shlex

import pytest
from support.documents import read
from support.models import save_checkpoint

from mobilebert import load
from mobilebert.base.files import file_digest
from mobilebert.data.ner.encode import encode_sentences
from mobilebert.data.ner.sentences import read_sentences
from mobilebert.export.agreement import outputs_of_both
from mobilebert.model.tensor_files import read_state
from samples.ner.generate import columns, generate

# What makes the documented training shorter, and lets it be resumed.
SHORTER = ("--max_steps", 70, "--eval_steps", 70, "--save_steps", 50)


def documented():
    """The commands of the section's first block, as (script, arguments)."""
    section = read("docs/own-data.md").split("## Entities in my texts")[1]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1].replace("\\\n", " ")
    commands = [shlex.split(line) for line in block.splitlines()]
    assert len(commands) == 6 and all(words[0] == "python" for words in commands)
    return [(words[1].removesuffix(".py").replace("/", "."), words[2:]) for words in commands]


def test_the_sample_is_the_same_everywhere_and_in_both_forms(tmp_path):
    dev = generate("dev", 50, 0)
    assert dev[0]["text"].startswith("The Feneon is a rare book.") and dev != generate("dev", 50, 1)
    for name, content in (("a.conll", columns(dev)), ("a.jsonl", "".join(json.dumps(row) + "\n" for row in dev))):
        (tmp_path / name).write_text(content)
    tagged, spans = read_sentences(tmp_path / "a.conll"), read_sentences(tmp_path / "a.jsonl")
    assert spans.words == tagged.words and spans.tags == tagged.tags
    names = [
        {row["text"][low:high] for row in generate(split, 300, 0) for low, high, kind in row["entities"]
         if kind != "DATE"} for split in ("train", "dev")
    ]  # fmt: skip
    assert names[0] and names[1] and not names[0] & names[1]


@pytest.mark.slow
def test_the_documented_way_from_texts_to_answers(run_script, tmp_path):
    def run(command, *more):
        script, arguments = command
        words = [word.replace("outputs/ner", str(tmp_path)) for word in arguments]
        code, said, errors = run_script(script, *words, *more)
        assert code == 0, errors
        return said

    make, train, ask, ask_many, export, evaluate = documented()
    run(make)
    run(train, *SHORTER)
    best, results = tmp_path / "run" / "best", json.loads((tmp_path / "run" / "eval_results.json").read_text())
    assert results["dev_selected"]["f1"] > 90 and results["sentences"] == 100
    assert set(results["final"]) == {"step", "loss", "precision", "recall", "f1", "strict_f1", "accuracy"}
    types = (tmp_path / "run" / "types.txt").read_text().splitlines()
    assert [line.split()[0] for line in types[1:]] == ["BOOK", "DATE", "LOC", "MACHINE", "PER", "SHIP", "all"]
    rows = [line.split("\t") for line in (tmp_path / "run" / "predictions.conll").read_text().splitlines() if line]
    right = sum(gold == predicted for _, gold, predicted in rows)
    assert 100 * right / len(rows) == pytest.approx(results["dev_selected"]["accuracy"])

    weights = file_digest(best / "model.safetensors")
    said = run(train, *SHORTER, "--resume", tmp_path / "run" / "checkpoints" / "step_00000050")
    assert "resumed at step 50" in said and file_digest(best / "model.safetensors") == weights

    assert re.search(r"\*\*\w+\*\*.*\n\n *[\d.]+%  [A-Z]+ ", run(ask))
    assert run(ask_many) == f"{tmp_path}/entities.jsonl: 100 texts\n"
    assert run(ask_many).endswith("100 of them were there already\n")
    answers = (tmp_path / "entities.jsonl").read_bytes()
    (tmp_path / "entities.jsonl").write_bytes(answers[: len(answers) // 2])  # killed on the way
    run(ask_many)
    assert (tmp_path / "entities.jsonl").read_bytes() == answers
    found = [json.loads(line) for line in answers.splitlines()]
    right = there = 0
    for row, line in zip(found, (tmp_path / "data" / "dev.jsonl").read_text().splitlines(), strict=True):
        assert all(row["text"][one["start"] : one["end"]] == one["text"] for one in row["entities"])
        wanted = {tuple(one) for one in json.loads(line)["entities"]}
        right += len(wanted & {(one["start"], one["end"], one["type"]) for one in row["entities"]})
        there += len(wanted)
    assert 100 * right / there == pytest.approx(results["dev_selected"]["recall"])  # of texts as of words

    run(export, "--plot", tmp_path / "agreement.png")
    metrics = json.loads((tmp_path / "int8" / "export.json").read_text())["metrics"]
    assert metrics["fp32"]["f1"] == pytest.approx(results["dev_selected"]["f1"])
    assert metrics["fp32"]["agreement"] == 100 > metrics["int8"]["agreement"] - 1e-9 > 95
    assert metrics["int8"]["f1"] > metrics["fp32"]["f1"] - 5 and (tmp_path / "agreement.png").stat().st_size > 5000
    pairs = outputs_of_both(best, tmp_path / "int8", tmp_path / "data" / "dev.jsonl", 3)
    three = read_sentences(tmp_path / "data" / "dev.jsonl").first(3)
    tokens = encode_sentences(three.words, load(best).tokenizer, 96, 32)
    assert [len(side) for side in pairs["logits"]] == [13 * len(tokens.words)] * 2  # of all real tokens
    assert f"f1: {metrics['int8']['f1']:.6g}" in run(evaluate).splitlines()

    text = f"{found[0]['text']} \U0001f642 e\u0301 " * 30  # windows; the text itself is never changed
    predictor = load(best)
    together, alone = predictor.entities(text), predictor.entities(found[0]["text"])
    assert len(text) > 3000 and len(together) >= 25 * len(alone) > 0
    assert all(text[one.start : one.end] == one.text for one in together)
    assert predictor.entities_batch([text, "", " \u200b"]) == [together, [], []]
    assert predictor.entities_batch([]) == []
    code, said, _ = run_script("predict", "ner", "--model", tmp_path / "int8", "--text", "a \x1b[2J b", "--json")
    assert code == 0 and json.loads(said)["text"] == "a \x1b[2J b"
    code, said, _ = run_script("predict", "ner", "--model", best, "--text", "\x1b[2J")
    assert code == 0 and "\x1b" not in said


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    labels = dict(enumerate(["O", "B-PER", "I-PER"]))
    return save_checkpoint(tmp_path_factory.mktemp("tagger") / "model", "token-classification", id2label=labels)


FILES = {
    "good": "ada B-PER\nlovelace I-PER\n\nwrote O\n",
    "other": "ada B-PER\nin O\nengine B-LOC\n",
    "bare": "ada\nwrote\n",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--do_eval", "--dev_file", "other"), "other:3: tag 'B-LOC', but the model knows O, B-PER, I-PER\n"),
        (("--do_train", "--train_file", "other", "--max_seq_length", 32), "to train a new head use --init_from "),
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


@pytest.mark.parametrize(
    ("source", "head"), [("--model", "question-answering"), ("--init_from", "sequence-classification")]
)
def test_a_new_head_has_the_types_of_the_train_file(run_script, tmp_path, source, head):
    (tmp_path / "other").write_text(FILES["other"])
    start = save_checkpoint(tmp_path / "start", head, classifier_activation=True)
    code, _, errors = run_script(
        "run_ner", source, start, "--train_file", tmp_path / "other", "--output_dir", tmp_path / "out", "--do_train",
        "--max_steps", 1, "--max_seq_length", 32,
    )  # fmt: skip
    assert code == 0, errors
    config = json.loads((tmp_path / "out" / "final" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert config["task_specific_params"]["token-classification"] == {"max_seq_length": 32, "doc_stride": 10}
    state, _ = read_state(tmp_path / "out" / "final")
    assert "classifier.weight" in state and not any("pooler" in name for name in state)
    refused = run_script("run_ner", "--model", start, "--do_eval", "--dev_file", tmp_path / "other",
                         "--output_dir", tmp_path / "eval")  # fmt: skip
    assert refused[0] == 2 and refused[2].count("\n") == 1


def test_parts_of_speech_are_tags_too(run_script, tagger, tmp_path):
    (tmp_path / "a.conll").write_text("ada PROPN\nwrote VERB\nnotes NOUN\n")
    arguments = ("--train_file", tmp_path / "a.conll", "--dev_file", tmp_path / "a.conll", "--output_dir", tmp_path)
    code, _, _ = run_script("run_ner", "--init_from", tagger, *arguments, "--do_train", "--do_eval", "--scheme",
                               "plain", "--max_steps", 1, "--max_seq_length", 32)  # fmt: skip
    assert code == 0 and set(json.loads((tmp_path / "eval_results.json").read_text())["final"]) == {
        "step", "loss", "accuracy",
    }  # fmt: skip
    found = load(tmp_path / "best").entities("ada wrote")
    assert [entity.text for entity in found] == ["ada", "wrote"]
