"""convert.py and strangers' files: wrapped names, unsaid layouts, heads that nobody names, files of other models."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.numpy
import torch
from safetensors.torch import save_file
from support.texts import write_vocabulary
from support.torch_checkpoints import PT, assert_same_state, configure, contents, load, write

from mobilebert.base.errors import InputError
from mobilebert.convert.convert import convert
from mobilebert.model import tensor_files


def test_other_names_around_the_names_are_taken_off_and_said(tmp_path, run_script):
    model = write(tmp_path / "torch")
    plain = convert(tmp_path / "torch", tmp_path / "plain")
    assert "taken off" not in plain.summary()
    state = model.state_dict()
    wrapped = {f"module.{key}": value for key, value in state.items()}
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    cases = {
        "module": (wrapped, f"the prefix module. ({len(state)} keys)"),
        "state_dict": ({"state_dict": state, "epoch": 3, "optimizer": optimizer}, "what stood around 'state_dict'"),
        "both": ({"model": wrapped}, f"what stood around 'model', the prefix module. ({len(state)} keys)"),
        "parameters": ({**parameters, "epoch": 3, "best": None}, None),
    }
    path = tmp_path / "torch" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in config.items() if key != "architectures"}))
    (tmp_path / "torch" / "model.safetensors").unlink()
    for name, (content, said) in cases.items():
        torch.save(content, tmp_path / "torch" / "pytorch_model.bin")
        code, output, _ = run_script("convert", "--src", tmp_path / "torch", "--dst", tmp_path / name)
        assert code == 0 and plain.sha256 in output, name
        assert (f"  taken off          {said}\n" in output) if said else "taken off" not in output
    torch.save({"student": state, "teacher": state}, tmp_path / "torch" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"several could be the weights \(student, teacher\)"):
        convert(tmp_path / "torch", tmp_path / "new")
    torch.save([1, 2], tmp_path / "torch" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds a list, no dict of tensors; save the model's state_dict\(\)"):
        convert(tmp_path / "torch", tmp_path / "new")


def test_what_nobody_named_is_refused_where_the_config_names_no_head(tmp_path):
    model = write(tmp_path / "torch")
    state = {key.replace("qa_outputs", "answer_head"): value for key, value in model.state_dict().items()}
    save_file(state, tmp_path / "torch" / "model.safetensors", PT)
    with pytest.raises(InputError, match=r"config.json says MobileBertForQuestionAnswering, but the weights have no"):
        convert(tmp_path / "torch", tmp_path / "paddle")
    configure(architectures=["MyModel"])(tmp_path / "torch")
    with pytest.raises(InputError, match=r"2 tensors of no head known here, first answer_head.*`head=model`"):
        convert(tmp_path / "torch", tmp_path / "paddle")
    assert not (tmp_path / "paddle").exists()
    assert len(convert(tmp_path / "torch", tmp_path / "paddle", head="model").report.unused) == 2


@pytest.mark.parametrize("metadata", [None, {"format": "np"}])
def test_paddles_layout_without_a_word_in_the_header_goes_back_to_torch(metadata, tmp_path, run_script):
    source = write(tmp_path / "torch")
    convert(tmp_path / "torch", tmp_path / "paddle")
    for name in ("model_state.pdparams", "manifest.json"):
        (tmp_path / "paddle" / name).unlink()
    state, _ = tensor_files.read_state(tmp_path / "paddle")
    safetensors.numpy.save_file(dict(state), tmp_path / "paddle" / "model.safetensors", metadata)
    code, _, errors = run_script("convert", "--src", tmp_path / "paddle", "--dst", tmp_path / "new")
    assert code == 2 and "holds a Paddle checkpoint already; to go back to PyTorch add --reverse" in errors
    convert(tmp_path / "paddle", tmp_path / "back", reverse=True)
    assert_same_state(load(tmp_path / "back", "question-answering").state_dict(), source.state_dict())


# Whose files


LEFT_BEHIND = ["vocab.txt", "tokenizer.json", "pytorch_model.bin", "model-00001-of-00002.safetensors", "export.json"]


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_another_models_file_does_not_stay_beside_the_new_weights(name, tmp_path, run_script):
    write(tmp_path / "torch")
    (tmp_path / "paddle").mkdir()
    (tmp_path / "paddle" / name).write_text("another model's")
    before = contents(tmp_path)
    code, output, errors = run_script("convert", "--src", tmp_path / "torch", "--dst", tmp_path / "paddle")
    assert code == 2 and not output and errors.count("\n") == 1
    assert f"{tmp_path / 'paddle' / name}: would stay beside the new weights" in errors and "--dst" in errors
    assert contents(tmp_path) == before


def test_a_conversion_can_be_repeated_into_the_same_folder(tmp_path):
    write(tmp_path / "torch")
    write_vocabulary(tmp_path / "torch" / "vocab.txt")
    (tmp_path / "paddle").mkdir()
    (tmp_path / "paddle" / "README.md").write_text("mine")
    first = convert(tmp_path / "torch", tmp_path / "paddle")
    assert convert(tmp_path / "torch", tmp_path / "paddle").sha256 == first.sha256
    shutil.copytree(tmp_path / "paddle", tmp_path / "copy")
    with pytest.raises(InputError, match=r"paddle/model_state.pdparams: would stay beside the new weights"):
        convert(tmp_path / "copy", tmp_path / "paddle", reverse=True)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer_config.json", "config.json"])
def test_a_link_out_of_the_source_is_not_followed(name, tmp_path):
    write(tmp_path / "torch")
    path = tmp_path / "torch" / name
    secret = tmp_path / "secret"
    secret.write_text(path.read_text() if path.exists() else "secret")
    for target in (secret, Path("../secret"), tmp_path / "nothing"):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        with pytest.raises(InputError, match=rf"{name}: a link out of its folder, or to nothing; put the file itself"):
            convert(tmp_path / "torch", tmp_path / "paddle")
    assert not (tmp_path / "paddle").exists()


def test_the_links_of_hugging_faces_cache_are_followed(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    write(snapshot)
    write_vocabulary(snapshot / "vocab.txt")
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(snapshot.iterdir())):
        path.rename(blobs / f"{number}")
        path.symlink_to(Path("../../blobs") / f"{number}")
    (tmp_path / "short").symlink_to(snapshot)
    for source in (snapshot, tmp_path / "short"):
        convert(source, tmp_path / "paddle")
        written = tmp_path / "paddle" / "vocab.txt"
        assert not written.is_symlink() and written.read_bytes() == (snapshot / "vocab.txt").read_bytes()
    (snapshot / "vocab.txt").unlink()
    (snapshot / "vocab.txt").symlink_to(tmp_path / "paddle" / "config.json")
    with pytest.raises(InputError, match="a link out of its folder"):
        convert(snapshot, tmp_path / "new")


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack"])
def test_other_libraries_files_are_named(name, tmp_path):
    write(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").unlink()
    (tmp_path / "torch" / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"{name} is not read here; load it with transformers"):
        convert(tmp_path / "torch", tmp_path / "paddle")


@pytest.mark.parametrize(("name", "remedy"), [
    ("pytorch_model_fsdp.bin", "name it pytorch_model.bin"),
    ("pytorch_model_fsdp_0/__0_0.distcp", "accelerate merge-weights"),
    ("global_step5/mp_rank_00_model_states.pt", "zero_to_fp32.py"),
])  # fmt: skip
def test_what_a_training_left_is_named_with_its_tool(name, remedy, tmp_path):
    write(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").unlink()
    (tmp_path / "torch" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "torch" / name).write_bytes(b"")
    with pytest.raises(InputError) as refused:
        convert(tmp_path / "torch", tmp_path / "paddle")
    assert name.split("/")[0] in str(refused.value) and remedy in str(refused.value)


def test_a_whole_model_in_a_pickle_is_refused_without_torchs_advice(tmp_path):
    model = write(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").unlink()
    torch.save(model, tmp_path / "torch" / "pytorch_model.bin")
    with pytest.raises(InputError) as refused:
        convert(tmp_path / "torch", tmp_path / "paddle")
    message = str(refused.value)
    assert (
        f"it names {type(model).__module__}.{type(model).__name__})" in message and "save its state_dict()" in message
    )
    assert "\x1b" not in message and "\n" not in message and "weights_only" not in message
    torch.save(model.state_dict(), tmp_path / "torch" / "pytorch_model.bin")
    assert not convert(tmp_path / "torch", tmp_path / "paddle").report.initialised
