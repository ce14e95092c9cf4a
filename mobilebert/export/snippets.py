"""Lines for the card of an export: how other people's programs run it.

``tests/clients`` takes them from the card and runs them with those programs.
"""

import json
import shlex
from pathlib import Path

from mobilebert.inference.manifest import ONNX_FILE, Manifest
from mobilebert.inference.source import ReadingSettings
from mobilebert.model.config import MobileBertConfig

HUB_FILE = f"onnx/{ONNX_FILE}"  # where a folder in the hub's layout has it
REST = "# The rest is the same for every library."
_MODELS = {
    "question-answering": "ORTModelForQuestionAnswering",
    "sequence-classification": "ORTModelForSequenceClassification",
}
_RUN_ORT = """\
import onnxruntime

session = onnxruntime.InferenceSession(f"{folder}/{file}")


def run(inputs):  # input_ids, attention_mask, token_type_ids: int64 [batch, tokens] -> the outputs, in order
    return session.run(None, inputs)
"""
_RUN_OPENVINO = """\
import openvino

model = openvino.Core().compile_model(f"{folder}/{file}", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(inputs):
    return model(inputs).to_tuple()
"""
_RUN_JS = """\
import * as transformers from "@huggingface/transformers";
import {{ load }} from {module};

const model = await load(transformers, {folder}); // from the folder that the path begins in
console.log(await model.{call});
"""
_RUN_PIPELINE = """\
import {{ pipeline }} from "@huggingface/transformers";

const classify = await pipeline("text-classification", {folder}); // from the folder that the path begins in
console.log(await classify("A joy to watch."));
"""
_INPUTS = """\
import numpy as np
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation({truncation})


def logits(row):
    inputs = {{"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}}
    return [output[0] for output in run({{name: np.array([ids], "int64") for name, ids in inputs.items()}})]
"""
_ANSWER = """\
def answer(question, context):
    best, none = (-np.inf, 0, 0), np.inf
    row = tokenizer.encode(question, context)
    for window in [row, *row.overflowing]:
        start, end = logits(window)
        none = min(none, start[0] + end[0])  # the score of "no answer"
        place, inside = np.arange(len(window.ids)), np.array(window.sequence_ids) == 1
        length = place - place[:, None] + 1  # of a span from a row's first token to a column's last
        fits = inside[:, None] & inside & (length >= 1) & (length <= {max_answer_length})
        scores = np.where(fits, start[:, None] + end, -np.inf)
        first, last = np.unravel_index(scores.argmax(), scores.shape)
        best = max(best, (scores[first, last], window.offsets[first][0], window.offsets[last][1]))
    {result}


print(answer("Who wrote it?", "Ada wrote it."))
"""
_CLASSIFY = """\
labels = {labels}


def classify(*texts):  # one text, or two
    (scores,) = logits(tokenizer.encode(*texts))
    {probabilities}
    return dict(zip(labels, scores.tolist()))


print(classify({texts}))
"""
_TAG = """\
labels = {labels}


def tags(text):  # token by token; Predictor has whole words and texts of any length
    row = tokenizer.encode(text)
    (scores,) = logits(row)  # [tokens, labels]
    best = zip(row.offsets, row.sequence_ids, scores.argmax(-1))
    return [(text[slice(*place)], labels[index]) for place, text_number, index in best if text_number == 0]


print(tags("Ada Lovelace lived in London."))
"""


def sections(
    folder: Path, out: Path, manifest: Manifest, config: MobileBertConfig, rules: ReadingSettings
) -> list[str]:
    """The card's part on other people's programs, in lines; empty where the folder has nothing that they read.

    Args:
        folder: what is written.
        out: where it will be, which the lines name.
        manifest: of the folder.
        config: of the model.
        rules: how the model reads.
    """
    file = next((name for name in (ONNX_FILE, HUB_FILE) if (folder / name).exists()), None)
    if manifest.layout == "web":
        serve = f"python -m http.server --directory {shlex.quote(str(out))} 8000"
        return ["", "## The page", "", "```bash", f"{serve}  # then open http://localhost:8000/", "```"]
    if file is None or manifest.head not in ("token-classification", *_MODELS):
        return []
    name = f"folder = {json.dumps(str(out), ensure_ascii=False)}  # this folder"
    rest = f"{REST}\n{_rest(manifest.head, config, rules)}"
    lines = ["", "## In other people's programs", ""]
    if manifest.head in _MODELS:
        lines += ["Optimum (`pip install optimum-onnx==0.1.0 transformers==4.57.6 onnxruntime`):", ""]
        lines += [*_block(f"{_optimum(manifest.head, file, rules, config)}", name), ""]
    lines += ["ONNX Runtime (`pip install onnxruntime tokenizers`), on any system, without the above:", ""]
    lines += [*_block(f"{_RUN_ORT.replace('{file}', file)}\n\n{rest}", name), ""]
    if manifest.quantization == "int8" and file == ONNX_FILE:
        lines += ["OpenVINO 2026.4.1 does not read the int8 file; export with `--quantize dynamic-int8` for it.", ""]
    else:
        lines += ["OpenVINO (`pip install openvino tokenizers`): the same, but with these lines in front:", ""]
        lines += [*_block(_RUN_OPENVINO.replace("{file}", file), name), ""]
    if file == HUB_FILE:
        lines += ["transformers.js (`npm install @huggingface/transformers`), in an .mjs file:", ""]
        lines += [*_javascript(out, manifest.head, config, rules), ""]
    return lines[:-1]


def _javascript(out: Path, head: str, config: MobileBertConfig, rules: ReadingSettings) -> list[str]:
    """Its pipeline where that is right: one text, and classes; all else by way of ``mobilebert.mjs``."""
    # Of one or two names it would make a model's on the hub.
    path = out.as_posix() if out.is_absolute() else f"./{out.as_posix()}"
    folder, module = (json.dumps(name, ensure_ascii=False) for name in (path, f"{path}/mobilebert.mjs"))
    call = {
        "question-answering": 'answer("Who wrote it?", "Ada wrote it.")',
        "token-classification": 'entities("Ada Lovelace lived in London.")',
    }.get(head, 'classify("It rains.", "The street is wet.")' if rules.takes_pairs else 'classify("A joy to watch.")')
    is_plain = head == "sequence-classification" and not (rules.takes_pairs or config.is_regression)
    code = _RUN_PIPELINE if is_plain else _RUN_JS
    return ["```js", *code.format(folder=folder, module=module, call=call).rstrip().split("\n"), "```"]


def _block(code: str, name: str) -> list[str]:
    """A block of Python; the folder's name stands behind the imports."""
    imports, _, others = code.partition("\n\n")
    return ["```python", *f"{imports}\n\n{name}\n{others}".rstrip().split("\n"), "```"]


def _optimum(head: str, file: str, rules: ReadingSettings, config: MobileBertConfig) -> str:
    model = _MODELS[head]
    where = ', subfolder="onnx"' if file == HUB_FILE else ""
    lines = [
        f"from optimum.onnxruntime import {model}",
        "from transformers import AutoTokenizer, pipeline",
        "",
        f'model = {model}.from_pretrained(folder, file_name="{ONNX_FILE}"{where})',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
    ]
    if head == "question-answering":
        none = ", handle_impossible_answer=True" if rules.allow_no_answer else ""
        lines += [
            'reader = pipeline("question-answering", model=model, tokenizer=tokenizer)',
            "# As it was trained; the pipeline's own choice is another, and so are some answers then.",
            f'how = {{"max_seq_len": {rules.max_seq_length}, "doc_stride": {rules.doc_stride}, '
            f'"max_answer_len": {rules.max_answer_length}}}',
            f'print(reader(question="Who wrote it?", context="Ada wrote it.", **how{none}))',
        ]
    else:
        function = ', function_to_apply="none"' if config.is_regression else ""
        text = '{"text": "It rains.", "text_pair": "The street is wet."}' if rules.takes_pairs else '"A joy to watch."'
        lines += [
            f'classify = pipeline("text-classification", model=model, tokenizer=tokenizer{function})',
            f"print(classify({text}, truncation=True, top_k=None))",
        ]
    return "\n".join(lines)


def _rest(head: str, config: MobileBertConfig, rules: ReadingSettings) -> str:
    """From a text to answers, classes or tags, by way of ``run``."""
    truncation = f"max_length={rules.max_seq_length}"
    labels = json.dumps(list(config.id2label.values()), ensure_ascii=False)
    if head == "question-answering":
        truncation += f', stride={rules.doc_stride}, strategy="only_second"'
        result = "return context[best[1] : best[2]]"
        if rules.allow_no_answer:
            result = (
                f'return "" if none - best[0] > {rules.null_score_diff_threshold!r} else context[best[1] : best[2]]'
            )
        use = _ANSWER.format(max_answer_length=rules.max_answer_length, result=result)
        if not rules.allow_no_answer:
            use = "\n".join(line for line in use.split("\n") if "none = min" not in line).replace(
                "best, none = (-np.inf, 0, 0), np.inf", "best = (-np.inf, 0, 0)"
            )
    elif head == "token-classification":
        use = _TAG.format(labels=labels)
    else:
        probabilities = "scores = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()"
        if config.is_regression:
            probabilities = "# a number, no probability"
        elif config.problem_type == "multi_label_classification":
            probabilities = "scores = 1 / (1 + np.exp(-scores))"
        texts = '"It rains.", "The street is wet."' if rules.takes_pairs else '"A joy to watch."'
        use = _CLASSIFY.format(labels=labels, probabilities=probabilities, texts=texts)
    return f"{_INPUTS.format(truncation=truncation, folder='{folder}')}\n\n{use}"
