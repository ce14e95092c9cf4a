"""convert.py: there and back bit for bit, every format that is out there. What is refused: test_convert_refused.py."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.texts import write_vocabulary
from support.torch_checkpoints import (
    PT,
    assert_same_state,
    contents,
    load,
    one_pickle,
    sharded_pickle,
    truncate,
    write,
)

import mobilebert
from mobilebert.base.errors import InputError
from mobilebert.convert.convert import convert
from mobilebert.convert.formats import hf
from mobilebert.model import tensor_files, weights
from mobilebert.model.config import HEAD_CLASSES
from mobilebert.model.heads import HEADS
from samples import make_checkpoint

ROOT = Path(__file__).parents[2]


# There and back


@pytest.mark.parametrize("head", HEADS)
def test_there_and_back_gives_every_tensor_bit_for_bit(head, tmp_path):
    source = write(tmp_path / "torch", head, classifier_activation=True, num_labels=2)
    there = convert(tmp_path / "torch", tmp_path / "paddle")
    assert there.head == head and not there.report.unused and not there.report.initialised
    back = convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    assert back.head == head and not back.report.unused
    assert_same_state(load(tmp_path / "back", head).state_dict(), source.state_dict())
    ours = HEADS[head].from_pretrained(tmp_path / "paddle")
    linear = weights.linear_weights(ours)
    assert sorted(there.report.transposed) == sorted(back.report.transposed) == sorted(linear)
    for name, value in source.named_parameters():
        expected = value.detach().numpy()
        got = dict(ours.named_parameters())[name].numpy()
        np.testing.assert_array_equal(got, expected.T if name in linear else expected)
    written = json.loads((tmp_path / "back" / "config.json").read_text())
    assert written["architectures"] == [HEAD_CLASSES[head]]


def shard(folder, model):
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def old_pickle(folder, model):
    one_pickle(folder, model)
    torch.save(model.state_dict(), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def pickle_parameters(folder, model):
    """Not of ``state_dict``: these require gradients."""
    one_pickle(folder, model)
    torch.save(dict(model.named_parameters()), folder / "pytorch_model.bin")


@pytest.mark.parametrize("store", [shard, one_pickle, old_pickle, sharded_pickle, pickle_parameters])
def test_every_format_gives_the_same_checkpoint(store, tmp_path):
    model = write(tmp_path / "plain", "pretraining")
    store(tmp_path / "other", model)
    plain = convert(tmp_path / "plain", tmp_path / "a")
    other = convert(tmp_path / "other", tmp_path / "b")
    assert plain.sha256 == other.sha256 and plain.num_parameters == other.num_parameters


def test_half_precision_stays_half_and_comes_back(tmp_path):
    source = write(tmp_path / "torch", dtype="float16")
    convert(tmp_path / "torch", tmp_path / "paddle")
    state, _ = tensor_files.read_state(tmp_path / "paddle")
    assert {str(value.dtype) for value in state.values()} == {"float16"}
    convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    assert_same_state(load(tmp_path / "back", "question-answering", "float16").state_dict(), source.state_dict())
    model = HEADS["question-answering"].from_pretrained(tmp_path / "paddle")
    assert model.qa_outputs.weight.dtype == paddle.float32


def save_rounded(folder, model):
    """The reference: float32 whose values bfloat16 can hold."""
    save_file({k: v.bfloat16().float() for k, v in model.state_dict().items()}, folder / "model.safetensors", PT)


def save_bfloat16(folder, model):
    save_file({k: v.bfloat16() for k, v in model.state_dict().items()}, folder / "model.safetensors", PT)


def shard_bfloat16(folder, model):
    (folder / "model.safetensors").unlink()
    shard(folder, model.bfloat16())


def pickle_bfloat16(folder, model):
    one_pickle(folder, model.bfloat16())


def shard_pickle_bfloat16(folder, model):
    sharded_pickle(folder, model.bfloat16())


@pytest.mark.parametrize("store", [save_bfloat16, shard_bfloat16, pickle_bfloat16, shard_pickle_bfloat16])
def test_bfloat16_is_written_as_the_float32_of_the_same_values(store, tmp_path):
    for name, save in (("float32", None), ("rounded", save_rounded), ("bfloat16", store)):
        model = write(tmp_path / name)
        if save:
            save(tmp_path / name, model)
    exact, expected, got = (convert(tmp_path / n, tmp_path / f"{n}-pd") for n in ("float32", "rounded", "bfloat16"))
    assert got.sha256 == expected.sha256 != exact.sha256
    assert len(got.report.widened) == len(got.state)
    assert f"  widened            {len(got.state)} from bfloat16 to float32\n" in got.summary()
    assert not expected.report.widened and "widened" not in expected.summary()
    for read in (tensor_files.read_state(tmp_path / "bfloat16-pd")[0], hf.read(tmp_path / "bfloat16")):
        assert {value.dtype.name for value in read.values()} == {"float32"}
    # Our reader of PyTorch's files without a conversion.
    if (tmp_path / "bfloat16" / "model.safetensors").exists():
        loaded = HEADS["question-answering"].from_pretrained(tmp_path / "bfloat16")
        np.testing.assert_array_equal(loaded.qa_outputs.weight.numpy(), got.state["qa_outputs.weight"])


def test_one_bfloat16_tensor_among_float32(tmp_path):
    state = write(tmp_path / "torch").state_dict()
    state["qa_outputs.weight"] = state["qa_outputs.weight"].bfloat16()
    save_file(state, tmp_path / "torch" / "model.safetensors", PT)
    there = convert(tmp_path / "torch", tmp_path / "paddle")
    assert there.report.widened == ["qa_outputs.weight"]
    convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    assert_same_state(
        load(tmp_path / "back", "question-answering").state_dict(), {key: value.float() for key, value in state.items()}
    )


def test_paddles_bfloat16_comes_back_to_torch_as_numbers(tmp_path):
    source = write(tmp_path / "torch")
    convert(tmp_path / "torch", tmp_path / "paddle")
    for name in ("model.safetensors", "manifest.json"):
        (tmp_path / "paddle" / name).unlink()
    path = str(tmp_path / "paddle" / "model_state.pdparams")
    paddle.save({name: value.astype("bfloat16") for name, value in paddle.load(path).items()}, path)
    back = convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    assert len(back.report.widened) == len(back.state)
    expected = {key: value.bfloat16().float() for key, value in source.state_dict().items()}
    assert_same_state(load(tmp_path / "back", "question-answering").state_dict(), expected)


def quantised(value):
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


def cast(dtype):
    return lambda value: (value * 50).to(dtype)


# What the error calls each type in safetensors (None: it cannot hold that type) and in a pickle.
NO_WEIGHTS = {
    "int8": (cast(torch.int8), "int8", "int8"),
    "uint8": (cast(torch.uint8), "uint8", "uint8"),
    "uint16": (cast(torch.uint16), "uint16", "uint16"),
    "int32": (cast(torch.int32), "int32", "int32"),
    "int64": (cast(torch.int64), "int64", "int64"),
    "bool": (cast(torch.bool), "bool", "bool"),
    "float8": (cast(torch.float8_e4m3fn), "F8_E4M3", "float8_e4m3fn"),
    "complex64": (cast(torch.complex64), "complex64", "complex64"),
    "quantised": (quantised, None, "qint8"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, that its own quantised tensors go away
@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_a_type_that_is_no_weight_is_refused_by_name(kind, tmp_path, run_script):
    change, in_safetensors, in_pickle = NO_WEIGHTS[kind]
    state = write(tmp_path / "torch").state_dict()
    state["qa_outputs.weight"] = change(state["qa_outputs.weight"])
    torch.save(state, tmp_path / "torch" / "pytorch_model.bin")
    (tmp_path / "torch" / "model.safetensors").unlink()
    for type_name in (in_pickle, in_safetensors):
        if type_name is None:
            continue
        code, output, errors = run_script("convert", "--src", tmp_path / "torch", "--dst", tmp_path / "new")
        assert code == 2 and not output
        assert errors.count("\n") == 1 and errors.startswith(f"error: {tmp_path / 'torch'}")
        assert f": qa_outputs.weight is {type_name}, but weights are float16, bfloat16, float32 or" in errors
        if in_safetensors:
            save_file(state, tmp_path / "torch" / "model.safetensors", PT)  # read before the pickle
    assert not (tmp_path / "new").exists()


def test_the_paddle_format_holds_the_same_and_loads_by_itself(tmp_path):
    write(tmp_path / "torch")
    convert(tmp_path / "torch", tmp_path / "paddle")
    state, layout = tensor_files.read_state(tmp_path / "paddle")
    loaded = paddle.load(str(tmp_path / "paddle" / "model_state.pdparams"))
    assert layout == "pd" and sorted(loaded) == sorted(state)
    for name, value in loaded.items():
        np.testing.assert_array_equal(value.numpy(), state[name])
    model = HEADS["question-answering"].from_pretrained(tmp_path / "paddle")
    (tmp_path / "paddle" / "model.safetensors").unlink()
    again = HEADS["question-answering"].from_pretrained(tmp_path / "paddle")
    missing, unexpected = again.set_state_dict(loaded)
    assert not missing and not unexpected
    for name, value in again.named_parameters():
        np.testing.assert_array_equal(value.numpy(), dict(model.named_parameters())[name].numpy())
    # And from this format alone back to torch.
    convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    source, back = (load(tmp_path / name, "question-answering") for name in ("torch", "back"))
    assert_same_state(back.state_dict(), source.state_dict())


def test_old_names_and_constants(tmp_path):
    model = write(tmp_path / "torch", "pretraining")
    plain = convert(tmp_path / "torch", tmp_path / "a")
    state = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value.clone()
        for key, value in model.state_dict().items()
    }
    state["mobilebert.embeddings.position_ids"] = torch.arange(32)[None]
    save_file(state, tmp_path / "torch" / "model.safetensors", metadata={"format": "pt"})
    old = convert(tmp_path / "torch", tmp_path / "b")
    (tmp_path / "torch" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "torch" / "pytorch_model.bin")
    pickled = convert(tmp_path / "torch", tmp_path / "c")
    assert old.sha256 == pickled.sha256 == plain.sha256 and not old.report.unused and not pickled.report.unused
    assert "mobilebert.embeddings.LayerNorm.gamma" in old.report.renamed
    assert len(old.report.renamed) == sum("LayerNorm" in key for key in state)


def test_a_tied_tensor_that_disagrees_is_named(tmp_path):
    model = write(tmp_path / "torch", "masked-lm")
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["cls.predictions.decoder.weight"][0, 0] += 1
    save_file(state, tmp_path / "torch" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"cls.predictions.decoder.weight differs from mobilebert.embeddings.word_"):
        convert(tmp_path / "torch", tmp_path / "paddle")


# Heads


@pytest.mark.parametrize("head", HEADS)
def test_the_head_is_known_from_the_keys_where_the_config_says_nothing(head, tmp_path):
    write(tmp_path / "torch", head)
    path = tmp_path / "torch" / "config.json"
    config = json.loads(path.read_text())
    config.pop("architectures")
    path.write_text(json.dumps(config))
    if head in ("sequence-classification", "multiple-choice", "token-classification"):
        with pytest.raises(
            InputError, match=r"classifier weights, but config.json does not say of which head; name it"
        ):
            convert(tmp_path / "torch", tmp_path / "paddle")
        assert convert(tmp_path / "torch", tmp_path / "paddle", head=head).head == head
    else:
        assert convert(tmp_path / "torch", tmp_path / "paddle").head == head


def test_a_fresh_head_is_added_and_named(tmp_path):
    write(tmp_path / "torch", "model")
    paddle.seed(3)
    first = convert(tmp_path / "torch", tmp_path / "a", head="question-answering")
    paddle.seed(3)
    second = convert(tmp_path / "torch", tmp_path / "b", head="question-answering")
    assert first.report.initialised == ["qa_outputs.weight", "qa_outputs.bias"] and first.sha256 == second.sha256
    assert "newly initialised  2 (qa_outputs.weight, qa_outputs.bias)" in first.summary()
    model = HEADS["question-answering"].from_pretrained(tmp_path / "a")
    assert not model.load_report.initialised and model.qa_outputs.weight.numpy().any()


def test_what_a_head_has_no_place_for_is_named_and_left_out(tmp_path):
    write(tmp_path / "torch", "pretraining")
    result = convert(tmp_path / "torch", tmp_path / "a", head="model")
    assert "cls.seq_relationship.weight" in result.report.unused
    unused = result.report.unused
    assert (
        len(unused) > 4 and f"  unused             {len(unused)} ({', '.join(unused[:4])}, ...)\n" in result.summary()
    )
    assert {key.split(".")[0] for key in result.state} == {"embeddings", "encoder"}


def test_the_package_is_the_function(tmp_path):
    """``mobilebert.convert(...)`` takes what ``mobilebert.convert.convert.convert(...)`` takes."""
    write(tmp_path / "torch", "pretraining")
    there = mobilebert.convert(tmp_path / "torch", tmp_path / "paddle", "masked-lm")
    assert there.head == "masked-lm" and "cls.seq_relationship.weight" in there.report.unused
    back = mobilebert.convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    assert back.head == "masked-lm" and hf.detect(tmp_path / "back")


def test_other_files_in_the_destination_stay_and_the_tokenizer_comes_along(tmp_path):
    write(tmp_path / "torch")
    write_vocabulary(tmp_path / "torch" / "vocab.txt")
    (tmp_path / "paddle" / "notes").mkdir(parents=True)
    (tmp_path / "paddle" / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "paddle" / "config.json").write_text("old")
    convert(tmp_path / "torch", tmp_path / "paddle")
    written = contents(tmp_path / "paddle")
    assert sorted(written) == [
        "config.json", "manifest.json", "model.safetensors", "model_state.pdparams", "notes/mine.txt", "vocab.txt",
    ]  # fmt: skip
    assert written["notes/mine.txt"] == b"mine" and written["config.json"] != b"old"
    assert written["vocab.txt"] == contents(tmp_path / "torch")["vocab.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paddle", "torch"]


def test_a_disk_that_fills_up_leaves_the_destination_as_it_was(tmp_path, monkeypatch):
    write(tmp_path / "torch")
    convert(tmp_path / "torch", tmp_path / "paddle")
    before = contents(tmp_path)
    monkeypatch.setattr(paddle, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    for destination in ("paddle", "new"):
        with pytest.raises(OSError, match="No space left"):
            convert(tmp_path / "torch", tmp_path / destination)
    assert contents(tmp_path) == before and sorted(p.name for p in tmp_path.iterdir()) == ["paddle", "torch"]


# The command


def test_the_command_prints_what_it_did(tmp_path, run_script):
    write(tmp_path / "torch", "pretraining")
    code, output, errors = run_script(
        "convert", "--src", tmp_path / "torch", "--dst", tmp_path / "paddle", "--verbose"
    )  # fmt: skip
    assert code == 0 and not errors
    state, _ = tensor_files.read_state(tmp_path / "paddle")
    model = HEADS["pretraining"].from_pretrained(tmp_path / "paddle")
    lines = output.splitlines()
    transposed = [line.split()[4] for line in lines if line.startswith("transpose parameter of key: ")]
    assert sorted(transposed) == sorted(weights.linear_weights(model))
    assert "transpose parameter of key: cls.seq_relationship.weight  [2, 48] -> [48, 2]" in lines
    assert f"transpose parameter: {len(transposed)} in all" in lines
    summary = {line[2:20].strip(): line[20:].strip() for line in lines[-8:]}
    assert summary["tensors"] == str(len(state)) and summary["unused"] == "0" == summary["newly initialised"]
    assert summary["transposed"] == str(len(transposed))
    assert summary["parameters"] == f"{sum(value.size for value in state.values()):,}"
    assert float(summary["seconds"]) >= 0 and len(summary["sha256"].split()[0]) == 64


@pytest.mark.slow
def test_the_real_command_ends_with_one_line_and_two(tmp_path):
    write(tmp_path / "torch")
    shutil.copytree(tmp_path / "torch", tmp_path / "bad")
    truncate(tmp_path / "bad")
    # As in a terminal: what the process that runs the tests has set for itself would count as a user's choice.
    ours = ("MOBILEBERT_QUIET", "OMP_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    for source, code in (("torch", 0), ("bad", 2)):
        ended = subprocess.run(
            [sys.executable, ROOT / "convert.py", "--src", tmp_path / source, "--dst", tmp_path / "paddle"],
            capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr
        # What was set up is said once, on standard error; it is no part of the error.
        runtime, *rest = ended.stderr.splitlines()
        assert runtime.startswith("runtime: ")
        if code:
            assert len(rest) == 1 and rest[0].startswith("error: ") and "not a readable safetensors file" in rest[0]
        else:
            assert not rest and "sha256" in ended.stdout


def test_without_transformers_the_checkpoint_is_the_same_but_for_the_numbers(tmp_path):
    settings = json.loads((ROOT / "samples/squad/model.json").read_text()) | {"vocab_size": 50}
    for save in (make_checkpoint.save_with_transformers, make_checkpoint.save_converted):
        save(settings, str(tmp_path / save.__name__), 3)
    theirs, ours = (load_file(path / "model.safetensors") for path in sorted(tmp_path.iterdir(), reverse=True))
    assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in ours.items()}
    key = "mobilebert.encoder.layer.0.attention.self.query.weight"
    assert ours[key].std().item() == pytest.approx(theirs[key].std().item(), rel=0.05)
    configs = [json.loads((path / "config.json").read_text()) for path in tmp_path.iterdir()]
    assert configs[0]["architectures"] == configs[1]["architectures"] == ["MobileBertForQuestionAnswering"]
