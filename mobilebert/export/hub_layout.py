"""The layouts of an export that transformers.js reads: the hub's, and with a page around the model.

    onnx/model.onnx, onnx/model_quantized.onnx, onnx/model_fp16.onnx   by the names that transformers.js asks for
    config.json, tokenizer.json, tokenizer_config.json                 beside the folder onnx/
    mobilebert.mjs, wordpiece.mjs, words.mjs                           `Predictor` over transformers.js
    index.html, page.*, worker.mjs, transformers.min.js, ...           of the page; its model is int8 alone

What asks for no precision is given float32 in Node and int8 in a browser, without a second try where that is not there.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilebert import web
from mobilebert.base.errors import InputError
from mobilebert.inference.manifest import HUB_FILES, ONNX_FILE
from mobilebert.model.config import MobileBertConfig
from mobilebert.web import packages

if TYPE_CHECKING:  # the command's help shall not wait for it
    from mobilebert.text.tokenizer import MobileBertTokenizer

LAYOUTS = ("flat", "hub")
PAGE = "index.html"
_DEFAULT_INT8 = "dynamic-int8"  # needs no text, and in WebAssembly is no slower than ranges chosen beforehand
_PAGE_HEADS = ("question-answering", "sequence-classification", "token-classification")
# The page's own script; where no server answers it, local.mjs does, which has to run before it.
_SCRIPT = '    <script src="page.js" defer></script>\n'
# Beyond the page's own server nothing is fetched, whatever a library tries; local.mjs makes the worker of a blob.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; "
    "style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
)
_CHARSET = '    <meta charset="utf-8">\n'
_LOCAL = '    <script src="local.mjs" type="module"></script>\n'


def precisions(layout: str, quantize: str | None) -> list[str | None]:
    """The precisions that a folder holds, as ``--quantize`` names them; None is float32."""
    if layout == "flat":
        return [quantize]
    quantized = quantize if quantize in ("int8", _DEFAULT_INT8) else _DEFAULT_INT8
    return [quantized] if layout == "web" else [None, quantized, "fp16"]


def main_precision(layout: str, quantize: str | None) -> str | None:
    """The precision that ``Predictor`` runs of a folder."""
    return precisions(layout, quantize)[0] if layout == "web" else quantize


def put(folder: Path, precision: str | None) -> None:
    """Move a file that was written as ``model.onnx`` to where transformers.js looks for its precision."""
    place = folder / HUB_FILES[precision]
    place.parent.mkdir(exist_ok=True)
    os.replace(folder / ONNX_FILE, place)


def require_page(head: str, tokenizer: "MobileBertTokenizer") -> None:
    """Refuse a model that the page cannot run.

    Raises:
        InputError: the page has no form for its head, or cannot find one of its added tokens.
    """
    if head not in _PAGE_HEADS:
        raise InputError(f"`format=web`: the page has no form for {head}, only for {', '.join(_PAGE_HEADS)}")
    if token := unsearchable(tokenizer):
        raise InputError(
            f"`format=web`: the tokenizer's added token {token!r} is searched in normalized text, which the page does "
            "not do; declare it with normalized=false, or serve the model with demo.py"
        )


def unsearchable(tokenizer: "MobileBertTokenizer") -> str | None:
    """An added token that is searched in normalized text, which wordpiece.mjs does not do."""
    tokens = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    searched = (token for token in tokens if not (token.special and tokenizer.split_special_tokens))
    return next((token.content for token in searched if token.normalized), None)


def config_of(config: MobileBertConfig, layout: str) -> MobileBertConfig:
    """The configuration with what transformers.js has to be told."""
    told = {"use_external_data_format": False}
    if layout == "web":
        told["dtype"] = "q8"  # in Node too
    return replace(config, num_labels=None, extra={**config.extra, "transformers.js_config": told})


def add_modules(folder: Path, layout: str) -> None:
    """Add the JavaScript.

    Raises:
        InputError: npm is missing, or cannot install what the page needs.
    """
    names = web.MODULES if layout == "hub" else (*web.MODULES, *web.WORKER, *web.PAGE[1:])
    for name in names:
        shutil.copyfile(web.FOLDER / name, folder / name)
    if layout == "web":
        page = (web.FOLDER / web.PAGE[0]).read_text(encoding="utf-8")
        before, after = page.split(_SCRIPT)
        meta, rest = before.split(_CHARSET)
        before = f'{meta}{_CHARSET}    <meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n{rest}'
        (folder / PAGE).write_text(before + _LOCAL + _SCRIPT + after, encoding="utf-8")
        kept = packages.fetch()
        for name in packages.FILES:
            shutil.copyfile(kept / name, folder / name)


def files(layout: str) -> Sequence[str]:
    """All that a layout may have beyond a flat export, folders included."""
    if layout == "flat":
        return ()
    both = (str(Path(HUB_FILES[None]).parent), *HUB_FILES.values(), *web.MODULES)
    return both if layout == "hub" else (*both, PAGE, *web.WORKER, *web.PAGE[1:], *packages.FILES)


def notes(layout: str, tokenizer: "MobileBertTokenizer") -> list[str]:
    """Lines of the card."""
    if layout == "flat":
        return []
    if layout == "hub":
        token = unsearchable(tokenizer)
        return [
            f"- Of one model: {HUB_FILES[None]} float32, {HUB_FILES['int8']} int8, {HUB_FILES['fp16']} float16.",
            *(
                [f"- mobilebert.mjs refuses its tokenizer: the added token `{token}` is searched in normalized text."]
                if token
                else []
            ),
        ]
    return [
        "- The page needs any server of files; it fetches nothing from elsewhere.",
        "- WebAssembly has one thread, and as many as there are cores where the server sends the headers "
        "`Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`.",
        f"- Licences of what comes from npm: {packages.LICENCES}.",
    ]
