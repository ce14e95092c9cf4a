"""Exports that a browser reads: the hub's layout, the page's folder, and what comes from npm."""

import json
import os
import shutil
from pathlib import Path

import pytest
from support.models import save_checkpoint

from mobilebert import web
from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.export.export import ExportPlan, export
from mobilebert.inference.manifest import HUB_FILES
from mobilebert.inference.predictor import Predictor
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.web import packages

QUESTION, CONTEXT = "Who wrote it ?", "Ada Lovelace wrote the notes in 1843 . " * 3
# What `npm ci` leaves, with little in it.
NPM = """#!/bin/sh
echo "$@" > {log}
test -f package-lock.json || exit 1
mkdir -p node_modules/@huggingface/transformers/dist node_modules/onnxruntime-web/dist node_modules/@types/node
echo runtime > node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.mjs
echo binary > node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm
echo library > node_modules/@huggingface/transformers/dist/transformers.min.js
echo Apache > node_modules/@huggingface/transformers/LICENSE
for name in @huggingface/transformers onnxruntime-web @types/node; do
    printf '{{"name": "%s", "version": "1.0", "license": "X"}}' $name > node_modules/$name/package.json
done
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "qa", "question-answering")


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Replace npm: ``npm(script)``; ``None`` is none. The cache is empty."""
    monkeypatch.setattr(packages, "cache_folder", lambda: tmp_path / "cache")

    def replace(script: str | None) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        if script is None:
            monkeypatch.setenv("PATH", str(folder))
            return
        (folder / "npm").write_text(script)
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return replace


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_layout_of_the_hub(checkpoint, tmp_path):
    out = tmp_path / "hub"
    export(ExportPlan(str(checkpoint), out, layout="hub"))
    export(ExportPlan(str(checkpoint), tmp_path / "flat"))
    assert names(out) - names(tmp_path / "flat") == {*HUB_FILES.values(), *web.MODULES}
    assert json.loads((out / "config.json").read_text())["transformers.js_config"] == {
        "use_external_data_format": False
    }
    ours, plain = Predictor(out), Predictor(tmp_path / "flat")
    assert ours.answer(QUESTION, CONTEXT) == plain.answer(QUESTION, CONTEXT)
    sizes = [(out / HUB_FILES[name]).stat().st_size for name in (None, "fp16", "dynamic-int8")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    assert "| onnx/model_fp16.onnx |" in (out / "README.md").read_text()


@pytest.mark.parametrize("quantize", ["dynamic-int8", "fp16"])
def test_predictor_runs_what_was_asked_for(checkpoint, tmp_path, quantize):
    export(ExportPlan(str(checkpoint), tmp_path / "hub", layout="hub", quantize=quantize))
    export(ExportPlan(str(checkpoint), tmp_path / "flat", quantize=quantize))
    assert (tmp_path / "hub" / HUB_FILES[quantize]).read_bytes() == (tmp_path / "flat" / "model.onnx").read_bytes()
    assert Predictor(tmp_path / "hub").answer(QUESTION, CONTEXT) == Predictor(tmp_path / "flat").answer(
        QUESTION, CONTEXT
    )


def test_a_damaged_file_is_refused(checkpoint, tmp_path):
    export(ExportPlan(str(checkpoint), tmp_path / "hub", layout="hub"))
    with open(tmp_path / "hub" / "onnx" / "model.onnx", "r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01\x02\x03")
    with pytest.raises(InputError, match=r"onnx/model\.onnx: has another sha256"):
        Predictor(tmp_path / "hub")
    (tmp_path / "hub" / "mobilebert.mjs").write_text("")
    with pytest.raises(InputError, match=r"has another sha256|bytes instead of"):
        digests.check_all(tmp_path / "hub")


def test_only_an_export_is_replaced(checkpoint, tmp_path):
    plan = ExportPlan(str(checkpoint), tmp_path / "hub", layout="hub", force=True)
    export(plan)
    export(plan)
    (tmp_path / "hub" / "onnx" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds onnx/mine\.txt, which no export wrote"):
        export(plan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "tree"}, "expected one of flat, hub"),
        ({"layout": "hub", "format": "native"}, "is of `format=onnx`"),
        ({"layout": "hub", "portable": True}, "drop `portable`"),
        ({"format": "web", "portable": True}, "drop `portable`"),
        ({"format": "web", "quantize": "fp16"}, "has an int8 model"),
        ({"format": "web", "layout": "hub"}, "is of `format=onnx`"),
        ({"format": "web", "quantize": "int8"}, "needs `calibration=FILE`"),
    ],
)
def test_what_does_not_go_together(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        ExportPlan("model", tmp_path / "out", **options)


def test_a_folder_with_a_page(checkpoint, tmp_path, npm):
    npm(NPM.format(log=tmp_path / "log"))
    out = tmp_path / "web"
    export(ExportPlan(str(checkpoint), out, format="web", force=True))
    page = {"index.html", *web.PAGE[1:], *web.WORKER, *web.MODULES, *packages.FILES, "onnx/model_quantized.onnx"}
    assert page < names(out) and not {"model.onnx", "onnx/model.onnx", "page.html"} & names(out)
    assert "--ignore-scripts" in (tmp_path / "log").read_text()
    index = (out / "index.html").read_text()
    assert index.index("Content-Security-Policy") < index.index("<link") < index.index("<script")
    assert index.index('src="local.mjs"') < index.index('src="page.js"')
    assert not [
        line
        for line in index.splitlines()
        if 'src="/' in line or 'href="/' in line or "http:" in line or "https:" in line
    ]
    licences = (out / packages.LICENCES).read_text()
    assert "Apache" in licences and "Microsoft" in licences and "@types" not in licences
    assert Predictor(out).manifest.quantization == "dynamic-int8" and Predictor(out).answer(QUESTION, CONTEXT)
    npm("#!/bin/sh\nexit 1\n")  # not asked again
    export(ExportPlan(str(checkpoint), out, format="web", force=True))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "install it"),
        (
            "#!/bin/sh\necho 'npm error code EINTEGRITY' >&2\necho 'npm error sha512 is not' >&2\nexit 1\n",
            "sha512 is not",
        ),
        ("#!/bin/sh\nexit 3\n", "it says nothing"),
    ],
    ids=["none", "refuses", "silent"],
)
def test_without_packages_nothing_is_written(checkpoint, tmp_path, npm, script, message):
    npm(script)
    with pytest.raises(InputError, match=message):
        export(ExportPlan(str(checkpoint), tmp_path / "web", format="web"))
    assert not (tmp_path / "web").exists() and not list((tmp_path / "cache").glob("npm-*"))


def test_a_head_without_a_form(tmp_path):
    model = save_checkpoint(tmp_path / "lm", "masked-lm")
    with pytest.raises(InputError, match="no form for masked-lm"):
        export(ExportPlan(str(model), tmp_path / "web", format="web"))


def test_an_added_word_that_only_python_finds(checkpoint, tmp_path):
    model = shutil.copytree(checkpoint, tmp_path / "model")
    tokenizer = MobileBertTokenizer.from_pretrained(model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    number = str(tokenizer.convert_tokens_to_ids("engine"))
    settings.setdefault("added_tokens_decoder", {})[number] = {
        "content": "engine", "lstrip": False, "rstrip": False, "single_word": False, "normalized": True,
        "special": False,
    }  # fmt: skip
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="added token 'engine' is searched in normalized text"):
        export(ExportPlan(str(model), tmp_path / "web", format="web"))
    assert not (tmp_path / "web").exists()
    export(ExportPlan(str(model), tmp_path / "hub", layout="hub"))
    assert "refuses its tokenizer: the added token `engine`" in (tmp_path / "hub" / "README.md").read_text()


def test_every_package_is_pinned_with_a_digest():
    lock = json.loads((web.FOLDER / "package-lock.json").read_text())["packages"]
    pins = json.loads((web.FOLDER / "package.json").read_text())["dependencies"]
    assert lock[""]["dependencies"] == pins and all(version[0].isdigit() for version in pins.values())
    without = [
        name for name, package in lock.items() if name and not package.get("integrity", "").startswith("sha512-")
    ]
    assert not without
