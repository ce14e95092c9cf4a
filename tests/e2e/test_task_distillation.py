"""A fine-tuned teacher and a smaller student, by the commands: answers, classes, tags; killed, resumed, refused."""

import json
import shutil

import pytest
from support.models import save_checkpoints_and_text

TRAIN = (
    "--do_train", "--do_eval", "--max_seq_length", 48, "--batch_size", 4, "--max_steps", 4, "--eval_steps", 2,
    "--log_steps", 1, "--save_steps", 2, "--learning_rate", "1e-3", "--cache_dir", "",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return save_checkpoints_and_text(tmp_path_factory.mktemp("distillation"))


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "train.jsonl").read_text().splitlines()]


def command(place, task):
    if task == "qa":
        return (
            "run_squad",
            "--train_file",
            place / "squad.json",
            "--dev_file",
            place / "squad.json",
            "--doc_stride",
            16,
            *TRAIN,
        )
    columns = ("--text_column", "sentence", "--label_column", "label", "--label_order", "negative,positive")
    table = place / "named.tsv"
    table.write_text((place / "sst2.tsv").read_text().replace("\t1", "\tpositive").replace("\t0", "\tnegative"))
    return "run_glue", "--train_file", table, "--dev_file", table, *columns, *TRAIN


@pytest.mark.parametrize("task", ["qa", "sst2"])
def test_a_student_of_fewer_layers_learns_and_resumes_with_its_teacher_only(place, task, tmp_path, run_script):
    words = (*command(place, task), "--teacher", place / task, "--student_layers", 1, "--hidden_weight", 1)
    code, _, errors = run_script(*words, "--output_dir", tmp_path / "run")
    assert code == 0, errors
    assert json.loads((tmp_path / "run/best/config.json").read_text())["num_hidden_layers"] == 1
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut/checkpoints/step_00000004")
    code, _, errors = run_script(*words, "--output_dir", tmp_path / "cut", "--resume")
    assert code == 0 and losses(tmp_path / "cut") == losses(tmp_path / "run"), errors
    # Another share of the teacher is another run, for a resume too.
    code, _, errors = run_script(*words, "--output_dir", tmp_path / "cut", "--resume", "--alpha", 0.9)
    assert code == 2 and "checkpoint of another run (data checksum was" in errors


def test_a_teacher_of_another_kind_is_one_line_and_nothing_is_written(place, tmp_path, run_script):
    words = (*command(place, "qa"), "--teacher", place / "sst2", "--student_layers", 1)
    code, _, errors = run_script(*words, "--output_dir", tmp_path / "run")
    assert code == 2 and errors.count("\n") == 1, errors
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())
