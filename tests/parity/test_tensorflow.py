"""Google's checkpoints against Google's formulas in NumPy, and there and back bit for bit.

TensorFlow's own reader and writer are stood in for here; with the real ones, and Model Garden's own models, the same is
asked by ``bash scripts/clients.sh tf-checkpoints``.
"""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from support import fake_tensorflow
from support.fake_tensorflow import save
from support.google_mobilebert import (
    CONFIGS,
    GOOGLE_HEADS,
    NUM_CLASSES,
    Google,
    batch,
    beside,
    difference,
    random_variables,
)
from support.models import CHECKPOINT_SIZES
from support.texts import write_vocabulary
from support.tf_outputs import of_paddle, of_torch
from support.torch_checkpoints import contents

from mobilebert.base.errors import InputError
from mobilebert.convert.convert import convert
from mobilebert.convert.formats import tf_config, tf_names
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS

TOLERANCE = 1e-10
WRONG = 1e-6  # a control differs by more


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", fake_tensorflow.module)


def write(folder, name="mobilebert", head="pretraining", variables=None, **changes):
    """A folder as one downloads it, of ``CONFIGS[name]``; -> its configuration and variables."""
    config = {**CONFIGS[name], **changes}
    variables = random_variables(config, head) if variables is None else variables
    save(folder, variables)
    (folder / "bert_config.json").write_text(json.dumps(config))
    return config, variables


# Against Google's formulas


@pytest.mark.parametrize("name", CONFIGS)
def test_a_tf1_checkpoint_computes_what_googles_formulas_say(name, tmp_path):
    head = "pretraining"
    config, variables = write(tmp_path / "tf1", name, head)
    converted = convert(tmp_path / "tf1", tmp_path / "paddle")
    assert converted.head == head and not converted.report.unused and not converted.report.initialised
    expected = Google(config, variables)(*batch())
    got = of_paddle(tmp_path / "paddle", head)
    assert difference(got, expected) < TOLERANCE
    # Which the comparison would notice:
    swapped = dict(variables)
    one, other = (f"bert/encoder/layer_{i}/attention/self/query/kernel" for i in (0, 1))
    swapped[one], swapped[other] = swapped[other], swapped[one]
    assert difference(got, Google(config, swapped)(*batch())) > WRONG
    # The code that can train for quantization lets every token see the padding a little.
    assert difference(got, Google(config, variables, masking="multiplied")(*batch())) > WRONG


@pytest.mark.parametrize("head", GOOGLE_HEADS)
def test_every_head_goes_to_paddle_to_transformers_and_back(head, tmp_path):
    config, variables = write(tmp_path / "tf1", head=head)
    assert convert(tmp_path / "tf1", tmp_path / "paddle").head == head
    convert(tmp_path / "paddle", tmp_path / "torch", to="torch")
    direct = convert(tmp_path / "tf1", tmp_path / "direct", to="torch")
    assert contents(tmp_path / "direct")["model.safetensors"] == contents(tmp_path / "torch")["model.safetensors"]
    assert direct.remark is None
    expected = Google(config, variables)(*batch())
    for got in (of_paddle(tmp_path / "paddle", head), of_torch(tmp_path / "torch", head)):
        assert difference(got, expected) < TOLERANCE
    for source in ("paddle", "torch"):
        back = convert(tmp_path / source, tmp_path / f"{source}-tf1", to="tf1")
        assert back.head == head
        assert_same(fake_tensorflow.load(tmp_path / f"{source}-tf1" / "mobilebert.ckpt"), variables)
        written = json.loads((tmp_path / f"{source}-tf1" / "bert_config.json").read_text())
        assert {key: written[key] for key in config} == config


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        np.testing.assert_array_equal(got[name], value, err_msg=name)


@pytest.mark.parametrize("name", ["tiny", "without-opt", "chinese-f4", "factorised"])
def test_transformers_computes_the_same(name, tmp_path):
    """But for the teacher, which it cannot run, and for the eps of two norms that it does not read from anywhere."""
    config, variables = write(tmp_path / "tf1", name)
    remark = convert(tmp_path / "tf1", tmp_path / "torch", to="torch").remark
    expected = Google(config, variables)(*batch())
    assert difference(of_torch(tmp_path / "torch", "pretraining", eps=1e-12), expected) < TOLERANCE
    plain = difference(of_torch(tmp_path / "torch", "pretraining"), expected)
    if "normalization_type" in config:
        assert plain < TOLERANCE and remark is None
    else:
        assert plain > WRONG and "transformers has eps=1e-05 in the embeddings' LayerNorm" in remark


def test_googles_gelu_is_the_approximation_and_its_eps_the_smallest(tmp_path):
    config, variables = write(tmp_path / "tf1", "without-opt", "model")
    convert(tmp_path / "tf1", tmp_path / "paddle")
    got = of_paddle(tmp_path / "paddle", "model")
    assert MobileBertConfig.from_pretrained(tmp_path / "paddle").hidden_act == "gelu_new"
    for control in ({"exact_gelu": True}, {"eps": 1e-5}):
        assert difference(got, Google(config, variables, **control)(*batch())) > WRONG


@pytest.mark.parametrize("name", ["mobilebert", "tiny", "ib-bert", "chinese-f2", "bert"])
def test_there_and_back_is_bit_for_bit_in_both_tables(name, tmp_path):
    head = "model" if CONFIGS[name].get("classifier_activation", True) else "masked-lm"  # which has no pooler
    variables = random_variables(CONFIGS[name], head, 3, "float32")
    config, _ = write(tmp_path / "tf1", name, variables=variables)
    first = convert(tmp_path / "tf1", tmp_path / "paddle")
    assert first.report.renamed.keys() >= variables.keys()
    convert(tmp_path / "paddle", tmp_path / "again", to="tf1")
    assert_same(fake_tensorflow.load(tmp_path / "again" / "mobilebert.ckpt"), variables)
    if not config.get("trigram_input") or not config.get("use_bottleneck"):
        return  # Model Garden has no such models
    convert(tmp_path / "again", tmp_path / "tf2", to="tf2")
    stored = fake_tensorflow.load(tmp_path / "tf2" / "mobilebert.ckpt")
    size = config["intra_bottleneck_size"] // config["num_attention_heads"]
    query = stored["transformer_layer_1/attention/query/kernel"]
    assert query.shape[1:] == (config["num_attention_heads"], size)
    np.testing.assert_array_equal(
        query.reshape(len(query), -1), variables["bert/encoder/layer_1/attention/self/query/kernel"]
    )
    assert convert(tmp_path / "tf2", tmp_path / "third").sha256 == first.sha256
    # As Keras names them, with the model's name in front and a number where it is the process's second.
    prefixed = {f"mobile_bert_encoder/{key}" if key[0] in "mt" else key: v for key, v in stored.items()}
    prefixed = {key.replace("mobile_bert_embedding/", "mobile_bert_embedding_2/"): v for key, v in prefixed.items()}
    save(tmp_path / "keras", prefixed)
    (tmp_path / "keras" / "bert_config.json").write_text(json.dumps(config))
    assert convert(tmp_path / "keras", tmp_path / "fourth").sha256 == first.sha256


def test_both_tables_name_each_parameter_once():
    for name in CONFIGS:
        config = tf_config.from_dict(CONFIGS[name])
        for style in tf_names.STYLES:
            variables = list(tf_names.variables(config, style))
            for attribute in ("name", "parameter"):
                values = [getattr(variable, attribute) for variable in variables]
                assert len(set(values)) == len(values)


def test_the_names_are_those_of_googles_code():
    for name in CONFIGS:
        config = tf_config.from_dict(CONFIGS[name])
        found = {variable.name for variable in tf_names.variables(config, "tf1")}
        expected = set().union(*(random_variables(CONFIGS[name], head) for head in GOOGLE_HEADS))
        assert found == expected


# Which checkpoint, and what is beside the model


def test_what_a_training_stores_beside_the_model_is_left_out_and_said(tmp_path):
    config, variables = write(tmp_path / "plain", "chinese-f2")
    everything = variables | beside(variables, config) | {"my/counter": np.int64(3)}
    write(tmp_path / "full", "chinese-f2", variables=everything)
    plain, full = (convert(tmp_path / name, tmp_path / f"{name}-pd") for name in ("plain", "full"))
    assert plain.sha256 == full.sha256 and not full.report.unused
    count = len([name for name in variables if name.startswith("bert/")])
    assert (
        f"  taken off          2 variables of the losses, {2 * len(variables) + 1} variables of the optimizer, "
        f"{count} variables of the teacher, 1 other variables (my/counter)\n"
    ) in full.summary()
    assert "taken off" not in plain.summary()


def test_a_step_is_chosen(tmp_path):
    folder = tmp_path / "run"
    config, _ = write(folder)
    (folder / "bert_model.ckpt.index").unlink()
    values = {step: random_variables(config, "pretraining", seed=step) for step in (5, 90, 100)}
    for step, variables in values.items():
        save(folder, variables, f"model.ckpt-{step}")

    def step_of(source):
        convert(source, tmp_path / "out", to="tf1")
        got = fake_tensorflow.load(tmp_path / "out" / "mobilebert.ckpt")
        name = "bert/embeddings/word_embeddings"
        return next(step for step, variables in values.items() if np.array_equal(got[name], variables[name]))

    assert step_of(folder) == 100  # the highest number, not the last name
    (folder / "checkpoint").write_text('model_checkpoint_path: "/home/somebody/run/model.ckpt-90"\n')
    assert step_of(folder) == 90
    assert step_of(folder / "model.ckpt-5") == step_of(folder / "model.ckpt-5.index") == 5
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')  # was not fetched
    assert step_of(folder) == 100
    save(folder, values[5], "best.ckpt")
    with pytest.raises(
        InputError, match=r"holds several checkpoints \(best.ckpt, model.ckpt-100, .*name one with `src`"
    ):
        convert(folder, tmp_path / "out")


def test_a_saved_model_has_its_files_in_folders(tmp_path):
    config, variables = write(tmp_path / "tf1")
    save(tmp_path / "hub" / "variables", variables, "variables")
    (tmp_path / "hub" / "assets").mkdir()
    write_vocabulary(tmp_path / "hub" / "assets" / "vocab.txt")
    (tmp_path / "hub" / "my_model.json").write_text(json.dumps(config))  # the only one there: by any name
    plain, hub = (convert(tmp_path / name, tmp_path / f"{name}-pd") for name in ("tf1", "hub"))
    assert plain.sha256 == hub.sha256
    assert (tmp_path / "hub-pd" / "vocab.txt").exists()


def test_labels_and_notes_come_back(tmp_path):
    write(tmp_path / "tf1", head="sequence-classification")
    convert(tmp_path / "tf1", tmp_path / "paddle")
    config = MobileBertConfig.from_pretrained(tmp_path / "paddle")
    assert config.num_labels == NUM_CLASSES and config.head == "sequence-classification"
    config = config.with_labels(["no", "perhaps", "yes"]).with_task_params(config.head, max_seq_length=64)
    replace(config, num_labels=None, pad_token_id=3, classifier_dropout=0.5).save_pretrained(tmp_path / "paddle")
    convert(tmp_path / "paddle", tmp_path / "back", to="tf1")
    convert(tmp_path / "back", tmp_path / "again")
    assert MobileBertConfig.from_pretrained(tmp_path / "again") == MobileBertConfig.from_pretrained(tmp_path / "paddle")


def test_bfloat16_is_widened_as_from_everywhere(tmp_path):
    import ml_dtypes

    _, variables = write(
        tmp_path / "tf1", variables=random_variables(CONFIGS["mobilebert"], "pretraining", 0, "float32")
    )

    class Reader(fake_tensorflow._Reader):
        def get_tensor(self, name):
            return super().get_tensor(name).astype(ml_dtypes.bfloat16)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_tensorflow.module.train, "load_checkpoint", Reader)
        converted = convert(tmp_path / "tf1", tmp_path / "paddle")
    assert len(converted.report.widened) == len(variables)
    name = "bert/embeddings/word_embeddings"
    np.testing.assert_array_equal(
        converted.state["mobilebert.embeddings.word_embeddings.weight"],
        variables[name].astype(ml_dtypes.bfloat16).astype(np.float32),
    )


# What is refused


def lose(name):
    return lambda config, variables: variables.pop(name)


def add(name, value):
    return lambda config, variables: variables.update({name: value})


def configure(**values):
    return lambda config, variables: config.update(values)


QUERY = "bert/encoder/layer_1/attention/self/query/kernel"
REFUSED = {
    "a variable is missing": (lose(QUERY), r"1 tensors of the backbone are missing, first mobilebert.encoder.layer.1"),
    "a shape": (add(QUERY, np.ones((3, 4))), r"query.weight is \[3, 4\], the model has \[24, 24\]"),
    "a type": (add(QUERY, np.ones((24, 24), np.int8)), f"{QUERY} is int8, but weights are float16"),
    "quantized": (
        add(f"{QUERY}/MobileBertWeightFakeQuantWithMinMaxVars/min", np.float32(1)), "was trained for quantization",
    ),
    "relu6": (configure(hidden_act="relu6"), "hidden_act='relu6', of a training for quantization: expected relu, gelu"),
    "an activation": (configure(hidden_act=None), "hidden_act=None: expected relu, gelu, tanh"),
    "another norm": (configure(normalization_type="manual_layer_norm"), "normalization_type='manual_layer_norm'"),
    "no vocabulary's size": (configure(vocab_size=None), "vocab_size is missing"),
    "too many layers": (configure(num_hidden_layers=10**9), "variables, too few for the 1000000000 layers"),
    "one layer too many": (configure(num_hidden_layers=3), "num_hidden_layers=3, its weights have 2"),
    "one layer too few": (configure(num_hidden_layers=1), "have no place in the model, first bert/encoder/layer_1"),
    "a pooler": (configure(classifier_activation=True), "no mobilebert.pooler.dense.weight, which that head reads"),
    "another normalization": (configure(normalization_type="layer_norm"), "have no place in the model.*FakeLayerNorm"),
    "a larger vocabulary": (configure(vocab_size=98), "config.json says vocab_size=98, its weights have 97"),
    "another model": (lambda config, variables: variables.clear(), "too few for the 2 layers|no tensor fits"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_one_line(case, tmp_path, run_script):
    change, message = REFUSED[case]
    config = dict(CONFIGS["mobilebert"])
    variables = random_variables(config, "pretraining")
    change(config, variables)
    save(tmp_path / "tf1", variables)
    (tmp_path / "tf1" / "bert_config.json").write_text(json.dumps(config))
    code, output, errors = run_script("convert", "--src", tmp_path / "tf1", "--dst", tmp_path / "out")
    assert code == 2 and not output and errors.startswith("error: ") and errors.count("\n") == 1
    assert re.search(message, errors) and not (tmp_path / "out").exists()


def test_damaged_and_incomplete_files_are_one_line(tmp_path):
    folder = tmp_path / "tf1"
    write(folder)
    index, data = folder / "bert_model.ckpt.index", folder / "bert_model.ckpt.data-00000-of-00001"
    whole = contents(folder)
    for path, content, message in (
        (index, b"", "not a readable checkpoint"),
        (index, whole[index.name][:-100], "not a readable checkpoint"),
        (data, whole[data.name][:1000], r"its index promises [\d,]+ numbers, its files have 1,000 bytes"),
        (data, None, "data-00000-of-00001: no such file; is the checkpoint complete"),
        (folder / "bert_config.json", None, "no bert_config.json; put the checkpoint's configuration there"),
        (folder / "bert_config.json", b"[1]", r"expected a JSON object"),
    ):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            convert(folder, tmp_path / "out")
        path.write_bytes(whole[path.name])
    for number in (1, 2):
        (folder / f"{number}.json").write_text("{}")
    (folder / "bert_config.json").unlink()
    with pytest.raises(
        InputError, match=r"no bert_config.json, and several others that could be it \(1.json, 2.json\)"
    ):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def save_paddle(folder, head, **config):
    model = HEADS[head](MobileBertConfig(**{**CHECKPOINT_SIZES, "num_hidden_layers": 1, **config}))
    model.save_pretrained(folder)
    return folder


def test_what_google_cannot_compute_is_not_written(tmp_path):
    for head, config, to, message in (
        ("token-classification", {}, "tf1", "classifier.weight: Google's TF1 code has no such part; name with `head`"),
        ("question-answering", {}, "tf2", "qa_outputs.weight: Model Garden has no such part; name with `head`"),
        ("model", {"hidden_act": "gelu"}, "tf1", r"hidden_act=gelu \(the exact one\): .*set gelu_new in config.json"),
        ("model", {"hidden_act": "silu"}, "tf1", r"hidden_act=silu: Google's code has relu, tanh, gelu_new$"),
        ("model", {"trigram_input": False}, "tf2", "Model Garden.*trigram_input"),
    ):
        source = save_paddle(tmp_path / "paddle", head, **config)
        with pytest.raises(InputError, match=message):
            convert(source, tmp_path / "out", to=to)
        assert not (tmp_path / "out").exists()


def test_a_norm_that_google_computes_otherwise_is_said(tmp_path):
    source = save_paddle(tmp_path / "paddle", "model", normalization_type="layer_norm")
    there = convert(source, tmp_path / "tf1", to="tf1")
    assert "note               TensorFlow (Google's TF1 code) has eps=1e-12 in every LayerNorm" in there.summary()
    back = convert(tmp_path / "tf1", tmp_path / "back")
    assert back.remark is None and MobileBertConfig.from_pretrained(tmp_path / "back").torch_layer_norm_eps == 1e-5


def config_part(config):
    return "embedding_transformation" if "trigram_input" in config else "bottleneck/attention"


def test_what_is_not_used_is_not_written(tmp_path):
    """The product where both sizes are equal, and the second bottleneck where attention reads the first."""
    for config in (
        {"trigram_input": False, "embedding_size": 96},
        {"use_bottleneck_attention": True, "key_query_shared_bottleneck": True},
    ):
        convert(save_paddle(tmp_path / "paddle", "model", **config), tmp_path / "tf1", to="tf1")
        stored = fake_tensorflow.load(tmp_path / "tf1" / "mobilebert.ckpt")
        converted = convert(tmp_path / "tf1", tmp_path / "again")
        assert not converted.report.initialised
        assert not any(config_part(config) in name for name in stored)


def test_a_destination_with_another_models_files(tmp_path):
    write(tmp_path / "tf1")
    convert(tmp_path / "tf1", tmp_path / "paddle")
    with pytest.raises(InputError, match=r"(config.json|model.safetensors): would stay beside the new weights"):
        convert(tmp_path / "tf1", tmp_path / "paddle", "masked-lm", to="tf2")
    convert(tmp_path / "paddle", tmp_path / "out", to="tf1")
    save(tmp_path / "out", random_variables(CONFIGS["tiny"], "model"), "other.ckpt")
    with pytest.raises(InputError, match=r"other.ckpt\S+: would stay beside the new weights"):
        convert(tmp_path / "paddle", tmp_path / "out", to="tf1")


def test_without_tensorflow_one_line_names_the_extra(tmp_path, monkeypatch, run_script):
    write(tmp_path / "tf1")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    code, output, errors = run_script("convert", "--src", tmp_path / "tf1", "--dst", tmp_path / "out")
    assert code == 2 and not output
    assert errors == "error: tensorflow is not installed: pip install '.[tf]' in the repository's folder\n"
