"""A new engine and a new target are one file each, and a line in their registry: the commands know them at once."""

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import paddle
import pytest
from support import litert
from support.models import CHECKPOINT_SIZES, forget_digests, save_checkpoint

from mobilebert.base.errors import InputError
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.demo import models, pool
from mobilebert.export.export import ExportPlan, export
from mobilebert.export.targets import TARGETS
from mobilebert.inference import engines
from mobilebert.inference.predictor import Predictor
from mobilebert.inference.source import read_source
from mobilebert.model.heads import MobileBertForSequenceClassification

ENGINE = '''
"""Runs a program that was pickled."""

import pickle

from mobilebert.export.paddle_graph import compute
from mobilebert.inference.engines import Engine


class ToyEngine(Engine):
    name = "toy"
    library = "pickle"
    weight_files = ("model.toy",)
    made_with = "`format=toy`"

    def __init__(self, folder, head, outputs, options):
        self.outputs = list(outputs)
        self.program = pickle.loads((folder / "model.toy").read_bytes())

    def run(self, batch):
        (values,) = compute(self.program, [batch])
        return [values[name] for name in self.outputs]
'''
TARGET = '''
"""Pickles a program."""

import pickle

from mobilebert.inference.engines import ENGINES, EngineOptions

NAME = "toy"
TITLE = "toy"
ENGINE = "toy"
QUANTIZATIONS = ()
LIBRARIES = {}


def write(variant, folder):
    (folder / "model.toy").write_bytes(pickle.dumps(variant.program))


def files():
    return ("model.toy",)


def load(folder, head, outputs):
    return ENGINES[ENGINE](folder, head, outputs, EngineOptions())
'''


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """Both, as a file each and a line each."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "toy_engine.py").write_text(ENGINE)
    (tmp_path / "modules" / "toy_target.py").write_text(TARGET)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setitem(engines.ENGINES, "toy", importlib.import_module("toy_engine").ToyEngine)
    monkeypatch.setitem(TARGETS, "toy", importlib.import_module("toy_target"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    labels = {0: "negative", 1: "positive"}
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "sst2", "sequence-classification", id2label=labels)


def test_the_commands_export_and_predict_with_toys(checkpoint, tmp_path, toys, run_script):
    out = tmp_path / "out"
    code, output, errors = run_script("export", "--model", checkpoint, "--out", out, "--format", "toy")
    assert code == 0, errors
    assert "sequence-classification for toy" in output and "error of toy" in output
    assert 0 < json.loads((out / "export.json").read_text())["errors"]["toy"] < 1e-5
    said = {}
    for model, engine in ((out, ("--engine", "toy")), (out, ()), (checkpoint, ())):
        code, text, errors = run_script("predict", "classify", "--model", model, *engine, "--text", "good", "--json")
        assert code == 0, errors
        said[model, engine] = json.loads(text)
    named, chosen, dygraph = said.values()
    assert named == chosen and named["label"] == dygraph["label"]
    assert named["scores"] == pytest.approx(dygraph["scores"], abs=1e-5)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    export(ExportPlan(str(checkpoint), out, format="all"))
    return out


SIZE = CHECKPOINT_SIZES["vocab_size"]
WRONG = [
    ("input_ids", -1, rf"^input_ids: -1 at \[1, 2\], expected 0 to {SIZE - 1}; is it of another tokenizer"),
    ("input_ids", -SIZE - 1, rf"^input_ids: {-SIZE - 1} at \[1, 2\], expected 0 to"),
    ("input_ids", SIZE, rf"^input_ids: {SIZE} at \[1, 2\], expected 0 to {SIZE - 1}"),
    ("input_ids", 2**40, r"^input_ids: 1099511627776 at \[1, 2\], expected"),
    ("token_type_ids", -1, r"^token_type_ids: -1 at \[1, 2\], expected 0 to 1;"),
    ("token_type_ids", 2, r"^token_type_ids: 2 at \[1, 2\], expected 0 to 1;"),
]


def batch_with(name=None, value=0, length=5):
    batch = {key: np.ones((2, length), np.int64) for key in INPUT_NAMES}
    if name is not None:
        batch[name][1, 2] = value
    return batch


@pytest.mark.parametrize("engine", [*engines.ENGINES, "toy"])
def test_every_engine_refuses_what_the_model_has_no_row_for(exported, checkpoint, tmp_path, toys, engine, monkeypatch):
    """Some libraries look negative ids up from the table's end, or before its beginning."""
    if engine == "litert" and not engines.LiteRtEngine.is_available():
        litert.stand_in(monkeypatch)
    pytest.importorskip(engines.ENGINES[engine].library)
    alone = engine in ("litert", "toy")
    if alone:
        export(ExportPlan(str(checkpoint), tmp_path / "out", format=engine))
    loaded = engines.load(tmp_path / "out" if alone else exported, engine)
    for name, value, message in WRONG:
        with pytest.raises(InputError, match=message) as caught:
            loaded.run(batch_with(name, value))
        assert "\n" not in str(caught.value)
    positions = CHECKPOINT_SIZES["max_position_embeddings"]
    with pytest.raises(InputError, match=f"^{positions + 1} tokens in a row, the model has {positions} positions"):
        loaded.run(batch_with(length=positions + 1))
    (logits,) = loaded.run(batch_with("input_ids", SIZE - 1, positions))
    assert np.isfinite(logits).all()


def test_the_model_refuses_them_too(checkpoint):
    model = MobileBertForSequenceClassification.from_pretrained(checkpoint)

    def call(batch, **more):
        return model(**{name: paddle.to_tensor(array) for name, array in (batch | more).items()})

    for name, value, message in WRONG:
        with pytest.raises(InputError, match=message):
            call(batch_with(name, value))
    with pytest.raises(InputError, match=r"^position_ids: -1 at \[0, 1\], expected 0 to 63"):
        call(batch_with(), position_ids=np.array([[0, -1, 2, 3, 4]]))
    model.resize_token_embeddings(SIZE + 1)
    assert np.isfinite(call(batch_with("input_ids", SIZE)).logits.numpy()).all()


def test_the_demo_and_the_folder_know_them(checkpoint, tmp_path, toys):
    out = tmp_path / "out"
    export(ExportPlan(str(checkpoint), out, format="toy"))
    assert engines.best_engine(read_source(out)) == "toy"
    (model,) = models.load([out], pool.Pool(1, 1, 1.0), 1)
    assert model.describe()["bytes"] == (out / "model.toy").stat().st_size
    export(ExportPlan(str(checkpoint), out, format="toy", force=True))  # its files are an export's, which may go
    with pytest.raises(InputError, match="`quantize=fp16` is for ONNX or LiteRT; use `format=onnx or litert` or all"):
        ExportPlan(str(checkpoint), tmp_path / "other", format="toy", quantize="fp16")


def test_all_formats_are_written_together(checkpoint, tmp_path, toys):
    manifest = export(ExportPlan(str(checkpoint), tmp_path / "out", format="all"))
    assert manifest.engines == ["onnxruntime", "paddle", "native", "toy", "dygraph"]
    results = [Predictor(tmp_path / "out", engine=name).classify("good film") for name in manifest.engines]
    scores = np.array([list(result.scores.values()) for result in results])
    assert np.abs(scores - scores[0]).max() < 1e-5


def test_without_the_line_they_are_unknown(checkpoint, tmp_path, run_script):
    with pytest.raises(InputError, match=r"`format=toy`: expected one of onnx, paddle, native, litert, web, all"):
        ExportPlan(str(checkpoint), tmp_path / "out", format="toy")
    with pytest.raises(InputError, match="engine 'toy': expected one of native, onnxruntime, paddle, dygraph"):
        Predictor(checkpoint, engine="toy")
    code, _, errors = run_script("predict", "classify", "--model", checkpoint, "--engine", "toy", "--text", "good")
    assert code == 2 and "toy" in errors


def test_an_engine_names_the_export_that_it_needs(checkpoint, toys, tmp_path):
    export(ExportPlan(str(checkpoint), tmp_path / "out"))
    with pytest.raises(InputError, match=r"was not exported for toy \(only for onnxruntime\); .* with `format=toy`"):
        Predictor(tmp_path / "out", engine="toy")


@pytest.mark.parametrize(
    ("formats", "quantization", "runs"),
    [
        (["onnxruntime"], None, True),
        (["onnxruntime", "paddle", "dygraph"], "fp16", True),
        (["onnxruntime"], "dynamic-int8", True),
        (["onnxruntime"], "int8", False),
        (["paddle"], None, False),
    ],
)
def test_openvino_reads_an_onnx_file_but_for_static_int8(exported, formats, quantization, runs, monkeypatch):
    """Whether the file keeps to the standard's operators does not matter."""
    source = read_source(exported)
    manifest = replace(source.manifest, engines=formats, quantization=quantization, portable=False)
    assert engines.OpenVinoEngine.can_run(manifest) == runs
    monkeypatch.setitem(sys.modules, "openvino", None)
    message = rf"not exported for openvino \(only for {formats[0]}\); .* `format=onnx` and without `quantize=int8`$"
    message = "openvino is not installed" if runs else message
    with pytest.raises(InputError, match=message):
        engines.load(replace(source, manifest=manifest), "openvino")


@pytest.mark.parametrize("quantize", [None, "fp16", "dynamic-int8"])
def test_openvino_computes_what_onnx_runtime_does(checkpoint, tmp_path, quantize):
    pytest.importorskip("openvino", reason="the optional engine openvino is not installed")
    export(ExportPlan(str(checkpoint), tmp_path / "out", quantize=quantize))
    batch = batch_with("attention_mask", 0) | {"input_ids": np.arange(10).reshape(2, 5)}
    (got,), (expected,) = (engines.load(tmp_path / "out", name).run(batch) for name in ("openvino", "onnxruntime"))
    # At run time each chooses the ranges of its own int8.
    assert np.abs(got - expected).max() < (0.1 if quantize == "dynamic-int8" else 1e-5) * np.abs(expected).max()


def test_a_damaged_file_for_openvino(exported, tmp_path):
    pytest.importorskip("openvino", reason="the optional engine openvino is not installed")
    forget_digests(shutil.copytree(exported, tmp_path / "out"))
    (tmp_path / "out" / "model.onnx").write_bytes((exported / "model.onnx").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.onnx: OpenVINO cannot load it .*; export it again$"):
        engines.load(tmp_path / "out", "openvino")


def test_paddle_is_exported_without_onnx(checkpoint, tmp_path):
    """Nor is int8 of any format: its choice needs no ONNX."""
    script = (
        "import sys; sys.modules['onnx'] = sys.modules['onnxruntime'] = None\n"
        "import mobilebert.export.quantization\n"
        "from pathlib import Path; from mobilebert.export.export import ExportPlan, export\n"
        "export(ExportPlan(sys.argv[1], Path(sys.argv[2]), format='paddle'))"
    )
    command = [sys.executable, "-c", script, checkpoint, tmp_path / "out"]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "out" / "model.pdiparams").is_file()
