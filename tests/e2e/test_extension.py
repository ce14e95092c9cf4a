"""``--resume --extend`` as a person types it, for both training commands."""

import json

import pytest
from support.texts import write_squad, write_table, write_vocabulary

CONFIG = {
    "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_feedforward_networks": 2, "max_position_embeddings": 48,
}  # fmt: skip
COMMON = (
    "--do_train", "--do_eval", "--max_seq_length", "48", "--batch_size", "8", "--learning_rate", "3e-3",
    "--eval_steps", "4", "--log_steps", "1", "--cache_dir", "",
)  # fmt: skip


@pytest.fixture(params=["run_squad", "run_glue"])
def command(request, tmp_path):
    """A training command up to its length."""
    size = len(write_vocabulary(tmp_path / "vocab.txt").read_text().splitlines())
    (tmp_path / "shape.json").write_text(json.dumps({**CONFIG, "vocab_size": size}))
    write_squad(tmp_path / "train.json", 20)
    write_table(tmp_path / "train.tsv")
    data = {
        "run_squad": ["--train_file", tmp_path / "train.json", "--dev_file", tmp_path / "train.json"],
        "run_glue": ["--train_file", tmp_path / "train.tsv", "--dev_file", tmp_path / "train.tsv"],
    }[request.param]
    of_task = {"run_squad": ["--doc_stride", "8"], "run_glue": ["--text_column", "sentence"]}[request.param]
    model = ["--config_name", tmp_path / "shape.json", "--tokenizer_name", tmp_path / "vocab.txt"]
    return [request.param, *model, *data, *of_task, *COMMON]


def test_a_finished_run_is_trained_on(command, tmp_path, run_script):
    out = tmp_path / "out"
    run = [*command, "--output_dir", out]
    assert run_script(*run, "--num_train_epochs", "2")[0] == 0
    first = (out / "train.jsonl").read_text().splitlines()
    code, _, errors = run_script(*run, "--num_train_epochs", "3", "--resume")
    assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1
    assert "num_train_epochs was 2.0, is 3.0" in errors and "or --extend a finished run" in errors
    code, _, errors = run_script(*run, "--num_train_epochs", "3", "--extend")
    assert code == 2 and errors == "error: --extend: there is nothing to extend without a checkpoint; add --resume\n"
    code, output, errors = run_script(*run, "--num_train_epochs", "3", "--resume", "--extend")
    assert code == 0, errors
    steps = len(first) * 3 // 2
    assert f"extended from {len(first)} to {steps} steps: the learning rate goes from" in output
    records = (out / "train.jsonl").read_text().splitlines()
    assert records[: len(first)] == first and json.loads(records[-1])["step"] == steps == len(records)
    assert json.loads((out / "eval_results.json").read_text())["final"]["step"] == steps
    code, _, errors = run_script(*run, "--num_train_epochs", "3", "--resume", "--extend")
    assert code == 2 and "is not extended to" in errors and "raise --num_train_epochs" in errors
