"""What can be wrong with a checkpoint that is to be converted: one line, and nothing is written or executed."""

import json
import pickle

import numpy as np
import paddle
import pytest
import torch
from safetensors.torch import save_file
from support.models import torch_model
from support.torch_checkpoints import PT, configure, contents, sharded_pickle, truncate, write

from mobilebert.base.errors import InputError
from mobilebert.convert.convert import convert
from mobilebert.model import tensor_files, torch_pickle
from mobilebert.model.heads import HEADS


def edit(change):
    """A change of the tensors of a checkpoint."""

    def apply(folder):
        state, _ = tensor_files.read_safetensors(folder)
        change(state)
        save_file({k: torch.from_numpy(v.copy()) for k, v in state.items()}, folder / "model.safetensors")

    return apply


def damage_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 not a checkpoint")


def lose_a_shard(folder):
    state, _ = tensor_files.read_safetensors(folder)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": dict.fromkeys(state, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def lose_a_key_of_an_index(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin.index.json").write_text('{"metadata": 1}')


def promise_more(folder):
    state, _ = tensor_files.read_safetensors(folder)
    (folder / "model.safetensors").unlink()
    index = {"weight_map": dict.fromkeys(state, "model-00001-of-00001.safetensors")}
    state.pop("qa_outputs.weight")
    save_file(
        {k: torch.from_numpy(v.copy()) for k, v in state.items()}, folder / "model-00001-of-00001.safetensors", PT
    )
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def promise_more_of_a_pickle(folder):
    sharded_pickle(folder, torch_model("question-answering", "float32"))
    path = folder / "pytorch_model.bin.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["classifier.weight"] = index["weight_map"]["qa_outputs.weight"]
    path.write_text(json.dumps(index))


def hold_twice(folder):
    sharded_pickle(folder, torch_model("question-answering", "float32"))
    path = folder / "pytorch_model-00002-of-00002.bin"
    first = torch.load(folder / "pytorch_model-00001-of-00002.bin")
    torch.save({**torch.load(path), **dict([*first.items()][:1])}, path)


def lead_out(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"qa_outputs.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


VALUE = "mobilebert.encoder.layer.1.attention.self.value.weight"
BAD_CHECKPOINTS = {
    "truncated": (truncate, "model.safetensors: not a readable safetensors file"),
    "damaged pickle": (damage_pickle, "pytorch_model.bin: refused, it is damaged or holds more than tensors"),
    "lost shard": (lose_a_shard, "model-00001-of-00001.safetensors: no such file; is the checkpoint complete?"),
    "index without map": (
        lose_a_key_of_an_index,
        "pytorch_model.bin.index.json: object missing required field weight_map",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "found neither model.safetensors nor pytorch_model.bin; fetch a checkpoint with bash scripts/download_weights",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json: no such file"),
    "broken config": (lambda folder: (folder / "config.json").write_text("{,"), "config.json: broken JSON at line 1"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json: expected a JSON obj"),
    "missing tensor": (
        edit(lambda state: state.pop(VALUE)),
        f"1 tensors of the backbone are missing, first {VALUE}; is the checkpoint complete",
    ),
    "missing embedding": (
        edit(lambda state: state.pop("mobilebert.embeddings.token_type_embeddings.weight")),
        "1 tensors of the backbone are missing, first mobilebert.embeddings.token_type_embeddings.weight; is the",
    ),
    "unexpected layer": (
        edit(lambda state: state.update({VALUE.replace("layer.1", "layer.2"): state[VALUE]})),
        f"1 tensors of the backbone have no place in the model, first {VALUE.replace('layer.1', 'layer.2')}; is the",
    ),
    "other shape": (
        edit(lambda state: state.update({VALUE: state[VALUE][:, :-1]})),
        f"{VALUE} is [47, 24], the model has [48, 24]",
    ),
    "two other shapes": (
        edit(lambda state: state.update({key: state[key][:-1] for key in (VALUE, "qa_outputs.bias")})),
        "(and 1 more); does its config.json belong to it?",
    ),
    "a vector for a matrix": (
        edit(lambda state: state.update({VALUE: state[VALUE].ravel()})),
        f"{VALUE} is [1152], the model has [48, 24]; does its config.json belong to it?",
    ),
    "config of another width": (configure(hidden_size=40), "(and "),
    "config of more layers": (
        configure(num_hidden_layers=3),
        "config.json says num_hidden_layers=3, its weights have 2",
    ),
    "config of another vocabulary": (
        configure(vocab_size=98),
        "config.json says vocab_size=98, its weights have 97; does its config.json belong to it? if so, set vocab_size",
    ),
    "another model": (configure(model_type="bert"), "config.json: model_type='bert': expected 'mobilebert'"),
    "impossible config": (
        configure(num_attention_heads=5),
        "num_attention_heads=5 does not divide true_hidden_size=24",
    ),
    "promised tensors": (promise_more, "index.json: names 1 tensors that no shard holds, first qa_outputs.weight; is"),
    "promised tensors of a pickle": (
        promise_more_of_a_pickle,
        "index.json: names 1 tensors that no shard holds, first",
    ),
    "a key in two shards": (hold_twice, "and so does pytorch_model-00001-of-00002.bin; which one is right?"),
    "a shard elsewhere": (lead_out, "index.json: names the file '../model.safetensors'; shards lie beside their index"),
    "two claims": (
        edit(lambda state: state.update({VALUE.removeprefix("mobilebert."): state[VALUE]})),
        f"two keys claim the parameter {VALUE}",
    ),
    "nothing fits": (
        edit(lambda state: [state.update({f"bert.{key}": state.pop(key)}) for key in list(state)]),
        "no tensor fits MobileBERT; first keys: bert.",
    ),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_named_and_the_destination_stays_as_it_was(name, tmp_path, run_script):
    spoil, message = BAD_CHECKPOINTS[name]
    write(tmp_path / "torch")
    spoil(tmp_path / "torch")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model.safetensors").write_text("an earlier conversion")
    before = contents(tmp_path)
    for destination in ("new", "old"):
        code, output, errors = run_script("convert", "--src", tmp_path / "torch", "--dst", tmp_path / destination)
        assert code == 2 and not output
        assert errors.count("\n") == 1 and errors.startswith(f"error: {tmp_path / 'torch'}") and message in errors
    assert contents(tmp_path) == before and not (tmp_path / "new").exists()


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_is_more_than_tensors_is_refused_and_not_executed(zipped, tmp_path):
    model = write(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").unlink()
    path = tmp_path / "torch" / "pytorch_model.bin"
    state = {**model.state_dict(), "payload": Payload(tmp_path / "executed")}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"pytorch_model.bin: refused, it is damaged or holds more than tensors"):
        convert(tmp_path / "torch", tmp_path / "paddle")
    assert not (tmp_path / "executed").exists() and not (tmp_path / "paddle").exists()
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed"))).close()  # the payload does work
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(("error", "reason"), [(MemoryError(), "MemoryError"), (ValueError("one\ntwo"), "one")])
def test_a_readers_error_is_given_in_one_line_or_named_by_its_kind(error, reason, tmp_path, monkeypatch):
    write(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").rename(tmp_path / "torch" / "pytorch_model.bin")
    monkeypatch.setattr(torch_pickle, "_load", lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(InputError, match=rf"holds more than tensors \({reason}\)$"):
        convert(tmp_path / "torch", tmp_path / "paddle")


def test_a_hostile_pdparams_is_refused_and_not_executed(tmp_path):
    write(tmp_path / "torch")
    convert(tmp_path / "torch", tmp_path / "paddle")
    for name in ("model.safetensors", "manifest.json"):
        (tmp_path / "paddle" / name).unlink()
    (tmp_path / "paddle" / "model_state.pdparams").write_bytes(
        pickle.dumps({"a": Payload(tmp_path / "executed")}, protocol=2)
    )
    with pytest.raises(InputError, match=r"model_state.pdparams: refused, it is damaged or holds more than tensors"):
        convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    with pytest.raises(InputError, match=r"model_state.pdparams: refused.*it names (_)?io.open"):
        HEADS["question-answering"].from_pretrained(tmp_path / "paddle")
    assert not (tmp_path / "executed").exists()
    (tmp_path / "paddle" / "model_state.pdparams").write_bytes(b"\x80\x04 torn")
    with pytest.raises(InputError, match=r"model_state.pdparams: refused, it is damaged"):
        HEADS["question-answering"].from_pretrained(tmp_path / "paddle")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_pdparams_of_every_protocol_are_read(protocol, kind, tmp_path):
    values = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.ones(3, "float16")}
    state = {key: paddle.to_tensor(value) if kind == "tensor" else value for key, value in values.items()}
    paddle.save(state, str(tmp_path / "a.pdparams"), protocol=protocol)
    read = tensor_files.read_pdparams(tmp_path / "a.pdparams")
    assert sorted(read) == sorted(values)
    for key in values:
        assert read[key].dtype == values[key].dtype
        np.testing.assert_array_equal(read[key], values[key])


def test_pdparams_of_a_layer_are_read(tmp_path):
    layer = paddle.nn.Linear(2, 3)
    paddle.save(layer.state_dict(), str(tmp_path / "a.pdparams"))
    read = tensor_files.read_pdparams(tmp_path / "a.pdparams")
    assert sorted(read) == ["bias", "weight"]
    np.testing.assert_array_equal(read["weight"], layer.weight.numpy())


def test_a_folder_of_the_other_framework_is_told(tmp_path, run_script):
    write(tmp_path / "torch")
    assert run_script("convert", "--src", tmp_path / "torch", "--dst", tmp_path / "paddle")[0] == 0
    cases = [
        (("--src", tmp_path / "paddle"), "holds a Paddle checkpoint already; to go back to PyTorch add --reverse"),
        (("--src", tmp_path / "torch", "--reverse"), "holds a PyTorch checkpoint already; leave --reverse out"),
        (("--src", tmp_path / "nowhere"), "nowhere: no such folder; name the checkpoint's folder with --src"),
    ]
    for arguments, message in cases:
        code, _, errors = run_script("convert", *arguments, "--dst", tmp_path / "new")
        assert code == 2 and errors.startswith("error: ") and errors.count("\n") == 1 and message in errors
    code, _, errors = run_script("convert", "--src", tmp_path / "torch", "--dst", tmp_path / "torch" / ".")
    assert code == 2 and "source and destination are one folder" in errors
    assert not (tmp_path / "new").exists()
