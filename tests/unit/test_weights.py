"""Types of stored tensors: bfloat16 is read for what it is, whatever is no weight is refused by name. Without torch.

tests/parity/test_convert.py holds the same for PyTorch's files.
"""

import json
import pickle
import shutil

import numpy as np
import paddle
import pytest
import safetensors.paddle
from safetensors.numpy import load_file, save_file
from support.models import save_checkpoint

from mobilebert.base.errors import InputError
from mobilebert.model import tensor_files, weights
from mobilebert.model.heads import MobileBertForQuestionAnswering

HEAD = "qa_outputs.weight"
IDS = np.array([[2, 5, 6, 7, 3]])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small float32 question-answering checkpoint, with its tokenizer; not to be written to."""
    return save_checkpoint(tmp_path_factory.mktemp("float32") / "qa", "question-answering")


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of it without weights."""
    return shutil.copytree(checkpoint, tmp_path / "copy", ignore=shutil.ignore_patterns("*.safetensors"))


def parameters(folder):
    """What the checkpoint's model holds, by name."""
    model = MobileBertForQuestionAnswering.from_pretrained(folder)
    return {name: parameter.numpy() for name, parameter in model.named_parameters()}


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
    weights.load_into(model, copy)
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
