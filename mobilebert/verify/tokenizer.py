"""Is our tokenizer the reference tokenizer? Token by token, over hard cases and whole files.

Two references of transformers: the fast ``BertTokenizer`` (Rust) and the older ``BertTokenizerLegacy`` (Python). Ours
must equal the fast one in everything and the slow one wherever both references agree. Where they do not, the
reason is looked for by repairing the text until they do (``REPAIRS``); a disagreement that no repair ends counts as a
difference, so nothing is explained away.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mobilebert.base.errors import InputError, StuckWindowsError
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.verify import hard_texts
from mobilebert.verify.peers.transformers_tokenizer import References

KEYS = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping")
SLOW_KEYS = KEYS[:3]
CHUNK = 256  # texts compared at once
SHOWN = 5  # examples kept of each kind


@dataclass
class Check:
    """What one check found.

    Attributes:
        name: what was compared.
        compared: rows compared (a window is a row).
        differences: rows of ours that differ from the fast reference, or from the slow one where both agree.
        refused: calls that ours refused and the fast reference refused too.
        seconds: time taken.
        examples: the first differences, each with kind, text, ours and reference.
        references: how many rows the two references themselves differ in, by reason.
        reference_examples: the first text of each reason.
    """

    name: str
    compared: int = 0
    differences: int = 0
    refused: int = 0
    seconds: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)
    references: Counter = field(default_factory=Counter)
    reference_examples: dict[str, str] = field(default_factory=dict)

    def differ(self, kind: str, where: Any, ours: Any, reference: Any) -> None:
        """Count a difference and keep it if it is one of the first."""
        self.differences += 1
        if len(self.examples) < SHOWN:
            self.examples.append({"kind": kind, "input": where, "ours": ours, "reference": reference})


def compare_texts(
    tokenizer: MobileBertTokenizer,
    references: References,
    name: str,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
) -> Check:
    """Compare whole texts or pairs, untruncated: ids, token types, masks and offsets."""
    check = Check(name)
    started = time.perf_counter()
    options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    for start in range(0, len(texts), CHUNK):
        part = list(texts[start : start + CHUNK])
        others = None if pairs is None else list(pairs[start : start + CHUNK])
        ours = tokenizer(part, others, **options)
        fast = references.fast(part, others, **options)
        slow = references.slow_rows(part, others) if references.slow else [None] * len(part)
        for index, text in enumerate(part):
            where = text if others is None else [text, others[index]]
            _compare_row(check, references, where, _row(ours, index, KEYS), _row(fast, index, KEYS), slow[index])
    check.seconds = time.perf_counter() - started
    return check


def compare_windows(
    tokenizer: MobileBertTokenizer,
    references: References,
    name: str,
    questions: Sequence[str],
    contexts: Sequence[str],
    max_length: int,
    stride: int,
) -> Check:
    """Compare the windows of questions and contexts, padded to ``max_length``, and which sample each is of.

    The slow tokenizer has no windows: its tokens are cut here by a second, independent rule.
    """
    check = Check(name)
    started = time.perf_counter()
    options = {
        "truncation": "only_second",
        "max_length": max_length,
        "stride": stride,
        "padding": "max_length",
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
        "return_special_tokens_mask": True,
    }
    for start in range(0, len(questions), CHUNK):
        part, others = list(questions[start : start + CHUNK]), list(contexts[start : start + CHUNK])
        ours, fast = tokenizer(part, others, **options), references.fast(part, others, **options)
        mapping = ours["overflow_to_sample_mapping"]
        if mapping != fast["overflow_to_sample_mapping"]:
            check.differ("window mapping", f"samples {start}..", mapping[:20], fast["overflow_to_sample_mapping"][:20])
            continue
        windows: dict[int, list[int]] = {}
        for index, sample in enumerate(mapping):
            windows.setdefault(sample, []).append(index)
        for sample, indices in windows.items():
            where = [part[sample], others[sample]]
            slow = [None] * len(indices)
            if references.slow:
                slow = _slow_windows(references, *where, max_length, stride)
            if len(slow) != len(indices):
                _references_differ(check, references, where, "window count", len(indices), len(slow))
                slow = [None] * len(indices)
            for index, row in zip(indices, slow, strict=True):
                _compare_row(check, references, where, _row(ours, index, KEYS), _row(fast, index, KEYS), row)
    check.seconds = time.perf_counter() - started
    return check


def _slow_windows(
    references: References, question: str, context: str, max_length: int, stride: int
) -> list[dict[str, list[int]]]:
    first, second = references.slow_ids(question), references.slow_ids(context)
    room = max_length - len(first) - 3
    filling = {"input_ids": references.slow.pad_token_id, "token_type_ids": 0, "attention_mask": 0}
    rows, begin = [], 0
    while True:
        row = references.slow_row(first, second[begin : begin + room])
        missing = max_length - len(row["input_ids"])
        rows.append({key: value + [filling[key]] * missing for key, value in row.items()})
        if begin + room >= len(second):
            return rows
        begin += room - stride


def compare_boundaries(
    tokenizer: MobileBertTokenizer, references: References, name: str, pairs: Sequence[tuple[str, str | None]]
) -> Check:
    """Compare every ``max_length`` from the special tokens alone to one beyond the text, each strategy and side."""
    check = Check(name)
    started = time.perf_counter()
    sides = (tokenizer.truncation_side, references.fast.truncation_side)
    for side in ("right", "left"):
        tokenizer.truncation_side = references.fast.truncation_side = side
        if references.slow:
            references.slow.truncation_side = side
        for text, pair in pairs:
            special = _special_tokens({"pair": pair})
            total = len(tokenizer.encode([text], None if pair is None else [pair])[0])
            for strategy in ("longest_first", "only_first", "only_second")[: 3 if pair is not None else 2]:
                for max_length in range(special, total + 2):
                    for stride in (0, 1, 2):
                        options = {"truncation": strategy, "max_length": max_length, "stride": stride}
                        _compare_call(check, tokenizer, references, text, pair, side, options)
    tokenizer.truncation_side, references.fast.truncation_side = sides
    check.seconds = time.perf_counter() - started
    return check


def _compare_call(
    check: Check,
    tokenizer: MobileBertTokenizer,
    references: References,
    text: str,
    pair: str | None,
    side: str,
    options: dict[str, Any],
) -> None:
    """Compare one truncated call: every window, or that both refuse."""
    asked = {"return_overflowing_tokens": True, "return_offsets_mapping": True, "return_special_tokens_mask": True}
    batch = ([text], None if pair is None else [pair])
    where = {"text": text, "pair": pair, "side": side, **options}
    try:
        ours = tokenizer(*batch, **options, **asked)
    except StuckWindowsError:  # here the library aborts a thread, and says so on the terminal: not called
        check.refused += 1
        return
    except InputError as error:
        if not _refuses(lambda: references.fast(*batch, **options, **asked)):
            check.differ("refused by ours alone", where, str(error), "a result")
        check.refused += 1
        return
    fast = references.fast(*batch, **options, **asked)
    if len(ours["input_ids"]) != len(fast["input_ids"]):
        check.differ("window count", where, len(ours["input_ids"]), len(fast["input_ids"]))
        return
    slow = None
    if references.slow and options["stride"] == 0:
        slow = _row(references.slow(*batch, **options, return_token_type_ids=True), 0, SLOW_KEYS)
    for index in range(len(ours["input_ids"])):
        rows = _row(ours, index, KEYS), _row(fast, index, KEYS)
        _compare_row(check, references, where, *rows, slow if index == 0 else None)


def _refuses(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Exception:
        return True
    return False


def compare_calls(tokenizer: MobileBertTokenizer, references: References, name: str, texts: Sequence[str]) -> Check:
    """Compare forms of a call and the way back: padding, words, one text, one pair, decoding."""
    check = Check(name)
    started = time.perf_counter()
    fast = references.fast
    words = [text.split() or [""] for text in texts]
    calls: list[tuple[tuple, dict[str, Any]]] = [
        ((list(texts),), {"padding": True}),
        ((list(texts),), {"padding": "longest", "padding_side": "left"}),
        ((list(texts),), {"padding": True, "pad_to_multiple_of": 8}),
        ((list(texts),), {"padding": "max_length", "truncation": True, "max_length": 16}),
        ((list(texts), list(reversed(texts))), {"padding": True, "truncation": "longest_first", "max_length": 24}),
        ((list(texts),), {"max_length": 8}),
        ((list(texts),), {"add_special_tokens": False}),
        ((words,), {"is_split_into_words": True}),
        ((words, list(reversed(words))), {"is_split_into_words": True, "truncation": "only_first", "max_length": 400}),
        ((list(zip(texts, reversed(texts), strict=True)),), {}),
    ]
    calls += (
        [((text,), {}) for text in texts] + [((text, "b"), {}) for text in texts] + [(("a", ""), {}), (([],), {})][:1]
    )
    for inputs, options in calls:
        asked = {**options, "return_offsets_mapping": True, "return_special_tokens_mask": True, "return_length": True}
        got, expected = dict(tokenizer(*inputs, **asked)), dict(fast(*inputs, **asked))
        check.compared += 1
        if got != expected:
            keys = [key for key in expected if got.get(key) != expected[key]]
            check.differ(", ".join(keys), {"inputs": str(inputs)[:200], **options}, got.get(keys[0]), expected[keys[0]])
    for row in fast(list(texts))["input_ids"]:
        for options in ({}, {"skip_special_tokens": True}, {"clean_up_tokenization_spaces": True}):
            check.compared += 1
            if tokenizer.decode(row, **options) != fast.decode(row, **options):
                check.differ("decode", options, tokenizer.decode(row, **options), fast.decode(row, **options))
    check.seconds = time.perf_counter() - started
    return check


def _row(batch: Any, index: int, keys: Sequence[str]) -> dict[str, list]:
    return {key: list(batch[key][index]) for key in keys}


def _compare_row(
    check: Check,
    references: References,
    where: Any,
    ours: dict[str, list],
    fast: dict[str, list],
    slow: dict[str, list] | None,
) -> None:
    check.compared += 1
    wrong = [key for key in KEYS if ours[key] != fast[key]]
    if wrong:
        check.differ(f"{wrong[0]} (fast)", where, *_around(ours[wrong[0]], fast[wrong[0]]))
        return
    for key in SLOW_KEYS:
        if slow is not None and fast[key] != slow[key]:
            sides = _around(ours[key], slow[key])
            _references_differ(check, references, where, key, *sides, len(fast["input_ids"]) == len(slow["input_ids"]))
            return


def _references_differ(
    check: Check, references: References, where: Any, key: str, ours: Any, slow: Any, same_length: bool = False
) -> None:
    """Count a row in which the references differ from each other; without a known reason it is a difference."""
    reason = _reference_reason(references, where, same_length)
    if reason is None:
        check.differ(f"{key} (slow; no known reason)", where, ours, slow)
        return
    check.references[reason] += 1
    check.reference_examples.setdefault(reason, str(where)[:200])


def _reference_reason(references: References, where: Any, same_length: bool) -> str | None:
    """Why the references differ on a row, or None."""
    call = where if isinstance(where, dict) else {}
    if call:
        texts = [call["text"], call["pair"] or ""]
    else:
        texts = [where] if isinstance(where, str) else where
    apart = [text for text in texts if not references.agree(text)]
    reasons = [references.reason(text) for text in apart]
    if None in reasons:
        return None
    if reasons:
        return " + ".join(dict.fromkeys(reasons))
    if call.get("max_length") == _special_tokens(call):
        # With no room for text the fast one drops both texts, the slow one only what the strategy names.
        return "no room beside the special tokens"
    if call.get("truncation") != "longest_first":
        return None
    if call["pair"] == "" and call["side"] == "left":
        return "longest_first from the left: the slow one drops an empty second text"
    if call["pair"] and same_length:
        # Where both are cut to an odd number together, the fast one gives the odd token to the longer text, or to the
        # second of two equal ones; the slow one always to the first.
        return "longest_first: which text keeps the odd token"
    return None


def _special_tokens(where: dict[str, Any]) -> int:
    return 2 if where.get("pair") is None else 3


def _around(ours: list, reference: list) -> tuple[list, list]:
    """Both lists around the first place where they differ."""
    place = next(
        (i for i, (one, two) in enumerate(zip(ours, reference, strict=False)) if one != two),
        min(len(ours), len(reference)),
    )
    begin = max(0, place - 2)
    return ours[begin : place + 6], reference[begin : place + 6]


def compare_hard(tokenizer: MobileBertTokenizer, references: References) -> list[Check]:
    """Compare the built-in hard cases."""
    texts = hard_texts.all_texts()
    shuffled = texts[1:] + texts[:1]
    return [
        compare_texts(tokenizer, references, "hard texts", texts),
        compare_texts(tokenizer, references, "hard pairs", texts, shuffled),
        compare_calls(tokenizer, references, "forms of a call, decoding", texts),
        compare_boundaries(tokenizer, references, "truncation boundaries", hard_texts.BOUNDARY_PAIRS),
    ]
