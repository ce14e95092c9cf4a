"""How PaddleNLP's MobileBERT tokenizer differs from Hugging Face's, by kind.

PaddleNLP needs older versions of nearly everything, so it runs in an environment of its own, as a process that reads
texts and writes ids.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilebert.base.errors import InputError
from mobilebert.text.tokenizer import MobileBertTokenizer

DEFAULT_PYTHON = ".venv-paddlenlp/bin/python"

# Runs under PaddleNLP's Python. Its log goes to standard output, so the answer goes to a file.
_PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
from paddlenlp import __version__
from paddlenlp.transformers import MobileBertTokenizer
asked = json.load(sys.stdin)
tokenizer = MobileBertTokenizer(asked["vocab_file"], do_lower_case=asked["do_lower_case"])
answers = []
for batch in asked["batches"]:
    rows = []
    for index, text in enumerate(batch["texts"]):
        pair = batch["pairs"][index] if batch["pairs"] else None
        options = {"max_length": asked["max_length"], "stride": asked["stride"]} if batch["windows"] else {}
        try:
            got = tokenizer([text], None if pair is None else [pair], return_token_type_ids=True, **options)
            offsets = got["offset_mapping"] if batch["windows"] else None
            rows.append({"ids": got["input_ids"], "types": got["token_type_ids"], "offsets": offsets})
        except Exception as error:
            rows.append({"error": type(error).__name__ + ": " + str(error)[:200]})
    answers.append(rows)
with open(asked["answer_file"], "w", encoding="utf-8") as handle:
    json.dump({"version": __version__, "answers": answers}, handle)
"""


@dataclass
class PeerCheck:
    """What PaddleNLP's tokenizer does otherwise on one set of texts.

    Attributes:
        name: the set.
        version: of PaddleNLP.
        texts: texts, or questions with their contexts, compared.
        kinds: how many differ, by kind; a text counts once, by the first kind found.
        examples: the first of each kind.
    """

    name: str
    version: str
    texts: int = 0
    kinds: Counter = field(default_factory=Counter)
    examples: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Texts to compare: by themselves, with second texts, or (``windows``) cut into windows as for SQuAD."""

    name: str
    texts: Sequence[str]
    pairs: Sequence[str] | None
    windows: bool


def compare(
    ours: MobileBertTokenizer, vocab_file: Path, batches: Sequence[Batch], max_length: int, stride: int
) -> list[PeerCheck]:
    """Compare PaddleNLP's tokenizer with ours, which equals Hugging Face's.

    Args:
        ours: the tokenizer.
        vocab_file: its ``vocab.txt``.
        batches: the texts.
        max_length, stride: of windows, in tokens.

    Raises:
        InputError: PaddleNLP's environment is missing or broken.
    """
    answer = _ask(ours, vocab_file, batches, max_length, stride)
    checks = []
    for batch, rows in zip(batches, answer["answers"], strict=True):
        check = PeerCheck(f"{batch.name}, in windows" if batch.windows else batch.name, answer["version"])
        for index, theirs in enumerate(rows):
            text, pair = batch.texts[index], batch.pairs[index] if batch.pairs else None
            check.texts += 1
            kind = _difference(ours, text, pair, theirs, batch.windows, max_length, stride)
            if kind:
                check.kinds[kind] += 1
                check.examples.setdefault(kind, text if pair is None else [text, pair])
        checks.append(check)
    return checks


def print_differences(checks: Sequence[PeerCheck]) -> None:
    """Print what ``compare`` found."""
    print(f"\nPaddleNLP {checks[0].version} against Hugging Face:")
    for check in checks:
        print(f"  {check.name}: {sum(check.kinds.values()):,} of {check.texts:,} texts differ")
        for kind, count in check.kinds.most_common():
            print(f"  {count:8,}  {kind}, as in {str(check.examples[kind])!r:.120}")


def _ask(
    ours: MobileBertTokenizer, vocab_file: Path, batches: Sequence[Batch], max_length: int, stride: int
) -> dict[str, Any]:
    python = os.environ.get("PADDLENLP_PYTHON", DEFAULT_PYTHON)
    answer_file = vocab_file.with_name("paddlenlp.json")
    asked = {
        "vocab_file": str(vocab_file),
        "do_lower_case": ours.do_lower_case,
        "max_length": max_length,
        "stride": stride,
        "answer_file": str(answer_file),
        "batches": [{"texts": batch.texts, "pairs": batch.pairs, "windows": batch.windows} for batch in batches],
    }
    try:
        done = subprocess.run([python, "-c", _PROGRAM], input=json.dumps(asked), capture_output=True, text=True)
    except OSError:
        raise InputError(
            f"{python}: no PaddleNLP environment; make it with bash scripts/setup.sh paddlenlp, "
            "or name its Python in PADDLENLP_PYTHON"
        ) from None
    if done.returncode or not answer_file.is_file():
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"{python}: PaddleNLP failed ({last}); make it anew with bash scripts/setup.sh paddlenlp")
    return json.loads(answer_file.read_text(encoding="utf-8"))


def _difference(
    ours: MobileBertTokenizer,
    text: str,
    pair: str | None,
    theirs: dict[str, Any],
    windows: bool,
    max_length: int,
    stride: int,
) -> str | None:
    """The first kind of difference, or None."""
    if "error" in theirs:
        return f"fails ({theirs['error'].split(':')[0]})"
    options: dict[str, Any] = {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    if windows:
        options.update(truncation="only_second", max_length=max_length, stride=stride)
    expected = ours([text], None if pair is None else [pair], **options)
    if len(theirs["ids"]) != len(expected["input_ids"]):
        return "number of windows"
    if theirs["ids"] != expected["input_ids"]:
        both = text + (pair or "")
        if any(token in both for token in ours.all_special_tokens):
            return "ids: a special token in the text is taken apart"
        return "ids: other ways to split or clean"
    if theirs["types"] != expected["token_type_ids"]:
        return "token types"
    offsets = [[list(span) for span in row] for row in expected["offset_mapping"]]
    if theirs["offsets"] is not None and theirs["offsets"] != offsets:
        return "offsets"
    return None
