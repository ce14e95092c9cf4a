"""Models by the names that people know, from a hub on loopback whose checkpoints are laid out as those there are.

Files, keys of config.json and formats are those of the repositories named; the weights are small and random.
"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from support.hub_server import serving
from support.models import CHECKPOINT_SIZES, SIZES, torch_model
from support.texts import CHECKPOINT_VOCABULARY, write_squad

from mobilebert import Predictor
from mobilebert.base.errors import InputError
from mobilebert.base.files import cache_folder
from mobilebert.demo import models as demo_models
from mobilebert.demo.pool import Pool
from mobilebert.inference.source import read_source
from mobilebert.text.tokenizer import MobileBertTokenizer

ROOT = Path(__file__).parents[2]
SQUAD, MNLI, SST2 = (
    "csarron/mobilebert-uncased-squad-v2",
    "typeform/mobilebert-uncased-mnli",
    "Alireza1044/mobilebert_sst2",
)
SQUAD_V1, UNTOLD = "aware-ai/mobilebert-squad", "someone/untold"
VOCABULARY = "".join(f"{token}\n" for token in CHECKPOINT_VOCABULARY).encode()
MAP = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
QUESTION = ("--question", "who wrote the notes?", "--context_text", "ada wrote the notes.")


def config_of(model, *left_out, **further) -> bytes:
    """As transformers 3 and 4 wrote it: only what is of this kind of model, and no ``num_labels``."""
    mine = {"model_type", "hidden_act", "layer_norm_eps", "pad_token_id", "true_hidden_size", *SIZES, *CHECKPOINT_SIZES}
    values = {key: value for key, value in model.config.to_dict().items() if key in mine or key.startswith("use_")}
    values |= {"architectures": [type(model).__name__], **further}
    return json.dumps({key: value for key, value in values.items() if key not in left_out}).encode()


def pickled(model, zipped: bool) -> bytes:
    """``pytorch_model.bin``; before transformers 4.31 the positions were in it."""
    state = {**model.state_dict(), "mobilebert.embeddings.position_ids": torch.arange(64).expand(1, -1)}
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def repositories():
    """Name -> its files, and the torch models in them."""
    made = {
        SQUAD: torch_model("question-answering", "float32", 1, **CHECKPOINT_SIZES),
        SQUAD_V1: torch_model("question-answering", "float32", 2, **CHECKPOINT_SIZES),
        MNLI: torch_model("sequence-classification", "float32", 3, **CHECKPOINT_SIZES, num_labels=3),
        SST2: torch_model("sequence-classification", "float32", 4, **CHECKPOINT_SIZES),
        UNTOLD: torch_model("sequence-classification", "float32", 5, **CHECKPOINT_SIZES),
    }
    old_tokenizer = {"do_lower_case": True, "special_tokens_map_file": None, "full_tokenizer_file": None}
    names = ("ENTAILMENT", "NEUTRAL", "CONTRADICTION")
    files = {
        SQUAD: {
            "config.json": config_of(made[SQUAD]),
            "pytorch_model.bin": pickled(made[SQUAD], zipped=False),
            "model.safetensors": save(made[SQUAD].state_dict(), {"format": "pt"}),
            "tokenizer_config.json": json.dumps(old_tokenizer).encode(),
            "special_tokens_map.json": json.dumps(MAP).encode(),
            "vocab.txt": VOCABULARY,
            "training_args.bin": b"a pickle of a stranger's classes",
        },
        SQUAD_V1: {
            "config.json": config_of(made[SQUAD_V1]),
            "pytorch_model.bin": pickled(made[SQUAD_V1], zipped=False),
            "special_tokens_map.json": json.dumps(MAP).encode(),
            "vocab.txt": VOCABULARY,
        },
        MNLI: {
            "config.json": config_of(
                made[MNLI],
                _name_or_path="google/mobilebert-uncased",
                finetuning_task="mnli",
                id2label={str(index): name for index, name in enumerate(names)},
                label2id={name: index for index, name in enumerate(names)},
                transformers_version="4.3.2",
            ),
            "model.safetensors": save(made[MNLI].state_dict(), {"format": "pt"}),
            "tokenizer_config.json": json.dumps({**MAP, "model_max_length": 512, "strip_accents": None}).encode(),
            "special_tokens_map.json": json.dumps(MAP).encode(),
            "vocab.txt": VOCABULARY,
        },
        SST2: {
            "config.json": config_of(
                made[SST2],
                finetuning_task="sst2",
                problem_type="single_label_classification",
                id2label={"0": "negative", "1": "positive"},
                label2id={"positive": 1, "negative": 0},
                torch_dtype="float32",
            ),
            "pytorch_model.bin": pickled(made[SST2], zipped=True),
            "tokenizer_config.json": json.dumps({**MAP, "tokenizer_class": "MobileBertTokenizer"}).encode(),
            "special_tokens_map.json": json.dumps(MAP).encode(),
            "vocab.txt": VOCABULARY,
        },
        UNTOLD: {
            "config.json": config_of(made[UNTOLD], "architectures", num_labels=2),
            "pytorch_model.bin": pickled(made[UNTOLD], zipped=True),
            "vocab.txt": VOCABULARY,
        },
    }
    return files, made


@pytest.fixture
def hub_server(repositories, tmp_path, monkeypatch):
    """The server; both caches are empty."""
    cache_folder.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ours"))
    monkeypatch.setenv("MOBILEBERT_QUIET", "setup")
    with serving(
        monkeypatch, tmp_path / "theirs", {name: dict(files) for name, files in repositories[0].items()}
    ) as it:
        yield it
    cache_folder.cache_clear()


def torch_logits(model, *texts):
    tokenizer = MobileBertTokenizer(dict(zip(CHECKPOINT_VOCABULARY, range(999), strict=False)))
    inputs = tokenizer(*texts, return_tensors="np")
    with torch.no_grad():
        return model(**{name: torch.from_numpy(np.asarray(value)) for name, value in inputs.items()})


@pytest.mark.parametrize("name", [SQUAD, SQUAD_V1])
def test_an_answer_by_name(name, hub_server, repositories, run_script):
    code, output, errors = run_script("predict", "qa", "--model", name, *QUESTION, "--json", "--always_answer")
    assert code == 0, errors
    files = 5 if name == SQUAD else 4
    is_pickle = "model.safetensors" not in repositories[0][name]
    lines = [line for line in errors.splitlines() if line.startswith((name, "fetching"))]
    assert lines[0].startswith(f"fetching {files} files of {name}, ")
    assert "training_args.bin" not in hub_server.bodies_sent()
    assert ("pytorch_model.bin" in hub_server.bodies_sent()) == is_pickle
    logits = torch_logits(repositories[1][name], "who wrote the notes?", "ada wrote the notes.")
    found = json.loads(output)["answers"][0]["score"]
    start, end = logits.start_logits[0].numpy(), logits.end_logits[0].numpy()
    first = 6  # [CLS] who wrote the notes ? [SEP]
    spans = [start[i] + end[j] for i in range(first + 1, len(start) - 1) for j in range(i, len(end) - 1)]
    assert found == pytest.approx(max(spans), rel=1e-5)

    sent = len(hub_server.bodies_sent())
    again = run_script("predict", "qa", "--model", name, *QUESTION, "--json", "--always_answer")
    assert again[:2] == (0, output) and "fetching" not in again[2] and "converted" not in again[2]
    assert len(hub_server.bodies_sent()) == sent


@pytest.mark.parametrize("name", [MNLI, SST2, UNTOLD])
def test_a_class_by_name(name, hub_server, repositories, run_script):
    pair = ("--text_pair", "the notes") if name == MNLI else ()
    code, output, errors = run_script("predict", "classify", "--model", name, "--text", "ada wrote", *pair, "--json")
    assert code == 0, errors
    found = json.loads(output)["scores"]
    labels = {MNLI: ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"], SST2: ["negative", "positive"]}
    assert list(found) == labels.get(name, ["LABEL_0", "LABEL_1"])
    expected = torch.softmax(torch_logits(repositories[1][name], "ada wrote", *pair[1:]).logits[0], -1)
    np.testing.assert_allclose(list(found.values()), expected.numpy(), rtol=1e-4)


def test_a_classifier_that_nothing_tells_of_is_asked_for(hub_server):
    with pytest.raises(InputError, match=r"classifier weights, but config\.json does not say of which head"):
        Predictor(UNTOLD)
    assert read_source(UNTOLD, "token-classification").manifest.head == "token-classification"


def test_the_second_use_needs_no_network(hub_server, monkeypatch):
    first = Predictor(SST2).classify("ada wrote").scores
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert Predictor(SST2).classify("ada wrote").scores == first


def test_a_model_of_squad_v2_by_its_name_may_say_that_there_is_no_answer(hub_server, run_script, tmp_path, capfd):
    said = (
        f"{SQUAD}: of SQuAD v2.0 by its name, so an answer may be none (--always_answer, allow_no_answer=False: never)"
    )
    assert Predictor(SQUAD).rules.allow_no_answer
    assert capfd.readouterr().err.count(said) <= 1  # once a process
    assert not Predictor(SQUAD_V1).rules.allow_no_answer
    code, _, errors = run_script("export", "--model", SQUAD, "--out", tmp_path / "export", "--max_seq_length", 32)
    assert code == 0, errors
    assert Predictor(tmp_path / "export").rules.allow_no_answer  # noted in the export
    assert read_source(tmp_path / "export").config.head == "question-answering"


@pytest.mark.parametrize(
    ("name", "is_v2"),
    [(SQUAD, True), ("a/squad2", True), ("a/mobilebert-squadv2", True), ("a/squad_v2", True), ("a/SQuAD-2.0-x", True),
     ("csarron/mobilebert-uncased-squad-v1", False), ("a/squad", False), ("a/squad-v1.1", False), ("a/squad25", False)],
)  # fmt: skip
def test_names_of_squad_v2(name, is_v2):
    from mobilebert.inference.source import noted_by_name
    from mobilebert.model.config import MobileBertConfig

    config = MobileBertConfig(extra={"architectures": ["MobileBertForQuestionAnswering"]})
    assert bool(noted_by_name(config, name).task_params("question-answering")) == is_v2
    told = config.with_task_params("question-answering", version_2_with_negative=False)
    assert noted_by_name(told, name) is told


def test_the_page_and_the_evaluation_take_names(hub_server, run_script, tmp_path):
    loaded = demo_models.load([SST2, SQUAD], Pool(1, 9, 60), 1)
    assert [model.describe()["task"] for model in loaded] == ["sequence-classification", "question-answering"]
    assert loaded[0].describe()["labels"] == ["negative", "positive"]
    write_squad(tmp_path / "dev.json", 4, unanswerable=True)
    flags = ("--model", SQUAD, "--dev_file", tmp_path / "dev.json", "--out", tmp_path / "eval", "--do_eval")
    code, output, errors = run_script(
        "run_squad", *flags, "--cache_dir", "", "--max_seq_length", 48, "--doc_stride", 16
    )
    assert code == 0, errors
    assert "allow_no_answer True (noted by the checkpoint)" in output


def test_nothing_for_people_is_on_standard_output(hub_server, tmp_path):
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "fresh")}
    del environment["MOBILEBERT_QUIET"]
    command = [sys.executable, "predict.py", "qa", "--model", SQUAD, *QUESTION, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and json.loads(done.stdout)["question"]
    assert f"fetching 5 files of {SQUAD}" in done.stderr and "by its name, so an answer may be none" in done.stderr
    assert "runtime:" not in done.stderr
