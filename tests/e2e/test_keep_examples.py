"""The questions that a training notes with its model are answered right by it, on the page and after an export."""

import json

import pytest
from support.demo_server import Server
from support.texts import write_squad, write_vocabulary

CONFIG = {
    "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_feedforward_networks": 2, "max_position_embeddings": 48,
    "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1, "normalization_type": "layer_norm",
}  # fmt: skip
KEPT = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data and a shape to begin from."""
    folder = tmp_path_factory.mktemp("examples")
    size = len(write_vocabulary(folder / "vocab.txt").read_text().splitlines())
    (folder / "shape.json").write_text(json.dumps({**CONFIG, "vocab_size": size}))
    write_squad(folder / "train.json", 400)
    write_squad(folder / "dev.json", 100, seed=1)
    return folder


def train(run_script, folder, out, *flags):
    return run_script(
        "run_squad", "--config_name", folder / "shape.json", "--tokenizer_name", folder / "vocab.txt", "--do_train",
        "--do_eval", "--train_file", folder / "train.json", "--dev_file", folder / "dev.json", "--output_dir", out,
        "--max_seq_length", 48, "--doc_stride", 8, "--batch_size", 16, "--learning_rate", "5e-3", "--max_steps", 40,
        "--eval_steps", 10, "--save_steps", 0, "--cache_dir", "", *flags,
    )  # fmt: skip


def noted(folder):
    config = json.loads((folder / "config.json").read_text())
    return config["task_specific_params"]["question-answering"].get("examples", [])


def test_the_noted_questions_are_answered_right(folder, tmp_path, run_script):
    out, exported = tmp_path / "out", tmp_path / "exported"
    code, _, errors = train(run_script, folder, out, "--keep_examples", KEPT)
    assert code == 0, errors
    scores = json.loads((out / "eval_results.json").read_text())["dev_selected"]
    assert KEPT < scores["exact_match"] < 70  # of 100: questions taken at random would not all be right
    examples = noted(out / "best")
    gold = {
        (paragraph["context"], entry["question"]): entry["answers"][0]["text"]
        for article in json.loads((folder / "dev.json").read_text())["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    }
    assert len(examples) == KEPT and all(gold[e["passage"], e["question"]] == e["answer"] for e in examples)
    code, _, errors = run_script("export", "--model", out / "best", "--out", exported)
    assert code == 0, errors
    with Server([out / "best", exported]) as server:
        _, content = server.request("GET", "/api/models")
        assert [model["examples"] for model in content["models"]] == [examples, examples]
        for model in content["models"]:
            for example in model["examples"]:
                _, result = server.ask(example["question"], example["passage"], model["name"])
                assert result["answers"][0]["text"] == example["answer"]


def test_nothing_of_the_dev_set_goes_into_a_model_unasked(folder, tmp_path, run_script):
    code, _, errors = train(run_script, folder, tmp_path / "out", "--max_steps", "10")
    assert code == 0 and noted(tmp_path / "out" / "best") == [], errors
    code, _, errors = train(run_script, folder, tmp_path / "other", "--keep_examples", "-1")
    assert code == 2 and errors == "error: --keep_examples -1: expected 0 or more\n"
