"""``compare_tokenizer.py``: which tokenizer, which texts, what is printed."""

import os
import string
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json, read_text, write_json
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.verify import hard_texts
from mobilebert.verify.peers import paddlenlp_tokenizer
from mobilebert.verify.peers.transformers_tokenizer import References, folder_of
from mobilebert.verify.tokenizer import Check, compare_hard, compare_texts, compare_windows

DEFAULT_FOLDERS = ("weight/paddle", "weight/torch")


def run(
    files: Sequence[str],
    vocab: str | None,
    tokenizer: str | None,
    max_length: int,
    stride: int,
    limit: int | None,
    peer: str,
    report: str | None,
) -> int:
    """Compare and print.

    Args:
        files: plain text or SQuAD JSON.
        vocab: ``vocab.txt``, or None.
        tokenizer: a folder or a model's name, or None; with neither, the first that is there of ``DEFAULT_FOLDERS``,
            ``$MOBILEBERT_DATA/vocab.txt`` and a built-in vocabulary.
        max_length, stride: of SQuAD's windows, in tokens.
        limit: texts read of each file; None for all.
        peer: ``"paddlenlp"`` lists PaddleNLP's differences too.
        report: where to write everything as JSON, or None.

    Returns:
        0, or 1 if ours differs from transformers'.

    Raises:
        InputError: an unreadable file or tokenizer, or a value outside its range.
    """
    if limit is not None and limit < 1:
        raise InputError(f"`limit={limit}`: give 1 or more")
    contents = [Texts(Path(path).name, *read_texts(path, limit)) for path in files]  # bad files end it here
    ours, name = load(vocab, tokenizer)
    with folder_of(ours) as folder:
        # What a folder says about itself is for both to read; from a vocabulary alone both take their defaults.
        references = References(tokenizer if tokenizer and Path(tokenizer).is_dir() else folder)
        _print_head(ours, name, references)
        checks = []
        for check in _checks(ours, references, contents, max_length, stride):
            checks.append(check)
            _print_check(check)
        _print_examples(checks)
        peers = []
        if peer == "paddlenlp":
            peers = paddlenlp_tokenizer.compare(ours, folder / "vocab.txt", _batches(contents), max_length, stride)
            paddlenlp_tokenizer.print_differences(peers)

    differences, compared = (sum(getattr(check, what) for check in checks) for what in ("differences", "compared"))
    if report:
        texts = {"tokenizer": name, "transformers": references.version, "unicode": unicodedata.unidata_version}
        windows = {"max_length": max_length, "stride": stride}
        found = {"checks": [vars(check) for check in checks], "paddlenlp": [vars(peer) for peer in peers]}
        write_json(report, {**texts, **windows, "differences": differences, **found})
    print(f"\n{differences} differences in {compared:,} rows: {'FAILED' if differences else 'equal'}")
    return 1 if differences else 0


@dataclass(frozen=True)
class Texts:
    """What a file holds: lines, or SQuAD's questions and contexts.

    Attributes:
        name: of the file.
        texts: lines or questions.
        contexts: one a question; None for lines.
    """

    name: str
    texts: list[str]
    contexts: list[str] | None


def _checks(
    ours: MobileBertTokenizer, references: References, contents: Sequence[Texts], max_length: int, stride: int
) -> Iterator[Check]:
    """The hard texts, then file by file, each when it is done."""
    yield from compare_hard(ours, references)
    for content in contents:
        if content.contexts is None:
            yield compare_texts(ours, references, content.name, content.texts)
        else:
            yield compare_windows(ours, references, content.name, content.texts, content.contexts, max_length, stride)


def _batches(contents: Sequence[Texts]) -> list[paddlenlp_tokenizer.Batch]:
    """All texts for PaddleNLP."""
    hard = [paddlenlp_tokenizer.Batch(kind, texts, None, False) for kind, texts in hard_texts.HARD_TEXTS.items()]
    return hard + [
        paddlenlp_tokenizer.Batch(content.name, content.texts, content.contexts, content.contexts is not None)
        for content in contents
    ]


def load(vocab: str | None, tokenizer: str | None) -> tuple[MobileBertTokenizer, str]:
    """The tokenizer to compare, and its name for people."""
    if vocab:
        return MobileBertTokenizer(vocab_file=vocab), vocab
    if tokenizer:
        return MobileBertTokenizer.from_pretrained(tokenizer), tokenizer
    for folder in DEFAULT_FOLDERS:
        if any((Path(folder) / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
            return MobileBertTokenizer.from_pretrained(folder), folder
    data = os.environ.get("MOBILEBERT_DATA")
    if data and (path := Path(data) / "vocab.txt").is_file():
        return MobileBertTokenizer(vocab_file=path), f"{path} (MOBILEBERT_DATA)"
    return MobileBertTokenizer(vocab=built_in_vocab()), f"built-in vocabulary (nothing in {', '.join(DEFAULT_FOLDERS)})"


def built_in_vocab() -> dict[str, int]:
    """A small vocabulary: special tokens, characters of the hard texts as word and as continuation, a few words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = string.ascii_lowercase + string.digits
    rare = sorted({char.lower() for text in hard_texts.all_texts() for char in text if char.isalpha()} - set(letters))
    characters = [*letters, *string.punctuation, *(char for char in rare if len(char) == 1)]
    words = ["the", "one", "two", "three", "four", "five", "quick", "brown", "un", "##able", "##aff", "##ing", "##s"]
    tokens = dict.fromkeys([*special, *characters, *(f"##{char}" for char in characters), *words])
    return {token: index for index, token in enumerate(tokens)}


def read_texts(path: str, limit: int | None) -> tuple[list[str], list[str] | None]:
    """Read a file's texts: SQuAD's questions and contexts, or lines and None.

    Raises:
        InputError: unreadable, empty, or JSON of another form.
    """
    if not path.removesuffix(".gz").endswith(".json"):
        lines = read_text(path).split("\n")[:limit]
        if not any(lines):
            raise InputError(f"{path}: no text; give a file with a text a line")
        return lines, None
    try:
        rows = [
            (answered["question"], paragraph["context"])
            for article in read_json(path)["data"]
            for paragraph in article["paragraphs"]
            for answered in paragraph["qas"]
        ][:limit]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not SQuAD's form ({type(error).__name__}: {error}); expected data, paragraphs, qas"
        ) from None
    if not rows:
        raise InputError(f"{path}: no questions; is it a SQuAD file?")
    return [question for question, _ in rows], [context for _, context in rows]


def _print_head(ours: MobileBertTokenizer, name: str, references: References) -> None:
    print(f"ours:         {name}, {len(ours):,} tokens, do_lower_case={ours.do_lower_case}")
    print(f"reference:    transformers {references.version}, fast and older Python tokenizer")
    print(f"Unicode:      {unicodedata.unidata_version} in this Python")
    if references.slow is None:
        print("              no vocab.txt beside tokenizer.json: the older tokenizer is left out")
    print(f"\n{'':34}{'compared':>10}{'differences':>13}{'both refuse':>13}{'seconds':>9}", flush=True)


def _print_check(check: Check) -> None:
    print(
        f"{check.name:34}{check.compared:10,}{check.differences:13,}{check.refused:13,}{check.seconds:9.1f}",
        flush=True,
    )


def _print_examples(checks: list[Check]) -> None:
    for check in checks:
        for example in check.examples:
            print(f"\n{check.name}: {example['kind']}\n  input     {str(example['input'])[:300]!r}")
            print(f"  ours      {str(example['ours'])[:200]}\n  reference {str(example['reference'])[:200]}")
    apart = [(check, reason, count) for check in checks for reason, count in check.references.items()]
    if apart:
        print("\nrows in which the two references differ from each other (ours equals the fast one):")
    for check, reason, count in apart:
        print(f"  {count:6,}  {check.name}: {reason}, as in {check.reference_examples[reason]!r:.120}")
