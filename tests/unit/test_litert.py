"""The LiteRT file of a program: what it computes, read by NumPy; what it says of itself; what is refused.

Where LiteRT is installed the engine is tried with it too; tests/clients has it, MediaPipe and trained models.
"""

import io
import json
import shutil
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from support import litert
from support.models import CHECKPOINT_SIZES, forget_digests, randomise, save_checkpoint

from mobilebert.base.errors import InputError
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export import litert_graph, litert_tables, litert_writer
from mobilebert.export.export import ExportPlan, export
from mobilebert.export.fold import fold
from mobilebert.export.litert_metadata import probability
from mobilebert.export.paddle_graph import compute
from mobilebert.export.quantization import quantize
from mobilebert.export.targets.litert import HEADS as EXPORTED
from mobilebert.export.variant import Variant
from mobilebert.inference import engines
from mobilebert.inference.predictor import Predictor
from mobilebert.model import weights
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.verify.hard_texts import all_texts

QUESTION, TEXT = "who wrote the program ?", "Ada Lovelace wrote the first program in 1843 ."
LENGTH = CHECKPOINT_SIZES["max_position_embeddings"]


@pytest.fixture(params=["NumPy", "LiteRT"])
def runtime(request, monkeypatch):
    """What runs the files: the reader of the tests, and LiteRT where it is installed."""
    if request.param == "NumPy":
        litert.stand_in(monkeypatch)
    elif find_spec("ai_edge_litert") is None:
        pytest.skip("the optional engine litert is not installed")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for head in EXPORTED:
        save_checkpoint(folder / head, head, num_hidden_layers=1, id2label={0: "negative", 1: "positive"})
    return folder


@pytest.fixture(scope="module")
def exports(checkpoints):
    """Of each head, as LiteRT is not needed to write it."""
    with pytest.MonkeyPatch.context() as patch:
        litert.stand_in(patch)
        for head in EXPORTED:
            exported(checkpoints, checkpoints / f"{head}-out", head, max_seq_length=20)
    return {head: checkpoints / f"{head}-out" for head in EXPORTED}


def program_of(head, preset="mobilebert", divide=True, **changes):
    model = HEADS[head](MobileBertConfig.preset(preset, **{**CHECKPOINT_SIZES, **changes}))
    randomise(model)
    return fold(model.config, weights.model_state(model), head, divide=divide)


def batch_of(length, seed=1):
    rng = np.random.default_rng(seed)
    mask = (rng.random((1, length)) < 0.8).astype(np.int64)
    arrays = rng.integers(0, CHECKPOINT_SIZES["vocab_size"], (1, length)), mask, rng.integers(0, 2, (1, length))
    return dict(zip(INPUT_NAMES, arrays, strict=True))


def build(variant, made_of=None):
    return litert_graph.build(variant, LENGTH, made_of, lambda names: b"about " + ",".join(names).encode())


def run(data, batch, tmp_path):
    (tmp_path / "model.tflite").write_bytes(data)
    engine = engines.LiteRtEngine(tmp_path, "", output_names(data), engines.EngineOptions())
    return dict(zip(engine.outputs, engine.run(batch), strict=True))


def output_names(data):
    graph = litert.read(data).subgraphs[0]
    return [graph.tensors[number].name for number in graph.outputs]


def relative_error(got, expected):
    assert got.shape == expected.shape
    return np.abs(got - expected).max() / np.abs(expected).max()


# -- what the file computes


@pytest.mark.parametrize("length", [1, 9, LENGTH])
@pytest.mark.parametrize("head", EXPORTED)
def test_every_head_at_every_length(head, length, runtime, tmp_path):
    """One file, whose inputs are resized."""
    program = program_of(head)
    (expected,) = compute(program, [batch_of(length)], "float64")
    got = run(build(Variant(program)), batch_of(length), tmp_path)
    assert list(got) == list(expected)
    assert all(relative_error(got[name], value) < 1e-5 for name, value in expected.items())


@pytest.mark.parametrize(
    ("preset", "activation"),
    [
        ("mobilebert-without-opt", "gelu"),
        ("mobilebert-tiny", "gelu_new"),
        ("mobilebert-tiny", "silu"),
        ("mobilebert-tiny", "tanh"),
        ("mobilebert-tiny", "sigmoid"),
        ("ib-bert-large", "relu"),
    ],
)
def test_configurations_and_activations(preset, activation, runtime, tmp_path):
    head = "question-answering"
    program = program_of(head, preset, intra_bottleneck_size=32, hidden_act=activation, embedding_size=32)
    (expected,) = compute(program, [batch_of(9)], "float64")
    assert (
        relative_error(run(build(Variant(program)), batch_of(9), tmp_path)["end_logits"], expected["end_logits"]) < 1e-5
    )


def test_without_trigrams(runtime, tmp_path):
    program = program_of("question-answering", trigram_input=False, embedding_size=96)
    (expected,) = compute(program, [batch_of(9)], "float64")
    got = run(build(Variant(program)), batch_of(9), tmp_path)
    assert relative_error(got["start_logits"], expected["start_logits"]) < 1e-5


def test_another_program_is_another_function(runtime, tmp_path):
    """The comparison can fail."""
    program = program_of("question-answering")
    (expected,) = compute(program, [batch_of(9)], "float64")
    name = next(name for name in program.weights if name.endswith("ffn1.output.weight"))
    program.weights[name] = program.weights[name] * 1.01
    assert (
        relative_error(run(build(Variant(program)), batch_of(9), tmp_path)["end_logits"], expected["end_logits"]) > 1e-4
    )


@pytest.mark.parametrize("made_of", ["SOFTMAX", "LOGISTIC"])
def test_probabilities_stand_before_the_logits(made_of, runtime, tmp_path):
    got = run(build(Variant(program_of("sequence-classification")), made_of), batch_of(9), tmp_path)
    assert list(got) == ["probability", "logits"]
    raised = np.exp(got["logits"])
    expected = raised / raised.sum() if made_of == "SOFTMAX" else raised / (1 + raised)
    np.testing.assert_allclose(got["probability"], expected, rtol=1e-5)


def versions(data):
    names = {number: name for name, (number, *_) in litert._OPERATORS.items()}
    return {(names[code.builtin_code], code.version) for code in litert.read(data).operator_codes}


def test_int8_has_a_scale_a_column_and_says_so(tmp_path, monkeypatch):
    litert.stand_in(monkeypatch)  # LiteRT rounds activations, so that nothing could be compared so narrowly
    exact = program_of("question-answering", divide=False)
    program, quantization = quantize(exact)
    data, whole = build(Variant(program, quantization)), build(Variant(exact))
    assert len(data) < 0.4 * len(whole)
    assert {("FULLY_CONNECTED", 12), ("EMBEDDING_LOOKUP", 4)} <= versions(data)
    assert {version for _, version in versions(whole)} == {1}
    (unrounded,) = compute(exact, [batch_of(20)], "float64")
    for tensor in litert.read(data).subgraphs[0].tensors:
        if tensor.type == 9:  # int8
            scale = tensor.quantization.scale
            assert len(scale) == tensor.shape[0] and tensor.quantization.quantized_dimension == 0
    for name, stored in quantization.weights.items():
        program.weights[name] = stored.values * stored.scale.astype(np.float64)
    for name, stored in quantization.tables.items():
        program.weights[name] = stored.values * stored.scale.reshape(-1, 1).astype(np.float64)
    (expected,) = compute(program, [batch_of(20)], "float64")
    got = run(data, batch_of(20), tmp_path)
    assert relative_error(got["start_logits"], expected["start_logits"]) < 1e-5
    assert relative_error(got["start_logits"], unrounded["start_logits"]) > 1e-4


def test_half_weights(runtime, tmp_path):
    program = program_of("question-answering")
    program.weights["layer0.value.weight"] = program.weights["layer0.value.weight"] * 1e6  # beyond float16
    program.weights["layer0.attention.output.weight"] = program.weights["layer0.attention.output.weight"] / 1e6
    whole, half = build(Variant(program)), build(Variant(program, half_weights=True))
    assert len(half) < 0.65 * len(whole) and ("DEQUANTIZE", 3) in versions(half)
    results = [run(data, batch_of(20), tmp_path)["end_logits"] for data in (half, whole)]
    assert 1e-7 < relative_error(*results) < 2e-2


# -- the export: its files, and how it is used


def exported(checkpoints, out, head, **options):
    export(ExportPlan(str(checkpoints / head), out, format="litert", **options))
    return out


@pytest.mark.parametrize("head", EXPORTED)
def test_predictors_answer_as_the_checkpoint_does(checkpoints, exports, head, runtime):
    out = exports[head]
    assert json.loads((out / "export.json").read_text())["engines"] == ["litert"]
    ours, theirs = (Predictor(folder, engine=name) for folder, name in ((out, "litert"), (checkpoints / head, None)))
    if head == "question-answering":
        got, expected = (one.answer(QUESTION, TEXT)[0] for one in (ours, theirs))
        assert got.text == expected.text and got.score == pytest.approx(expected.score, rel=1e-4)
    elif head == "sequence-classification":
        got, expected = (one.classify(TEXT).scores for one in (ours, theirs))
        assert got == pytest.approx(expected, abs=1e-5)
    else:
        got, expected = ([entity.text for entity in one.entities(TEXT)] for one in (ours, theirs))
        assert got == expected


@pytest.mark.parametrize("quantize", ["fp16", "dynamic-int8"])
def test_fewer_bits_are_near(checkpoints, quantize, runtime, tmp_path):
    head = "sequence-classification"
    out = exported(checkpoints, tmp_path / "out", head, quantize=quantize)
    got, expected = (Predictor(folder).classify(TEXT).scores for folder in (out, checkpoints / head))
    assert got == pytest.approx(expected, abs=0.05) and got != pytest.approx(expected, abs=1e-7)


def test_rows_of_a_batch_and_threads(exports, runtime):
    engine = engines.load(exports["question-answering"], threads=1)
    batches = [batch_of(length, seed) for seed, length in enumerate((5, 12, 5))]
    both = {name: np.concatenate([batches[0][name], batches[2][name]]) for name in INPUT_NAMES}
    alone = [engine.run(batch) for batch in batches]
    for together, first, third in zip(engine.run(both), alone[0], alone[2], strict=True):
        assert together.shape == (2, 5)
        np.testing.assert_allclose(together, np.concatenate([first, third]), rtol=1e-5, atol=1e-6)


def metadata_of(data):
    model = litert.read(data)
    (entry,) = model.metadata
    assert entry.name == "TFLITE_METADATA"
    return litert.read(model.buffers[entry.buffer].data.tobytes(), b"M001", "ModelMetadata")


@pytest.mark.parametrize("head", EXPORTED)
def test_what_the_file_says_of_itself(exports, head):
    data = (exports[head] / "model.tflite").read_bytes()
    (about,) = metadata_of(data).subgraph_metadata
    graph = litert.read(data).subgraphs[0]
    named = ["ids", "segment_ids", "mask"]
    assert [tensor.name for tensor in about.input_tensor_metadata] == named
    for number, name in zip(graph.inputs, named, strict=True):
        tensor = graph.tensors[number]
        assert tensor.name == name and tensor.type == 2  # int32
        assert list(tensor.shape) == [1, 20] and list(tensor.shape_signature) == [1, -1]
    (unit,) = about.input_process_units
    assert unit.options_type == 4 and [file.name for file in unit.options.vocab_file] == ["vocab.txt"]
    assert [tensor.name for tensor in about.output_tensor_metadata] == output_names(data)
    labels = [[file.name for file in tensor.associated_files or ()] for tensor in about.output_tensor_metadata]
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    vocabulary = MobileBertTokenizer.from_pretrained(exports[head]).get_vocab()
    assert archive.read("vocab.txt").decode().splitlines() == sorted(vocabulary, key=vocabulary.get)
    if head == "question-answering":
        assert output_names(data) == ["start_logits", "end_logits"] and labels == [[], []]
        assert archive.namelist() == ["vocab.txt"]
    else:
        assert labels == [["labels.txt"]] * len(labels)
        assert archive.read("labels.txt") == b"negative\npositive\n"


def test_weights_are_aligned_and_the_file_is_the_same_each_time(checkpoints, exports, monkeypatch, tmp_path):
    litert.stand_in(monkeypatch)
    again = exported(checkpoints, tmp_path / "out", "sequence-classification", max_seq_length=20)
    first, second = ((folder / "model.tflite").read_bytes() for folder in (exports["sequence-classification"], again))
    assert first == second
    for buffer in litert.read(first).buffers:
        if buffer.data is not None:
            place = (
                buffer.data.__array_interface__["data"][0]
                - np.frombuffer(buffer._table.Bytes, np.uint8).__array_interface__["data"][0]
            )
            assert place % 16 == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "SOFTMAX"),
        ({"problem_type": "multi_label_classification"}, "LOGISTIC"),
        ({"problem_type": "regression", "id2label": {0: "score"}}, None),
        ({"id2label": {0: "score"}}, None),
    ],
)
def test_what_a_classifiers_probabilities_are(changes, expected, monkeypatch, tmp_path):
    litert.stand_in(monkeypatch)
    head = "sequence-classification"
    save_checkpoint(tmp_path / head, head, num_hidden_layers=1, **{"id2label": {0: "a", 1: "b"}, **changes})
    out = exported(tmp_path, tmp_path / "out", head)
    assert output_names((out / "model.tflite").read_bytes()) == [*(["probability"] if expected else []), "logits"]
    got, wanted = (Predictor(folder).classify(TEXT) for folder in (out, tmp_path / head))
    assert got.scores == pytest.approx(wanted.scores, abs=1e-5) and got.chosen == wanted.chosen
    checkpoint = type("Checkpoint", (), {"head": head, "config": Predictor(out).config})
    assert probability(checkpoint) == expected


# -- the card


def clean_of(folder):
    """The clean-up as the card has it."""
    names = {}
    exec((folder / "README.md").read_text().split("```python\n")[2].split("```")[0], names)
    return names["clean"]


def test_the_cards_clean_up_changes_nothing_for_us(exports):
    """It does beforehand what BERT's tokenizer does itself and MediaPipe's does not."""
    clean = clean_of(exports["sequence-classification"])
    letters = [*map(chr, (*range(32, 127), 0x3C3, 0x3C2, 0x142)), *"中文東京", "##a"]
    tokenizer = MobileBertTokenizer(
        vocab={word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters])}
    )
    texts = [text for text in all_texts() if "[" not in text]
    assert [tokenizer.tokenize(clean(text)) for text in texts] == [tokenizer.tokenize(text) for text in texts]
    assert sum(clean(text) != text for text in texts) > 30
    assert clean("Caf\u00e9\u00a0so\u00adft\u200b \u03a3") == "cafe soft \u03c3"


def test_the_page_in_the_documents_cleans_as_the_card_does(exports):
    card = (exports["sequence-classification"] / "README.md").read_text().split("```js\n")[1].split("```")[0]
    documented = (Path(__file__).parents[2] / "docs" / "phones.md").read_text()
    assert "".join(f"  {line}\n" for line in card.splitlines()) in documented


def test_a_model_with_case_is_not_cleaned(monkeypatch, tmp_path):
    litert.stand_in(monkeypatch)
    head = "sequence-classification"
    save_checkpoint(tmp_path / head, head, num_hidden_layers=1)
    tokenizer = MobileBertTokenizer.from_pretrained(tmp_path / head, do_lower_case=False)
    tokenizer.save_pretrained(tmp_path / head)
    card = (exported(tmp_path, tmp_path / "out", head) / "README.md").read_text()
    assert "tokenize yourself" in card and "def clean" not in card


def test_the_card_names_inputs_outputs_and_who_reads_it(exports):
    cards = {head: (folder / "README.md").read_text() for head, folder in exports.items()}
    for card in cards.values():
        assert "`ids`, `segment_ids`, `mask`; each int32 [1, 20]" in card
    assert "`start_logits` [1, 20], `end_logits` [1, 20]" in cards["question-answering"]
    assert "BertQuestionAnswerer" in cards["question-answering"] and "MediaPipe" not in cards["question-answering"]
    assert "`probability` [1, 2], `logits` [1, 2]" in cards["sequence-classification"]
    assert "`logits` [1, 20, 2]" in cards["token-classification"] and "MediaPipe" not in cards["token-classification"]


# -- what is refused


@pytest.mark.parametrize("head", sorted(set(HEADS) - set(EXPORTED)))
def test_other_heads(head, monkeypatch, tmp_path):
    litert.stand_in(monkeypatch)
    save_checkpoint(tmp_path / head, head, num_hidden_layers=1)
    with pytest.raises(InputError, match=rf"^`format=litert`: has no {head}, only question-answering, sequence-class"):
        exported(tmp_path, tmp_path / "out", head)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written(checkpoints, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    head = "sequence-classification"
    with pytest.raises(InputError, match=r"^ai_edge_litert is not installed: pip install '\.\[litert\]' in"):
        exported(checkpoints, tmp_path / "out", head)
    litert.stand_in(monkeypatch)
    with pytest.raises(
        InputError, match=r"^`quantize=int8` is for ONNX or native; use `format=onnx or native` or all$"
    ):
        exported(checkpoints, tmp_path / "out", head, quantize="int8")
    save_checkpoint(tmp_path / head, head, num_hidden_layers=1, id2label={0: "a\nb", 1: "c"})
    with pytest.raises(InputError, match=r"'a\\nb' has a line break, which labels\.txt in the file cannot have$"):
        exported(tmp_path, tmp_path / "out", head)
    assert not (tmp_path / "out").exists()


def test_a_wrong_file_is_not_put_in_place(checkpoints, monkeypatch, tmp_path):
    litert.stand_in(monkeypatch)
    original = litert_graph.build

    def build_wrongly(variant, *more):
        name = next(name for name in variant.program.weights if name.endswith("value.weight"))
        variant.program.weights[name] = variant.program.weights[name] * 1.001
        return original(variant, *more)

    monkeypatch.setattr(litert_graph, "build", build_wrongly)
    with pytest.raises(InputError, match=r"^the LiteRT file: differs from the checkpoint by"):
        exported(checkpoints, tmp_path / "out", "question-answering")
    assert not (tmp_path / "out").exists()


def test_damaged_and_foreign_files(exports, runtime, tmp_path):
    out = shutil.copytree(exports["question-answering"], tmp_path / "out")
    path = out / "model.tflite"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\1")
    with pytest.raises(InputError, match=r"model\.tflite: has another sha256, says export\.json"):
        engines.load(out, "litert")
    forget_digests(out)
    path.write_bytes(b"GIF89a.." + data[8:])
    with pytest.raises(InputError, match=r"model\.tflite: LiteRT cannot load it \(.*\); export it again$"):
        engines.load(out, "litert")
    path.write_bytes((exports["token-classification"] / "model.tflite").read_bytes())
    said = r"model\.tflite: its inputs and outputs are ids, segment_ids, mask -> logits; export it again$"
    with pytest.raises(InputError, match=said):
        engines.load(out, "litert")
    path.unlink()
    with pytest.raises(InputError, match=r"model\.tflite: no such file; export it again$"):
        engines.load(out, "litert")


def test_scores_from_the_command_line(checkpoints, monkeypatch, tmp_path, run_script):
    """``--engine litert`` is a choice of the scripts that evaluate, and ``all`` leaves the format out."""
    litert.stand_in(monkeypatch)
    head = "sequence-classification"
    code, said, errors = run_script(
        "export", "--model", checkpoints / head, "--out", tmp_path / "out", "--format", "litert",
        "--quantize", "dynamic-int8", "--max_seq_length", 32,
    )  # fmt: skip
    assert code == 0 and "sequence-classification for litert" in said and "model.tflite" in said, errors
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\n" + "".join(f"ada wrote it {n}\t{n % 2}\n" for n in range(6)))
    code, _, errors = run_script(
        "run_glue", "--task_name", "sst2", "--model_name_or_path", tmp_path / "out", "--engine", "litert",
        "--output_dir", tmp_path / "scores", "--dev_file", tmp_path / "dev.tsv", "--do_eval", "--max_seq_length", 32,
        "--cache_dir", "",
    )  # fmt: skip
    assert code == 0, errors
    assert json.loads((tmp_path / "scores" / "eval_results.json").read_text())["evaluated"]["engine"] == "litert"
    code, said, errors = run_script(
        "predict", "classify", "--model", tmp_path / "out", "--engine", "litert", "--text", "ada wrote it", "--json"
    )
    assert code == 0 and set(json.loads(said)["scores"]) == {"negative", "positive"}, errors
    targets = ExportPlan(str(checkpoints / head), tmp_path / "all", format="all").targets
    assert "litert" not in {target.NAME for target in targets}


def test_our_copy_of_the_schema_is_litert_s_own():
    """Names, and the numbers of operators, options, types and fields."""
    schema = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="the optional engine litert is not installed"
    )
    for name, (number, options, kind) in litert_writer._OPERATORS.items():
        assert getattr(schema.BuiltinOperator, name) == number
        assert options is None or getattr(schema.BuiltinOptions, options) == kind
    for name, number in litert_writer._TYPES.items():
        assert getattr(schema.TensorType, name.upper()) == number
    checked = 0
    for kind, fields in litert_tables._TABLES.items():
        if not hasattr(schema, f"{kind}Start"):
            continue  # of the metadata, which tests/clients/mediapipe reads
        for slot, field in enumerate(fields.split()):
            name, what = field.split(":")
            if what != "-":
                add = getattr(schema, f"{kind}Add{name.title().replace('_', '')}")
                builder = Mock()
                add(builder, 0)
                ((call, given, _),) = builder.method_calls
                assert given[0] == slot and call.startswith(f"Prepend{litert_tables._NUMBERS.get(what, 'UOffset')}")
                checked += 1
    assert checked > 40
