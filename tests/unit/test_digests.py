"""Sizes and digests of a model's files: who notes them, who compares them, and what happens where they differ."""

import json
import logging
import os
import shutil
from collections import Counter

import pytest
from support.models import forget_digests, save_checkpoints_and_text

from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.convert.convert import convert
from mobilebert.export.export import ExportPlan, export
from mobilebert.inference import engines
from mobilebert.inference.predictor import Predictor
from mobilebert.model.heads import MobileBertForQuestionAnswering
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train.folder import write_model

QUESTION = "who wrote it ?", "ada wrote it in 1843 ."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two checkpoints with text for each, and ``all``, an export of one; not to be written to."""
    folder = save_checkpoints_and_text(tmp_path_factory.mktemp("digests"))
    export(ExportPlan(str(folder / "qa"), folder / "all", format="all"))
    return folder


@pytest.fixture
def exported(place, tmp_path):
    return shutil.copytree(place / "all", tmp_path / "all")


@pytest.fixture
def checkpoint(place, tmp_path):
    return shutil.copytree(place / "qa", tmp_path / "qa")


@pytest.fixture
def warnings(caplog, monkeypatch):
    """What is warned of."""
    monkeypatch.setattr(logging.getLogger("mobilebert"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        yield lambda: [record.getMessage() for record in caplog.records]


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


def grow(path):
    path.write_bytes(path.read_bytes() + b"\n")


def table(folder, name="manifest.json"):
    return json.loads((folder / name).read_text())["files"]


def files_of(folder):
    return {path.name for path in folder.iterdir()}


# What is written


def test_checkpoints_and_exports_name_all_their_files(place, tmp_path):
    for folder in (place / "qa", convert(place / "qa", tmp_path / "torch", reverse=True).destination):
        assert {*table(folder), "manifest.json"} == files_of(folder)
    back = convert(tmp_path / "torch", tmp_path / "paddle").destination
    assert {*table(back), "manifest.json"} == files_of(back) > {"model_state.pdparams"}
    assert {*table(place / "all", "export.json"), "export.json", "README.md"} == files_of(place / "all")
    for folder in (place / "qa", tmp_path / "torch", back, place / "all"):
        known = table(folder, "export.json" if folder.name == "all" else "manifest.json")
        assert known == digests.describe(folder, known) and min(facts["bytes"] for facts in known.values()) > 0


def test_a_trained_model_is_noted_and_what_others_put_beside_it_is_not(place, tmp_path):
    model = MobileBertForQuestionAnswering.from_pretrained(place / "qa")
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "notes.txt").write_text("mine")
    write_model(tmp_path, "best", model.save_pretrained)
    write_model(tmp_path, "best", model.save_pretrained)
    assert files_of(tmp_path / "best") == {"config.json", "manifest.json", "model.safetensors", "notes.txt"}
    assert set(table(tmp_path / "best")) == {"config.json", "model.safetensors"}


def test_saving_again_notes_again_and_keeps_what_else_is_there(checkpoint):
    write_json(checkpoint / "manifest.json", {"step": 3, **json.loads((checkpoint / "manifest.json").read_text())})
    model = MobileBertForQuestionAnswering.from_pretrained(checkpoint)
    before = table(checkpoint)
    model.qa_outputs.bias.set_value(model.qa_outputs.bias + 1)
    model.save_pretrained(checkpoint)
    after = table(checkpoint)
    assert set(after) == set(before)
    assert [name for name in after if after[name] != before[name]] == ["model.safetensors"]
    assert json.loads((checkpoint / "manifest.json").read_text())["step"] == 3
    MobileBertForQuestionAnswering.from_pretrained(checkpoint)


def test_a_write_that_is_cut_short_leaves_no_wrong_note(checkpoint):
    with pytest.raises(KeyboardInterrupt), digests.recorded(checkpoint, "model.safetensors"):
        flip(checkpoint / "model.safetensors")
        raise KeyboardInterrupt
    assert set(table(checkpoint)) == files_of(checkpoint) - {"manifest.json", "model.safetensors"}


def test_a_model_saved_into_an_export_is_read_and_replaced(place, exported):
    model = MobileBertForQuestionAnswering.from_pretrained(place / "qa")
    model.qa_outputs.bias.set_value(model.qa_outputs.bias + 1)
    model.save_pretrained(exported)
    got = MobileBertForQuestionAnswering.from_pretrained(exported)
    assert got.qa_outputs.bias.tolist() == model.qa_outputs.bias.tolist()
    export(ExportPlan(str(place / "qa"), exported, force=True))
    assert "manifest.json" not in files_of(exported)


# What is compared

READ = [
    ("onnxruntime", "model.onnx"),
    ("openvino", "model.onnx"),
    ("paddle", "model.json"),
    ("paddle", "model.pdiparams"),
    ("dygraph", "model.safetensors"),
]


@pytest.mark.parametrize("damage", [cut, flip, grow])
@pytest.mark.parametrize(("engine", "name"), READ)
def test_every_engine_refuses_what_was_not_written(engine, name, damage, exported):
    path = exported / name
    size = path.stat().st_size
    damage(path)
    said = "has another sha256" if damage is flip else f"has {path.stat().st_size} bytes instead of {size}"
    with pytest.raises(InputError) as refused:
        engines.load(exported, engine)
    assert str(refused.value).startswith(f"{path}: {said}, says export.json: damaged or replaced; copy")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["model.safetensors", "model_state.pdparams"])
def test_a_checkpoint_refuses_what_was_not_written(name, damage, place, tmp_path):
    convert(place / "qa", tmp_path / "torch", reverse=True)
    folder = convert(tmp_path / "torch", tmp_path / "paddle").destination
    if name != "model.safetensors":
        (folder / "model.safetensors").unlink()  # not needed: the other has the same tensors
    MobileBertForQuestionAnswering.from_pretrained(folder)
    damage(folder / name)
    with pytest.raises(InputError, match=rf"{name}: has .*, says manifest.json: damaged or replaced"):
        MobileBertForQuestionAnswering.from_pretrained(folder)


def test_external_data_counts_as_the_onnx_file(exported):
    (exported / "model.onnx.data").write_bytes(b"weights")
    manifest = json.loads((exported / "export.json").read_text())
    manifest["files"] |= digests.describe(exported, ["model.onnx.data"])
    write_json(exported / "export.json", manifest)
    engines.load(exported, "onnxruntime")
    flip(exported / "model.onnx.data")
    with pytest.raises(InputError, match=r"model\.onnx\.data: has another sha256"):
        engines.load(exported, "onnxruntime")


def test_texts_edited_by_hand_are_warned_of_once_and_read(exported, warnings):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        grow(exported / name)
    answer = Predictor(exported, "dygraph").answer(*QUESTION)
    said = warnings()
    assert sorted(line.split(": has ")[0] for line in said) == sorted(
        str(exported / name) for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
    )
    assert all("edited by hand? it is read as it is" in line for line in said)
    assert Predictor(exported, "dygraph").answer(*QUESTION) == answer and warnings() == said


def test_what_was_not_noted_is_read_as_it_is(exported, warnings):
    forget_digests(exported)
    grow(exported / "config.json")
    flip(exported / "model.safetensors")
    for engine in ("onnxruntime", "paddle", "dygraph"):
        assert Predictor(exported, engine, verify=True).answer(*QUESTION)
    assert not warnings()


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize(("engine", "name"), [case for case in READ if case[0] != "openvino"])
def test_a_missing_file_is_an_error_for_its_engine_alone(engine, name, noted, exported, warnings):
    if not noted:
        forget_digests(exported)
    (exported / name).unlink()
    with pytest.raises(InputError, match=r"no such file|File doesn't exist|found neither") as refused:
        engines.load(exported, engine)
    assert "\n" not in str(refused.value)
    other = "paddle" if engine != "paddle" else "onnxruntime"
    assert Predictor(exported, other, verify=True).answer(*QUESTION) and not warnings()


def test_large_files_are_read_in_full_where_asked(exported, monkeypatch):
    monkeypatch.setattr(digests, "UNASKED_BYTES", 100_000)
    flip(exported / "model.safetensors")
    Predictor(exported, "dygraph")
    for load in (
        lambda: Predictor(exported, "dygraph", verify=True),
        lambda: MobileBertForQuestionAnswering.from_pretrained(exported, verify=True),
    ):
        with pytest.raises(InputError, match=r"model\.safetensors: has another sha256"):
            load()
    cut(exported / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: has .* bytes instead of"):
        Predictor(exported, "dygraph")


COMMANDS = {
    "predict": ("qa", "--question", "who ?", "--context_text", "ada .", "--model", "{model}"),
    "mobilebert.commands.demo": ("{model}",),
    "export": ("--out", "{out}", "--model", "{model}"),
    "compare": ("--torch", "{place}/qa", "--paddle", "{model}"),
    "run_squad": ("--output_dir", "{out}", "--do_eval", "--dev_file", "{place}/squad.json", "--model", "{model}"),
    "run_glue": (
        "--output_dir", "{out}", "--do_eval", "--dev_file", "{place}/sst2.tsv", "--text_column", "sentence",
        "--label_order", "a,b", "--model", "{model}",
    ),
    "run_ner": ("--output_dir", "{out}", "--do_eval", "--dev_file", "{place}/sst2.tsv", "--model", "{model}"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_read_large_files_in_full_where_asked(command, place, checkpoint, tmp_path, run_script, monkeypatch):
    monkeypatch.setattr(digests, "UNASKED_BYTES", 100_000)
    flip(checkpoint / "model.safetensors")
    words = [word.format(place=place, model=checkpoint, out=tmp_path / "out") for word in COMMANDS[command]]
    code, _, errors = run_script(command, *words, "--verify")
    assert code == 2 and errors.count("\n") == 1
    assert errors.startswith(f"error: {checkpoint}/model.safetensors: has another sha256, says manifest.json")
    assert not (tmp_path / "out").exists() or not files_of(tmp_path / "out")


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("engine", ["onnxruntime", "paddle", "dygraph"])
def test_a_file_is_read_for_its_digest_once(engine, verify, exported, monkeypatch):
    counts = Counter()
    file_digest = digests.file_digest
    monkeypatch.setattr(digests, "file_digest", lambda path: counts.update([path]) or file_digest(path))
    Predictor(exported, engine, verify=verify)
    read = {name for file_engine, name in READ if file_engine == engine}
    assert {os.path.basename(path) for path in counts} >= {*read, "config.json", "tokenizer.json", "vocab.txt"}
    assert set(counts.values()) == {1}


# Tables that nobody here wrote

GOOD = {"bytes": 1, "sha256": 64 * "0"}
DAMAGED = {
    "no object": ([], "its table of files is damaged"),
    "a list": ({"files": ["a"]}, "its table of files is damaged"),
    "a number": ({"files": {"a": 1}}, "its table of files is damaged"),
    "no digest": ({"files": {"a": {"bytes": 1}}}, "its table of files is damaged"),
    "no bytes": ({"files": {"a": {**GOOD, "bytes": -1}}}, "its table of files is damaged"),
    "no hexadecimals": ({"files": {"a": {**GOOD, "sha256": "x"}}}, "its table of files is damaged"),
    "outside": ({"files": {"../a": GOOD}}, "names the file '../a', which is not in its folder"),
    "elsewhere": ({"files": {"/etc/hostname": GOOD}}, "names the file '/etc/hostname', which is not in its folder"),
    "no name": ({"files": {"a\0b": GOOD}}, "names the file 'a\\x00b', which is not in its folder"),
    "too long a name": ({"files": {300 * "a": GOOD}}, "aaa', which is not in its folder"),
    "itself": ({"files": {"": GOOD}}, "names the file '', which is not in its folder"),
}


@pytest.mark.parametrize("name", ["a/" * 3000, "none"])
def test_a_name_that_no_file_can_have_is_no_file(name, checkpoint):
    write_json(checkpoint / "manifest.json", {"files": {name: GOOD}})
    digests.check_all(checkpoint)
    assert digests.read(checkpoint / "manifest.json")[name].difference(checkpoint / name) == "is missing"


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_table_is_one_line(case, checkpoint):
    content, message = DAMAGED[case]
    write_json(checkpoint / "manifest.json", content)
    model_load, tokenizer_load = MobileBertForQuestionAnswering.from_pretrained, MobileBertTokenizer.from_pretrained
    for load in (model_load, tokenizer_load, digests.check_all):
        with pytest.raises(InputError) as refused:
            load(checkpoint)
        assert str(refused.value).startswith(f"{checkpoint / 'manifest.json'}: ") and message in str(refused.value)
        assert "\n" not in str(refused.value)
