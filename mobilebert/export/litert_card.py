"""What the card of an export says of a LiteRT file: its inputs, who takes it, and where MediaPipe reads otherwise."""

import json
from pathlib import Path

from mobilebert.export.checkpoint import Checkpoint
from mobilebert.export.litert_metadata import probability
from mobilebert.inference.manifest import LITERT_FILE, LITERT_INPUTS, Manifest

_PRECISIONS = {
    None: "float32",
    "fp16": "products' weights stored in float16, computed in float32",
    "dynamic-int8": "products and embeddings in int8, activations' ranges measured at run time, the rest in float32",
}
_LIBRARY_LENGTH = 384  # tokens that the TF Lite Task Library reads
# Of MediaPipe 1.2.2's tokenizer; tests/clients/mediapipe runs it with and without the clean-up.
_CLEAN_UP = """\
MediaPipe's tokenizer lower-cases ASCII letters only, keeps accents and invisible characters (zero-width ones, soft
hyphens, controls), and takes a no-break space for a letter; BERT's does none of that. Clean texts before:

```js
const clean = (text) =>
  [...text.normalize("NFD").replace(/(?![\\t\\n\\r])[\\p{Mn}\\p{Cc}\\p{Cf}\\p{Co}\\uFFFD]/gu, "").replace(/\\s/gu, " ")]
    .map((character) => character.toLowerCase())
    .join("");
```

```python
import unicodedata


def clean(text):
    dropped = ("Mn", "Cc", "Cf", "Co")
    kept = [
        character
        for character in unicodedata.normalize("NFD", text)
        if character in "\\t\\n\\r" or not (unicodedata.category(character) in dropped or character == "\\ufffd")
    ]
    return "".join(" " if character.isspace() else character.lower() for character in kept)
```

What remains: `[SEP]` and other special tokens, written in a text, are letters to MediaPipe.
""".splitlines()
_MEDIAPIPE = """\
from mediapipe.tasks.python import text
from mediapipe.tasks.python.core.base_options import BaseOptions

options = text.TextClassifierOptions(base_options=BaseOptions(model_asset_path={path}))
classifier = text.TextClassifier.create_from_options(options)


def classify(sentence):  # after `clean`
    first, *_ = classifier.classify(sentence).classifications
    return {{category.category_name: category.score for category in first.categories}}


print(classify("a joy to watch"))
"""


def lines(out: Path, manifest: Manifest, checkpoint: Checkpoint) -> list[str]:
    """A section of the card, with an empty line before it; nothing where there is no such file.

    Args:
        out: where the folder will be, which the lines name.
        manifest, checkpoint: what it holds, and whence.
    """
    if "litert" not in manifest.engines:
        return []
    config, length = checkpoint.config, manifest.max_seq_length
    shape = {"question-answering": f"[1, {length}]", "sequence-classification": f"[1, {config.num_labels}]"}.get(
        manifest.head, f"[1, {length}, {config.num_labels}]"
    )
    outputs = [*(["probability"] if probability(checkpoint) else []), *manifest.outputs]
    found = [
        "",
        f"## {LITERT_FILE}: Android, iOS, browsers",
        "",
        f"- LiteRT (TensorFlow Lite), {_PRECISIONS[manifest.quantization]}.",
        f"- Inputs, in this order: {', '.join(f'`{name}`' for name in LITERT_INPUTS.values())}; each int32 "
        f"[1, {length}]. They may be resized to a text's own length, up to {config.max_position_embeddings} tokens.",
        f"- Outputs, in this order: {', '.join(f'`{name}` {shape}' for name in outputs)}; float32.",
        "- vocab.txt and the classes are inside, as the metadata of TF Lite says it.",
    ]
    if manifest.head == "question-answering":
        where = (
            "as it is" if length == _LIBRARY_LENGTH else f"where it is exported with --max_seq_length {_LIBRARY_LENGTH}"
        )
        found.append(f"- The TF Lite Task Library's BertQuestionAnswerer takes it {where}.")
    if manifest.head != "sequence-classification":
        return found
    found += [
        "- MediaPipe Tasks' TextClassifier takes it as it is. It reads one text, not a pair; the first of the result's",
        "  `classifications` "
        + ("are the probabilities, the second the logits." if len(outputs) > 1 else "is the number."),
        "",
    ]
    if not checkpoint.tokenizer.do_lower_case or checkpoint.tokenizer.strip_accents is False:
        return [
            *found,
            "MediaPipe's tokenizer is for models without case and accents, which this one has: tokenize yourself.",
        ]
    found += _CLEAN_UP
    if checkpoint.config.task_params(manifest.head).get("takes_pairs"):
        return found
    path = json.dumps(str(out / LITERT_FILE), ensure_ascii=False)
    code = _MEDIAPIPE.format(path=path).rstrip().split("\n")
    return [*found, "", "MediaPipe in Python (`pip install mediapipe`):", "", "```python", *code, "```"]
