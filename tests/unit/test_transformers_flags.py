"""Who types a flag of transformers' run_qa.py, run_glue.py or run_ner.py hears what it is called here."""

import dataclasses
import re

import pytest
import transformers

from mobilebert.commands import glue, ner, pretrain, squad
from mobilebert.tasks.transformers_flags import HINTS, NER_HINTS, PRETRAIN_HINTS

# The argument classes of the examples themselves, which are in no package. Source: transformers 5.23,
# examples/pytorch/question-answering/run_qa.py and text-classification/run_glue.py.
OF_THE_EXAMPLES = """
model_name_or_path config_name tokenizer_name cache_dir model_revision token trust_remote_code use_fast_tokenizer
ignore_mismatched_sizes dataset_name dataset_config_name task_name train_file validation_file test_file overwrite_cache
preprocessing_num_workers max_seq_length pad_to_max_length max_train_samples max_eval_samples max_predict_samples
version_2_with_negative null_score_diff_threshold doc_stride n_best_size max_answer_length
"""
# Of no use without a cluster, a hub or a profiler of PyTorch's: the nearest name here is all that is said of them.
NOT_LISTED = re.compile(
    "hub_|trackio_|dataloader_(in_order|multi)|ddp_|fsdp_|_kwargs$|torch_|liger|use_(cache|liger)|include_|batch_eval|"
    "average_|log_(on|level_)|eval_(do|use)|save_on|enable_|prediction_loss|restore_|accelerator|parallelism|remove_|"
    "label_names|debug|skip_memory|activation_"
)


# Of examples/pytorch/token-classification/run_ner.py alone.
OF_RUN_NER = "text_column_name label_column_name label_all_tokens return_entity_level_metrics"


@pytest.fixture(params=[squad, glue, ner], ids=["squad", "glue", "ner"])
def refuse(request, capsys, monkeypatch):
    """What the command says to one unknown flag."""

    def said(flag):
        monkeypatch.setattr("sys.argv", ["run.py", f"--{flag}", "x"])
        with pytest.raises(SystemExit) as end:
            request.param.parse_args()
        assert end.value.code == 2
        return capsys.readouterr().err

    return said


def flags_of(command, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run.py", "--help"])
    with pytest.raises(SystemExit):
        command.parse_args()
    return set(re.findall(r"--(\w+)", capsys.readouterr().out))


@pytest.mark.parametrize(
    "flag, here",
    [
        ("per_device_train_batch_size", "here --batch_size (of one forward pass on one device)"),
        ("lr", "here --learning_rate"),
        ("validation_file", "here --dev_file"),
        ("resume_from_checkpoint", "here --resume"),
        ("fp16", "here --amp fp16"),
        ("max-train-samples", "there is none here: all of a file is read; shorten the file"),
    ],
)
def test_the_flag_here_is_named(refuse, flag, here):
    assert refuse(flag) == f"error: unknown argument --{flag}; {here}\n"


def test_a_flag_of_nobody_gets_the_nearest_name(refuse):
    assert refuse("lerning_rate") == "error: unknown argument --lerning_rate; did you mean --learning_rate?\n"


def test_every_flag_of_transformers_is_known_or_hinted(capsys, monkeypatch):
    ours = flags_of(squad, capsys, monkeypatch) | flags_of(glue, capsys, monkeypatch)
    theirs = {field.name for field in dataclasses.fields(transformers.TrainingArguments)} | set(OF_THE_EXAMPLES.split())
    assert not sorted(name for name in theirs - ours - set(HINTS) if not NOT_LISTED.search(name))
    # None of ours is hinted away, and every flag that a hint names exists.
    assert not ours & set(HINTS)
    assert not {flag for hint in HINTS.values() for flag in re.findall(r"--(\w+)", hint)} - ours


def test_the_flags_of_run_ner_are_known_or_hinted(capsys, monkeypatch):
    ours = flags_of(ner, capsys, monkeypatch)
    assert not set(OF_RUN_NER.split()) - ours - set(NER_HINTS)
    assert not ours & set(NER_HINTS)
    own = {name: hint for name, hint in NER_HINTS.items() if HINTS.get(name) != hint}
    assert len(own) == 6 and not {flag for hint in own.values() for flag in re.findall(r"--(\w+)", hint)} - ours


# Of examples/pytorch/language-modeling/run_mlm.py and of Google's run_pretraining.py.
OF_PRETRAINING = """
mlm_probability line_by_line input_file init_checkpoint bert_config_file max_predictions_per_seq max_seq_length
train_batch_size num_train_steps num_warmup_steps save_checkpoints_steps learning_rate optimizer output_dir do_train
weight_decay_rate eval_batch_size do_eval
"""


def test_the_flags_of_pretraining_are_known_or_hinted(capsys, monkeypatch):
    ours = flags_of(pretrain, capsys, monkeypatch)
    assert not set(OF_PRETRAINING.split()) - ours - set(PRETRAIN_HINTS)
    assert not ours & set(PRETRAIN_HINTS)
    own = {name: hint for name, hint in PRETRAIN_HINTS.items() if HINTS.get(name) != hint}
    assert own and not {flag for hint in own.values() for flag in re.findall(r"--(\w+)", hint)} - ours
