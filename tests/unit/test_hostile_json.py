"""JSON from strangers, whatever file it is in: absurd content is one line that names the file, or costs only a line."""

import json
import logging
import math
import re
import shutil

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file
from support.models import save_checkpoint
from support.texts import write_vocabulary

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json
from mobilebert.base.json_decoder import MAX_DEPTH, MAX_DIGITS, JsonDecoder
from mobilebert.base.records import as_record
from mobilebert.commands.predict.output import write_rows
from mobilebert.convert.convert import convert
from mobilebert.data.cache import cached_rows
from mobilebert.data.packed import pack_rows
from mobilebert.data.qa.squad_json import read_squad
from mobilebert.data.tables import open_table
from mobilebert.export.export import export
from mobilebert.export.folder import check_replaceable
from mobilebert.export.plan import ExportPlan
from mobilebert.inference.manifest import Manifest
from mobilebert.inference.predictor import Predictor
from mobilebert.inference.source import read_source
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.tensor_files import shard_paths
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import checkpoint, runlog
from mobilebert.train.optim import LossScaler
from mobilebert.train.parallel import World
from mobilebert.train.state import RunState
from mobilebert.verify.model import compare

ABSURDITIES = {
    "deep beyond what Python reads": "[" * 100_000,
    "deep beyond what Python prints": '{"a":' * 3000 + "1" + "}" * 3000,
    "deeper than anybody nests": "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    "a whole number of 5000 digits": "9" * 5000,
    "a key of it": '{"step": ' + "9" * 5000 + "}",
    "a number": "7",
    "a list of lists": "[[]]",
    "half of a character": '{"\\ud800": 1}',
}


def run_state():
    model = paddle.nn.Linear(2, 2)
    optimizer = paddle.optimizer.AdamW(parameters=model.parameters())
    return RunState(model, optimizer, LossScaler(False), {"seed": 1}, World(0, 1))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a checkpoint."""
    folder = tmp_path_factory.mktemp("saved")
    run_state().save(folder, keep=1)
    return folder / "checkpoints" / "step_00000000"


@pytest.fixture
def folder(saved, tmp_path):
    """A folder with a vocabulary and a checkpoint's files: some readers want more than the one that is damaged."""
    write_vocabulary(tmp_path / "vocab.txt")
    return shutil.copytree(saved, tmp_path, dirs_exist_ok=True)


def rows_of(name):
    return lambda folder: list(open_table(folder / name).rows)


def resume_predictions(folder):
    write_rows(folder / "answers.jsonl", ["a", "b"], ["1", "2"], pytest.fail, False, "")


# File -> what reads it, and content with one value of a wrong type.
read_tokenizer = MobileBertTokenizer.from_pretrained
READERS = {
    "config.json": (MobileBertConfig.from_pretrained, {"vocab_size": [1]}),
    "tokenizer.json": (read_tokenizer, {"model": {"vocab": {"a": math.inf}}}),
    "tokenizer_config.json": (read_tokenizer, {"model_max_length": math.inf}),
    "special_tokens_map.json": (read_tokenizer, {"cls_token": {"content": [1]}}),
    "added_tokens.json": (read_tokenizer, {"<e>": True}),
    "pytorch_model.bin.index.json": (lambda folder: shard_paths(folder, "pytorch_model.bin"), {"weight_map": {"a": 1}}),
    "export.json": (Manifest.load, {"format": 1, "head": "question-answering", "outputs": "logits"}),
    "manifest.json": (checkpoint.verify, {"files": {"state.json": {"bytes": "1", "sha256": ""}}}),
    "state.json": (lambda folder: run_state().restore(folder), {"identity": {}, "progress": {"step": -1}}),
    ".mobilebert.json": (outputs.recorded, {"entries": ["run.log", 1]}),
    "squad.json": (lambda folder: read_squad(folder / "squad.json"), {"data": [{"paragraphs": {}}]}),
    "rows.jsonl": (rows_of("rows.jsonl"), 1),
    "rows.json": (rows_of("rows.json"), [1]),
    "answers.jsonl": (resume_predictions, {"fingerprint": [1]}),
}


@pytest.mark.parametrize("absurdity", [*ABSURDITIES, "a wrong type"])
@pytest.mark.parametrize("name", READERS)
def test_absurd_content_is_one_line_that_names_the_file(name, absurdity, folder):
    read, wrong = READERS[name]
    (folder / name).write_text(ABSURDITIES.get(absurdity) or json.dumps(wrong))
    if name.startswith("rows") and absurdity == "half of a character":
        assert read(folder) == [(1, ["1"])]  # the column's name; texts are looked at where they are used
        return
    with pytest.raises(InputError, match=re.escape(name)) as refused:
        read(folder)
    assert "\n" not in str(refused.value)


def test_other_exports_are_replaced_by_what_their_manifest_says(folder):
    for wrong in ({"head": 1}, {"head": "question-answering", "engines": 1}, []):
        (folder / "export.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=r"export\.json: .*only an export is replaced"):
            check_replaceable(folder, [])


def test_an_exports_outputs_are_its_heads(folder):
    MobileBertConfig().save_pretrained(folder)
    Manifest("question-answering", ["start_logits"], ["onnxruntime"], None, False, 20, 64).save(folder)
    with pytest.raises(InputError, match=r"export\.json: outputs=\['start_logits'\], question-answering has"):
        read_source(folder)


@pytest.mark.parametrize(
    "damage",
    [*ABSURDITIES.values(), '{"step": 3', '{"step": "3"}', '{"step": -1, "loss": 1, "lr": 1}', "\x00", '{"loss": 1}'],
)
def test_a_damaged_line_of_a_log_is_left_out_with_its_number(damage, tmp_path, caplog):
    record = {"step": 1, "loss": 2.5, "lr": 1e-5, "grad_norm": None}
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join([json.dumps(record), damage, json.dumps({**record, "step": 2}), '{"step": 3, "lo']))
    with caplog.at_level(logging.WARNING):
        assert [line["step"] for line in runlog.read_records(path)] == [1, 2]
    assert f"{path}: left out what is damaged, 1 of its lines, first line 2" in caplog.text
    assert runlog.has_records(path)


@pytest.mark.parametrize("header", [*ABSURDITIES.values(), '{"__metadata__": {}}', '{"__metadata__": {"info": "{}"}}'])
def test_a_cache_with_an_absurd_header_is_built_anew(header, tmp_path, caplog):
    rows = pack_rows([[1, 2], [3]], [2, 1], ["a", "b"], {"labels": np.array([0, 1])}, {"truncated": 1})
    cached_rows("rows", {}, lambda: rows, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(len(header.encode()).to_bytes(8, "little") + header.encode())
    again = cached_rows("rows", {}, lambda: rows, tmp_path)
    assert again.example_ids == ["a", "b"] and again.input_ids.tolist() == [1, 2, 3] and again.info == {"truncated": 1}
    assert "cache is damaged and is built anew" in caplog.text


@pytest.mark.parametrize("entry", ["../x", "/x", "**", "a/**/b", "a\0", "9" * 300, ""])
def test_a_record_names_only_what_can_be_a_runs(entry, tmp_path):
    (tmp_path / outputs.RECORD).write_text(json.dumps({"entries": ["run.log", entry]}))
    with pytest.raises(InputError, match=r"\.mobilebert\.json: names .*: choose another output folder"):
        outputs.remove(tmp_path)


def test_an_optimizers_state_that_lacks_a_part_is_one_line(folder):
    right = {"moment1": [2, 2], "moment2": [2, 2], "beta1_pow": [1], "beta2_pow": [1]}
    for wrong, said in (
        ({}, ""),
        ({"moment2": None}, "optimizer's state of weight is incomplete"),
        ({"moment1": [2, 3]}, "optimizer's state of another model (weight/moment1 is"),
        ({"beta1_pow": []}, "optimizer's state of another model (weight/beta1_pow is"),
    ):
        parts = {f"weight/{kind}": shape for kind, shape in {**right, **wrong}.items() if shape is not None}
        arrays = {name: np.zeros(shape, np.float32) for name, shape in parts.items()}
        save_file(arrays, folder / "optimizer.safetensors")
        if not wrong:
            run_state().restore(folder)
            continue
        with pytest.raises(InputError) as refused:
            run_state().restore(folder)
        assert str(refused.value).startswith(f"{folder}: {said}")


def test_random_states_that_no_library_takes_are_one_line(folder):
    content = json.loads((folder / "state.json").read_text())
    for library, at, value in (("numpy", 2, 10**9), ("numpy", 0, "PCG64"), ("python", 1, [1]), ("paddle", "cpu", [])):
        changed = json.loads(json.dumps(content))
        changed["random"][0][library][at] = value
        (folder / "state.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"state\.json: .*; resume from another checkpoint|run on other devices"):
            run_state().restore(folder)


# What the file says of itself -> what the weights have.
LARGER = {
    "num_hidden_layers": (10**6, 1),
    "vocab_size": (10**9, 30),
    "max_position_embeddings": (10**9, 64),
    "hidden_size": (10**7, 96),
    "intermediate_size": (10**7, 96),
    "intra_bottleneck_size": (10**7 * 4, 64),
    "embedding_size": (10**7, 64),
    "type_vocab_size": (10**9, 2),
    "num_feedforward_networks": (10**6, 4),
}


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("small"), "question-answering", num_hidden_layers=1)


@pytest.mark.parametrize("field", LARGER)
def test_a_configuration_larger_than_its_weights_is_refused_before_anything_is_built(
    field, small_checkpoint, tmp_path, monkeypatch
):
    folder = shutil.copytree(small_checkpoint, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    asked, held = LARGER[field]
    (folder / "config.json").write_text(json.dumps({**config, field: asked}))
    for kind in HEADS.values():
        monkeypatch.setattr(kind, "__init__", lambda *_: pytest.fail("a model is built"))
    name = "true_hidden_size" if field == "intra_bottleneck_size" else field
    message = f"config.json says {name}={asked}, its weights have {held}; does its config.json belong to it?"
    for load in (
        HEADS["question-answering"].from_pretrained,
        lambda path: convert(path, tmp_path / "torch", reverse=True),
        lambda path: export(ExportPlan(str(path), tmp_path / "export")),
        Predictor,
        lambda path: compare(path, path),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            load(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_number_of_labels_is_bounded_and_their_names_are_not(tmp_path):
    (tmp_path / "config.json").write_text('{"num_labels": 1000000000}')
    with pytest.raises(InputError, match=r"config\.json: num_labels=1000000000: so many classes have names"):
        MobileBertConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"num_labels": 5000}')
    assert MobileBertConfig.from_pretrained(tmp_path).num_labels == 5000
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {str(n): f"c{n}" for n in range(100_001)}}))
    assert MobileBertConfig.from_pretrained(tmp_path).num_labels == 100_001


def test_what_is_large_and_right_is_read(tmp_path):
    write_vocabulary(tmp_path / "vocab.txt")
    for written in ("1000000000000000019884624838656", "1e30", "512", "null"):
        (tmp_path / "tokenizer_config.json").write_text(f'{{"model_max_length": {written}}}')
        length = read_tokenizer(tmp_path).model_max_length
        assert length == (512 if written == "512" else int(1e30))
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.loads(deepest, cls=JsonDecoder) == json.loads(deepest)
    longest = "9" * MAX_DIGITS
    assert json.loads(longest, cls=JsonDecoder) == int(longest)
    brackets = '{"text": "' + "[{" * 5000 + '", "digits": "' + longest * 2 + '"}'
    assert json.loads(brackets, cls=JsonDecoder) == json.loads(brackets)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            '{"a": [\n' + "[" * 98 + "]" * 98 + ', "[[[", ' + "[" * 200 + "]" * 200 + "]}",
            "line 2 column 304 .*than 100 deep",
        ),
        ('{"a": "' + "1" * 290 + '",\n "b": ' + "2" * 301 + "}", "line 2 column 7 .*more than 300 digits"),
    ],
)
def test_the_place_beyond_a_bound_is_named(text, place, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=f"x.json: broken JSON at {place}"):
        read_json(tmp_path / "x.json")


def test_the_place_of_a_wrong_type_is_named_and_no_word_becomes_a_flag():
    with pytest.raises(InputError, match=r"^f\.json: \$\[\.\.\.\]\[1\]: expected int, got str; correct it$") as refused:
        as_record({"a": [1, "x"]}, dict[str, list[int]], "f.json", "correct it")
    assert "`" not in str(refused.value)
