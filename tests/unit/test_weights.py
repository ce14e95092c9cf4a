"""Stored tensors: their types, layout, shards and names are read for what they are, or refused by name. Without torch.

test_weights_heads.py has what becomes of a head; tests/parity/test_convert*.py hold the same for PyTorch's files.
"""

import json
import pickle
import shutil

import numpy as np
import paddle
import pytest
import safetensors.paddle
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from support.models import parameters, save_checkpoint, write_safetensors

from mobilebert.base.errors import InputError
from mobilebert.model import tensor_files, weights
from mobilebert.model.heads import HEADS, MobileBertForQuestionAnswering
from mobilebert.text.tokenizer import MobileBertTokenizer

HEAD = "qa_outputs.weight"
IDS = np.array([[2, 5, 6, 7, 3]])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small float32 question-answering checkpoint, with its tokenizer; not to be written to."""
    return save_checkpoint(tmp_path_factory.mktemp("float32") / "qa", "question-answering")


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of it without weights."""
    left_out = shutil.ignore_patterns("*.safetensors", "manifest.json")
    return shutil.copytree(checkpoint, tmp_path / "copy", ignore=left_out)


def logits(folder):
    model = MobileBertForQuestionAnswering.from_pretrained(folder)
    with paddle.no_grad():
        output = model(paddle.to_tensor(IDS))
    return np.stack([output.start_logits.numpy(), output.end_logits.numpy()])


def rounded(value):
    """Float32 rounded to the nearest bfloat16, halves to even: arithmetic, not the code under test."""
    mantissa, exponent = np.frexp(value.astype(np.float64))
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype(np.float32)


def to_bfloat16(values):
    return {name: paddle.to_tensor(value).astype("bfloat16") for name, value in values.items()}


def save_pdparams(tensors, folder):
    paddle.save(tensors, str(folder / tensor_files.PDPARAMS))


def save_safetensors(tensors, folder):
    safetensors.paddle.save_file(tensors, str(folder / tensor_files.SAFETENSORS), {"format": "pd"})


def save_safetensors_as_uint16(tensors, folder):
    """As PaddleNLP does: the arrays that ``numpy()`` gives."""
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    assert any(value.dtype == np.uint16 for value in arrays.values())
    save_file(arrays, folder / tensor_files.SAFETENSORS, {"format": "pd"})


SAVERS = [save_pdparams, save_safetensors, save_safetensors_as_uint16]


# bfloat16


def test_every_bfloat16_becomes_the_float32_of_the_same_value():
    bits = np.arange(2**16, dtype=np.uint16)
    ours = tensor_files.as_floats({"a": bits, "b": bits.view(tensor_files.BFLOAT16)}, "pd", "here")
    paddles = paddle.to_tensor(bits).astype("float32").numpy()  # which takes uint16 for bfloat16
    for name in "ab":
        assert ours[name].dtype == np.float32
        np.testing.assert_array_equal(ours[name], paddles)  # not-a-number equals not-a-number here
        assert np.array_equal(np.signbit(ours[name]), np.signbit(paddles))
    assert ours["a"][0x3E0A] == np.float32(0.134765625) and ours.widened == ["a", "b"]
    scalar = tensor_files.as_floats({"a": bits[0x3F80].reshape(())}, "pd", "here")["a"]
    assert scalar.shape == () and scalar == 1
    # Once read it passes unchanged, and is not forgotten.
    again = tensor_files.as_floats(ours, "pd", "here")
    assert again["a"] is ours["a"] and again.widened == ["a", "b"]


@pytest.mark.parametrize("save", SAVERS)
def test_a_checkpoint_in_bfloat16_is_the_rounded_one(save, checkpoint, copy):
    exact = parameters(checkpoint)
    save(to_bfloat16(exact), copy)
    state, layout = tensor_files.read_state(copy)
    assert layout == "pd" and sorted(state.widened) == sorted(exact)
    got = parameters(copy)
    assert list(got) == list(exact)
    for name, value in exact.items():
        assert state[name].dtype == got[name].dtype == np.float32
        np.testing.assert_array_equal(state[name], rounded(value))
        np.testing.assert_array_equal(got[name], rounded(value))
    # Rounding does something here, or the comparison would prove nothing.
    assert not np.array_equal(got[HEAD], exact[HEAD])
    reference = logits(checkpoint)
    assert 0 < np.abs(logits(copy) - reference).max() < 0.05 * np.abs(reference).max()


@pytest.mark.parametrize("save", SAVERS)
def test_one_head_in_bfloat16_among_float32(save, checkpoint, copy):
    exact = parameters(checkpoint)
    head = {name: value for name, value in exact.items() if name.startswith("qa_outputs")}
    save({name: paddle.to_tensor(value) for name, value in exact.items()} | to_bfloat16(head), copy)
    model = MobileBertForQuestionAnswering.from_pretrained(copy)
    assert sorted(model.load_report.widened) == sorted(head)
    got = parameters(copy)
    for name, value in exact.items():
        np.testing.assert_array_equal(got[name], rounded(value) if name in head else value)
    assert not MobileBertForQuestionAnswering.from_pretrained(checkpoint).load_report.widened


def test_predict_answers_from_bfloat16_as_from_float32(checkpoint, copy, run_script, tmp_path):
    (tmp_path / "text.txt").write_text("ada lovelace wrote the program in 1843 .")
    exact = parameters(checkpoint)
    save_pdparams(to_bfloat16(exact), copy)
    same = shutil.copytree(copy, tmp_path / "rounded", ignore=shutil.ignore_patterns("*.pdparams"))
    save_file(
        {name: rounded(value) for name, value in exact.items()}, same / tensor_files.SAFETENSORS, {"format": "pd"}
    )
    answers = []
    for folder in (checkpoint, same, copy):
        arguments = ("--question", "who wrote it", "--context", tmp_path / "text.txt", "--json")
        code, output, _ = run_script("predict", "qa", "--model", folder, *arguments)
        assert code == 0
        answers.append(json.loads(output))
    assert answers[2] == answers[1] != answers[0]
    assert answers[2]["answer"] == answers[0]["answer"]
    # A score is the sum of two logits of about 1, and may be near 0: held against their size, not its own.
    assert answers[2]["answers"][0]["score"] == pytest.approx(answers[0]["answers"][0]["score"], abs=0.02)


# Other floating-point types


@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
@pytest.mark.parametrize("target", ["bfloat16", "float16", "float32", "float64"])
def test_a_model_keeps_its_type_whatever_the_file_has(stored, target, checkpoint, copy):
    exact = parameters(checkpoint)
    arrays = {name: value.astype(stored) for name, value in exact.items()}
    save_file(arrays, copy / tensor_files.SAFETENSORS, {"format": "pd"})
    state, _ = tensor_files.read_state(copy)
    assert {value.dtype.name for value in state.values()} == {stored} and not state.widened
    model = MobileBertForQuestionAnswering.from_pretrained(checkpoint)
    model.to(dtype=target)
    for parameter in model.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    weights.load_into(model, *tensor_files.read_state(copy), copy)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == getattr(paddle, target)
        expected = rounded(arrays[name]) if target == "bfloat16" else arrays[name].astype(target)
        np.testing.assert_array_equal(parameter.astype("float64").numpy(), expected.astype("float64"))


def test_floats_pass_without_a_copy():
    state = {"a": np.ones(3, np.float32), "b": np.ones(3, np.float16)}
    read = tensor_files.as_floats(state, "pd", "here")
    assert all(read[name] is state[name] for name in state)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_a_model_of_another_type_is_saved_as_numbers(dtype, checkpoint, tmp_path):
    model = MobileBertForQuestionAnswering.from_pretrained(checkpoint)
    model.to(dtype=dtype)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / tensor_files.SAFETENSORS, framework="np") as file:
        assert file.metadata() == {"format": "pd"}  # shapes alone do not tell where every linear weight is square
    exact = parameters(checkpoint)
    expected = {name: rounded(v) if dtype == "bfloat16" else v.astype(dtype) for name, v in exact.items()}
    # As any library reads it, and as we do.
    for written in (load_file(tmp_path / tensor_files.SAFETENSORS), tensor_files.read_state(tmp_path)[0]):
        assert sorted(written) == sorted(expected)
        for name, value in expected.items():
            assert written[name].dtype == value.dtype
            np.testing.assert_array_equal(written[name], value)
    loaded = parameters(tmp_path)
    np.testing.assert_array_equal(loaded[HEAD], expected[HEAD].astype("float32"))


# What is no weight


def as_type(values, dtype):
    """The checkpoint's head in another type, everything else as it is."""
    return {**values, HEAD: (values[HEAD] * 50).astype(dtype)}


REFUSED = ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool", "complex64"]


@pytest.mark.parametrize("dtype", [*REFUSED, "object"])
def test_a_tensor_of_another_type_is_refused_in_pdparams(dtype, checkpoint, copy):
    path = copy / tensor_files.PDPARAMS
    path.write_bytes(pickle.dumps(as_type(parameters(checkpoint), dtype), protocol=2))
    with pytest.raises(InputError) as refused:
        MobileBertForQuestionAnswering.from_pretrained(copy)
    assert str(refused.value) == (
        f"{path}: {HEAD} is {dtype}, but weights are float16, bfloat16, float32 or float64; "
        "if this is a quantised checkpoint, take the one that it was made from"
    )


@pytest.mark.parametrize("layout", ["pd", "pt"])
@pytest.mark.parametrize("dtype", [*REFUSED, "uint16"])
def test_a_tensor_of_another_type_is_refused_in_safetensors(dtype, layout, checkpoint, copy):
    values = {
        name: value if layout == "pd" or value.ndim < 2 or "embeddings.weight" in name else value.T.copy()
        for name, value in parameters(checkpoint).items()
    }
    save_file(as_type(values, dtype), copy / tensor_files.SAFETENSORS, {"format": layout})
    if (dtype, layout) == ("uint16", "pd"):
        assert tensor_files.read_state(copy)[0].widened == [HEAD]
        return
    with pytest.raises(InputError, match=rf"copy: {HEAD} is {dtype}, but weights are float16"):
        MobileBertForQuestionAnswering.from_pretrained(copy)
    save_file(values, copy / tensor_files.SAFETENSORS, {"format": layout})
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))  # the type alone was wrong


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_is_refused_by_name(dtype, checkpoint, copy):
    values = {name: paddle.to_tensor(value) for name, value in parameters(checkpoint).items()}
    values[HEAD] = values[HEAD].astype(dtype)
    save_safetensors(values, copy)
    code = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}[dtype]
    with pytest.raises(InputError, match=rf"model.safetensors: {HEAD} is {code}, but weights are"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


def test_integers_that_no_parameter_wants_are_refused_too(checkpoint, copy):
    packed = {"mobilebert.encoder.layer.0.attention.self.query.qweight": np.zeros((8, 8), np.int32)}
    save_file(parameters(checkpoint) | packed, copy / tensor_files.SAFETENSORS, {"format": "pd"})
    with pytest.raises(InputError, match=r"query.qweight is int32, but weights are"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


def test_a_state_from_elsewhere_is_looked_at_too(checkpoint):
    model = MobileBertForQuestionAnswering.from_pretrained(checkpoint)
    with pytest.raises(InputError, match=rf"^there: {HEAD} is int8"):
        weights.fit_state(model, as_type(parameters(checkpoint), "int8"), "pd", "there")


def test_constants_counters_and_notes_are_no_weights(checkpoint, copy):
    exact = parameters(checkpoint)
    positions = {"mobilebert.embeddings.position_ids": np.arange(64)[None]}
    save_file(exact | positions, copy / tensor_files.SAFETENSORS, {"format": "pd"})
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))
    (copy / tensor_files.SAFETENSORS).unlink()
    notes = {"epoch": 3, "loss": 0.5, "task": "squad", "best": None}
    tensors = {name: paddle.to_tensor(value) for name, value in (exact | positions).items()}
    save_pdparams(tensors | notes, copy)
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))


def test_predict_and_export_end_with_one_line_and_two(checkpoint, copy, run_script, tmp_path):
    save_pdparams({name: paddle.to_tensor(v) for name, v in as_type(parameters(checkpoint), "int8").items()}, copy)
    (tmp_path / "text.txt").write_text("ada wrote it")
    for command in (
        ("predict", "qa", "--model", copy, "--question", "who", "--context", tmp_path / "text.txt"),
        ("export", "--model", copy, "--out", tmp_path / "out"),
        ("convert", "--reverse", "--src", copy, "--dst", tmp_path / "out"),
    ):
        code, output, errors = run_script(*command)
        assert code == 2 and not output
        assert errors.count("\n") == 1 and errors.startswith("error: ") and f"{HEAD} is int8" in errors
    assert not (tmp_path / "out").exists()


def in_torchs_layout(values):
    linear = {name for name in values if values[name].ndim == 2 and "embeddings.weight" not in name}
    return {name: value.T if name in linear else value for name, value in values.items()}


@pytest.mark.parametrize("metadata", [None, {"format": "np"}, {"format": "mlx"}, {"made_by": "me"}])
@pytest.mark.parametrize("layout", ["pd", "pt"])
def test_the_shapes_tell_the_layout_where_the_header_does_not(layout, metadata, checkpoint, copy):
    exact = parameters(checkpoint)
    write_safetensors(exact if layout == "pd" else in_torchs_layout(exact), copy, metadata)
    assert tensor_files.read_state(copy)[1] == layout
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))


def test_bfloat16_is_known_where_only_the_shapes_say_that_it_is_paddles(checkpoint, copy):
    exact = parameters(checkpoint)
    arrays = {name: tensor.numpy() for name, tensor in to_bfloat16(exact).items()}
    write_safetensors(arrays, copy, {"format": "np"})
    for name, value in parameters(copy).items():
        np.testing.assert_array_equal(value, rounded(exact[name]))
    write_safetensors(in_torchs_layout(arrays), copy)
    with pytest.raises(InputError, match="is uint16, but weights are"):
        tensor_files.read_state(copy)


def test_where_every_linear_weight_is_square_the_layout_is_asked_for(copy, run_script, tmp_path):
    square = {"a.weight": np.ones((4, 4), np.float32), "a.bias": np.ones(4, np.float32)}
    write_safetensors(square | {"word_embeddings.weight": np.ones((7, 4), np.float32)}, copy)
    with pytest.raises(InputError, match=r"Paddle's layout or PyTorch's\? .*metadata {'format': 'pd'} or") as refused:
        tensor_files.read_state(copy)
    assert "\n" not in str(refused.value)
    for direction in ((), ("--reverse",)):
        code, _, errors = run_script("convert", "--src", copy, "--dst", tmp_path / "new", *direction)
        assert code == 2 and "Paddle's layout or PyTorch's?" in errors and errors.count("\n") == 1
    for layout in ("pd", "pt"):
        write_safetensors(square, copy, {"format": layout})
        assert tensor_files.read_state(copy)[1] == layout


def test_a_header_that_the_shapes_contradict_is_refused(checkpoint, copy):
    write_safetensors(parameters(checkpoint), copy, {"format": "pt"})
    with pytest.raises(InputError, match="format is 'pt', but the shapes are Paddle's; write the file again"):
        MobileBertForQuestionAnswering.from_pretrained(copy)
    mixed = parameters(checkpoint)
    mixed[HEAD] = mixed[HEAD].T
    write_safetensors(mixed, copy)
    with pytest.raises(InputError, match=rf"{HEAD} has PyTorch's layout and .* Paddle's"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


# Shards


def shard(folder, parts, promised=None, names=None, name=tensor_files.SAFETENSORS):
    """Write parts of a state as shards, and an index."""
    stem, suffix = name.rsplit(".", 1)
    files = names or [f"{stem}-{number:05}.{suffix}" for number in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        if suffix == "safetensors":
            save_file(
                {key: np.ascontiguousarray(value) for key, value in part.items()}, folder / file, {"format": "pd"}
            )
        else:
            paddle.save({key: paddle.to_tensor(value) for key, value in part.items()}, str(folder / file))
    weight_map = {key: file for file, part in zip(files, parts, strict=True) for key in part} | (promised or {})
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def halves(values):
    items = list(values.items())
    return dict(items[::2]), dict(items[1::2])


@pytest.mark.parametrize("name", [tensor_files.SAFETENSORS, tensor_files.PDPARAMS])
def test_shards_are_read_and_must_hold_what_the_index_promises_once(name, checkpoint, copy):
    exact = parameters(checkpoint)
    first, second = halves(exact)
    shard(copy, (first, second), name=name)
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))
    for part in (first, second):
        part.pop(HEAD, None)
    file = next(copy.glob(f"{name.split('.')[0]}-00000.*")).name
    shard(copy, (first, second), {HEAD: file}, name=name)
    with pytest.raises(InputError, match=rf"index.json: names 1 tensors that no shard holds, first {HEAD}"):
        MobileBertForQuestionAnswering.from_pretrained(copy)
    shard(copy, (exact, {HEAD: exact[HEAD] * 2}), name=name)
    with pytest.raises(InputError, match=rf"-00001.*: holds {HEAD}, and so does .*-00000.*; which one is right\?"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


def test_a_whole_file_beside_an_index_is_read_and_the_index_is_not(checkpoint, copy):
    """What an earlier, sharded save left behind promises nothing about the file."""
    exact = parameters(checkpoint)
    shard(copy, halves({name: value * 0 for name, value in exact.items()}), {"another.weight": "gone.safetensors"})
    write_safetensors(exact, copy, {"format": "pd"})
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))


def test_every_shard_may_be_in_bfloat16_and_in_wrappers(checkpoint, copy):
    exact = parameters(checkpoint)
    wrapped = [{"state_dict": to_bfloat16(part)} for part in halves(exact)]
    shard(copy, halves(exact), name=tensor_files.PDPARAMS)
    for path, part in zip(sorted(copy.glob("*.pdparams")), wrapped, strict=True):
        paddle.save(part, str(path))
    state, _ = tensor_files.read_state(copy)
    assert sorted(state.widened) == sorted(exact) and state.taken_off == ["what stood around 'state_dict'"]


@pytest.mark.parametrize("bad", ["../model.safetensors", "/etc/passwd", "a/../../b", "..", "", "..\\b"])
def test_a_shard_outside_the_folder_is_not_opened(bad, checkpoint, copy, tmp_path):
    write_safetensors(parameters(checkpoint), tmp_path, {"format": "pd"})  # what ../model.safetensors would be
    index = {"weight_map": dict.fromkeys(parameters(checkpoint), bad)}
    (copy / tensor_files.SAFETENSORS_INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"index.json: names the file '.*'; shards lie beside their index"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


# Names around names


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda key: f"module.{key}", "the prefix module. ("),
        (lambda key: f"_orig_mod.{key}", "the prefix _orig_mod. ("),
        (lambda key: f"model.{key}", "the prefix model. ("),
        (lambda key: f"module._orig_mod.model.{key}", "the prefix module._orig_mod.model. ("),
        (lambda key: f"model.module.{key}", "the prefix module.model. ("),
        (lambda key: key.replace("mobilebert.", "mobilebert.module.", 1), "the prefix module. ("),
        (lambda key: key.replace("encoder.layer.0.", "encoder.layer.0._orig_mod."), "the prefix _orig_mod. ("),
        (lambda key: f"model.{key.removeprefix('mobilebert.')}", "the prefix model. ("),
    ],
)
def test_prefixes_are_taken_off_and_said(wrap, said, checkpoint, copy, caplog):
    exact = parameters(checkpoint)
    write_safetensors({wrap(key): value for key, value in exact.items()}, copy, {"format": "pd"})
    model = MobileBertForQuestionAnswering.from_pretrained(copy)
    assert not model.load_report.initialised and not model.load_report.unused
    assert f"{copy}: read without {said}" in caplog.text
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))
    caplog.clear()
    assert not MobileBertForQuestionAnswering.from_pretrained(checkpoint).load_report.taken_off and not caplog.text


def test_two_keys_that_are_one_without_prefixes_are_refused(checkpoint, copy):
    exact = parameters(checkpoint)
    write_safetensors(exact | {f"module.{HEAD}": exact[HEAD] * 2}, copy, {"format": "pd"})
    with pytest.raises(InputError, match=rf"{HEAD} and module.{HEAD} are both {HEAD}|module.{HEAD} and {HEAD}"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


@pytest.mark.parametrize("name", ["state_dict", "model", "model_state_dict", "my_net"])
def test_a_wrapped_state_dict_is_found(name, checkpoint, copy, caplog):
    tensors = {key: paddle.to_tensor(value) for key, value in parameters(checkpoint).items()}
    optimizer = {"linear_0.w_0_moment1_0": paddle.ones([2]), "LR_Scheduler": {"last_epoch": 1}}
    save_pdparams({name: tensors, "optimizer": optimizer, "epoch": 3, "rng": paddle.ones([2])}, copy)
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))
    assert f"read without what stood around '{name}'" in caplog.text
    save_pdparams({"checkpoint": {name: tensors}}, copy)
    np.testing.assert_array_equal(logits(copy), logits(checkpoint))
    save_pdparams({name: tensors, "ema": {key: value * 0 for key, value in tensors.items()}}, copy)
    with pytest.raises(InputError, match=rf"several could be the weights \({name}, ema\); save one of them by itself"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


@pytest.mark.parametrize("key", ["base_model.model.qa_outputs.weight", "a.query.lora_A.weight", "q.base_layer.weight"])
def test_an_adapter_is_to_be_merged_first(key, checkpoint, copy):
    write_safetensors(parameters(checkpoint) | {key: np.ones((2, 2), np.float32)}, copy, {"format": "pd"})
    with pytest.raises(InputError, match=r"PEFT adapter.*merge the adapter first"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


def test_an_adapters_folder_is_known_by_its_config(checkpoint, copy, run_script, tmp_path):
    (copy / "adapter_config.json").write_text("{}")
    save_file({"a": np.ones(2, np.float32)}, copy / "adapter_model.safetensors")
    (tmp_path / "text.txt").write_text("ada wrote it")
    commands = (
        ("predict", "qa", "--model", copy, "--question", "who", "--context", tmp_path / "text.txt"),
        ("convert", "--src", copy, "--dst", tmp_path / "out"),
        ("export", "--model", copy, "--out", tmp_path / "out"),
    )
    for command in commands:
        code, output, errors = run_script(*command)
        assert code == 2 and not output and errors.count("\n") == 1 and "merge the adapter first" in errors
    MobileBertTokenizer.from_pretrained(copy)  # which is a tokenizer like any other


def test_a_vocabulary_that_the_config_does_not_know_of_is_named(checkpoint, copy):
    values = parameters(checkpoint)
    name = "mobilebert.embeddings.word_embeddings.weight"
    rows = len(values[name])
    longer = np.concatenate([values[name], values[name][:3]])
    write_safetensors(values | {name: longer}, copy, {"format": "pd"})
    with pytest.raises(InputError, match=rf"^{copy}: .*set vocab_size to {rows + 3} in config.json"):
        MobileBertForQuestionAnswering.from_pretrained(copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "vocab_size": rows + 3}))
    assert not MobileBertForQuestionAnswering.from_pretrained(copy).load_report.initialised
    write_safetensors(values | {name: longer[:, :9]}, copy, {"format": "pd"})
    with pytest.raises(InputError, match=r"does its config.json belong to it\?"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


@pytest.mark.parametrize("head", ["masked-lm", "pretraining"])
def test_a_tied_tensor_stored_under_its_copys_name_alone_arrives(head, tmp_path):
    source = save_checkpoint(tmp_path / "source", head)
    state = dict(tensor_files.read_state(source)[0])
    copies = {copied: state.pop(origin) for copied, origin in weights.TIED_KEYS.items()}
    write_safetensors(state | copies, source, {"format": "pd"})
    model = HEADS[head].from_pretrained(source)
    assert not model.load_report.initialised and not model.load_report.unused
    assert sorted(model.load_report.loaded) == sorted(dict(model.named_parameters()))
    for copied, origin in weights.TIED_KEYS.items():
        np.testing.assert_array_equal(dict(model.named_parameters())[origin].numpy(), copies[copied])


def test_a_pickle_that_numbers_its_parts_beyond_all_bounds_is_refused(tmp_path):
    """Python's reader makes room for as many parts: 4 GiB for 2**28, which nine bytes can say."""
    path = tmp_path / tensor_files.PDPARAMS
    path.write_bytes(b"\x80\x02}r" + (1 << 16).to_bytes(4, "little") + b".")
    with pytest.raises(InputError, match=r"pdparams: refused.*it remembers its part 2 as number 65536"):
        tensor_files.read_pdparams(path)


def test_a_tensor_of_one_number_keeps_its_shape(tmp_path):
    tensor_files.save_state({"number": np.float32(3).reshape(())}, tmp_path, "pd")
    assert tensor_files.read_state(tmp_path)[0]["number"].shape == ()
