"""Windows of questions and contexts, and the choice of answers, against both rules derived once more."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.answers import packed
from support.strategies import characters
from support.texts import VOCABULARY, make_tokenizer

from mobilebert.base.errors import InputError
from mobilebert.data.qa.answers import answers_of
from mobilebert.data.qa.features import build_features
from mobilebert.data.qa.spans import AnswerRules, extract_spans, find_spans
from mobilebert.data.qa.squad_json import SquadExample

TOKENIZER = make_tokenizer()
LARGEST = float(np.finfo(np.float32).max / 4)

# ---- windows ----

words = st.one_of(
    st.sampled_from(
        ["ada", "Ada", "engine", "harbour.", "  ", "\u200b", "unknown", "x" * 101, "\ud55c", "e\u0301", "?", "\u5de5"]
    ),
    st.sampled_from(VOCABULARY),
    st.text(characters, max_size=4),
)
passages = st.lists(words, max_size=25).map(" ".join)


@st.composite
def examples(draw):
    """Questions about few contexts, some with an answer that is somewhere in them."""
    contexts = draw(st.lists(passages, min_size=1, max_size=2))
    drawn = []
    for number in range(draw(st.integers(1, 3))):
        context = draw(st.sampled_from(contexts))
        start = draw(st.integers(0, len(context)))
        text = context[start : start + draw(st.integers(0, 12))]
        answers, starts = ((text,), (start,)) if text else ((), ())
        drawn.append(
            SquadExample(f"q{number}", draw(st.lists(words, max_size=4).map(" ".join)), context, answers, starts)
        )
    return drawn


def tokens_of(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and places of a text's tokens."""
    encoded = TOKENIZER(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


def labels_of(example: SquadExample, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where an answer may be: its first and last token, any of several that stand for one character."""
    if not example.answers:
        return []
    low = example.answer_starts[0]
    high = low + len(example.answers[0])
    inside = [number for number, (start, end) in enumerate(places) if start < high and end > low]
    if not inside:
        return []
    firsts = [number for number in inside if places[number] == places[inside[0]]]
    lasts = [number for number in inside if places[number] == places[inside[-1]]]
    return [(first, last) for first in firsts for last in lasts if first <= last]


@settings(max_examples=80)
@given(examples(), st.integers(4, 40), st.integers(-1, 20), st.booleans())
def test_windows(drawn, max_seq_length, doc_stride, is_training):
    options = {"max_seq_length": max_seq_length, "doc_stride": doc_stride, "is_training": is_training}
    contexts = [tokens_of(example.context) for example in drawn]
    questions = [tokens_of(example.question.lstrip())[0] for example in drawn]
    space = [max_seq_length - 3 - len(question) for question in questions]
    fits = [len(ids) <= room or doc_stride < room for (ids, _), room in zip(contexts, space, strict=True)]
    if doc_stride < 0 or not all(fits):
        with pytest.raises(InputError):
            build_features(drawn, TOKENIZER, **options)
        return
    rows = build_features(drawn, TOKENIZER, **options)
    row = 0
    for number, (example, (ids, places)) in enumerate(zip(drawn, contexts, strict=True)):
        begin, spans = 0, labels_of(example, places)
        while True:  # the windows of a question
            window = ids[begin : begin + space[number]]
            head = [TOKENIZER.cls_token_id, *questions[number], TOKENIZER.sep_token_id]
            assert rows.row(row).tolist() == [*head, *window, TOKENIZER.sep_token_id]
            assert (rows.example_index[row], rows.second_starts[row]) == (number, len(head))
            if is_training:
                label = (rows.labels["start_positions"][row], rows.labels["end_positions"][row])
                inside = [(len(head) + a - begin, len(head) + b - begin) for a, b in spans]
                whole = any(a >= begin and b < begin + len(window) for a, b in spans)
                # An answer at the edge may be cut between the tokens of one character.
                assert label in inside if label != (0, 0) else not whole or len(spans) > 1
            else:
                outside = [(-1, -1)] * len(head)
                expected = [*outside, *places[begin : begin + len(window)], (-1, -1)]
                assert [tuple(place) for place in rows.row_offsets(row)] == expected
            row += 1
            if begin + len(window) >= len(ids):
                break
            begin += space[number] - doc_stride  # neighbours share doc_stride tokens
    assert row == len(rows)


# ---- answers ----

CONTEXT = "one two three four five six seven eight nine"
WORDS = [(CONTEXT.index(word), CONTEXT.index(word) + len(word)) for word in CONTEXT.split()]


@st.composite
def features(draw, logits):
    """Rows of some questions, [CLS] question [SEP] context [SEP], with logits; wider than the longest row."""
    index, offsets, starts = [], [], [0]
    for question in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            low = draw(st.integers(0, len(WORDS)))
            window = WORDS[low : low + draw(st.integers(0, 5))]
            offsets += [(-1, -1)] * draw(st.integers(2, 3)) + window + [(-1, -1)]
            index.append(question)
            starts.append(len(offsets))
    width = int(max(np.diff(starts))) + draw(st.integers(0, 2))
    rows = packed(
        [f"q{number}" for number in range(index[-1] + 1)], np.array(index), np.array(starts), np.array(offsets)
    )
    values = st.lists(logits, min_size=len(index) * width, max_size=len(index) * width)
    return rows, *(np.array(draw(values), np.float32).reshape(len(index), width) for _ in range(2))


rules = st.builds(
    AnswerRules,
    version_2_with_negative=st.booleans(),
    n_best_size=st.integers(1, 6),
    max_answer_length=st.integers(1, 4),
    null_score_diff_threshold=st.sampled_from([0.0, -1.0, 1.5]),
)
plain = st.floats(-20, 20, width=32)
ties = st.sampled_from([0.0, 1.0, 2.0])
huge = st.sampled_from([LARGEST, -LARGEST, LARGEST / 2, 1.0, 0.0, -0.0, 1e-45])


def reference(rows, starts, ends, question, rules):
    """``utils_qa``'s loop over every pair of the best tokens; a position without a token has the logit -inf."""
    found, null = [], None
    n_best = rules.n_best_size
    for row in np.flatnonzero(rows.example_index == question):
        length = rows.lengths[row]
        start, end = (np.where(np.arange(a.shape[1]) < length, a[row], np.float32(-np.inf)) for a in (starts, ends))
        places = [tuple(place) if place[0] >= 0 else None for place in rows.row_offsets(row).tolist()]
        if null is None or null["score"] > start[0] + end[0]:
            null = {"score": start[0] + end[0], "offsets": (0, 0), "start": start[0], "end": end[0]}
        for first in np.argsort(start)[-1 : -n_best - 1 : -1].tolist():
            for last in np.argsort(end)[-1 : -n_best - 1 : -1].tolist():
                if first >= length or last >= length or places[first] is None or places[last] is None:
                    continue
                if last < first or last - first + 1 > rules.max_answer_length:
                    continue
                offsets = (places[first][0], places[last][1])
                score = start[first] + end[last]
                found.append({"score": score, "offsets": offsets, "start": start[first], "end": end[last]})
    if rules.version_2_with_negative:
        found.append(null)
    found = sorted(found, key=lambda entry: entry["score"], reverse=True)[:n_best]
    if rules.version_2_with_negative and all(entry["offsets"] != (0, 0) for entry in found):
        found.append(null)
    entries = [(CONTEXT[slice(*entry["offsets"])], entry["start"], entry["end"], entry["score"]) for entry in found]
    if not entries or (len(entries) == 1 and entries[0][0] == ""):
        entries.insert(0, ("empty", 0.0, 0.0, 0.0))
    if not rules.version_2_with_negative:
        return entries, entries[0][0], None
    best = next((entry for entry in entries if entry[0]), ("empty", 0.0, 0.0, 0.0))
    odds = null["score"] - best[1] - best[2]
    return entries, "" if odds > rules.null_score_diff_threshold else best[0], odds


@settings(max_examples=140)
@given(st.one_of(features(plain), features(ties), features(huge)), rules)
def test_answers(drawn, rules):
    rows, starts, ends = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing overflows
        answers = answers_of(find_spans(rows, starts, ends, rules), rows.example_ids, [CONTEXT] * len(rows.example_ids))
    for question, name in enumerate(rows.example_ids):
        own = [row for row in range(len(rows)) if rows.example_index[row] == question]
        if all((rows.row_offsets(row) < 0).all() for row in own):  # where the reference gives its stand-in
            assert answers.predictions[name] == ""
            continue
        entries, text, odds = reference(rows, starts, ends, question, rules)
        found = answers.nbest[name]
        assert [(e["text"], e["start_logit"], e["end_logit"]) for e in found] == [entry[:3] for entry in entries]
        weights = [math.exp(float(entry[3]) - float(max(e[3] for e in entries))) for entry in entries]
        assert [e["probability"] for e in found] == pytest.approx([w / sum(weights) for w in weights], abs=1e-5)
        assert answers.predictions[name] == text
        assert answers.null_odds.get(name) == odds
    assert all(map(math.isfinite, answers.null_odds.values()))


whole = st.sampled_from([0.0, 1.0, 2.0])


def mostly(broken: float) -> st.SearchStrategy:
    """Numbers, hardly ever one that is none."""
    return st.integers(0, 15).flatmap(lambda place: whole if place else st.just(broken))


NO_NUMBERS = (math.nan, math.inf, -math.inf, 2 * LARGEST)


@settings(max_examples=60)
@given(st.one_of(features(mostly(value)) for value in NO_NUMBERS), rules)
def test_logits_that_are_no_numbers_are_refused_where_there_is_a_token(drawn, rules):
    rows, starts, ends = drawn
    is_token = np.arange(starts.shape[1]) < rows.lengths[:, None]
    is_broken = [is_token & ~(np.abs(logits) <= 2.0) for logits in (starts, ends)]
    if np.any(is_broken):
        with pytest.raises(InputError, match="no finite numbers"):
            find_spans(rows, starts, ends, rules)
    else:  # what stands behind a row's tokens plays no part
        clean = [np.where(is_token, logits, 0.0) for logits in (starts, ends)]
        assert find_spans(rows, starts, ends, rules) == find_spans(rows, *clean, rules)
    if any(np.isnan(logits).any() or np.isposinf(logits).any() for logits in (starts, ends)):
        with pytest.raises(ValueError, match=r"NaN|infinite"):
            extract_spans(rows, starts, ends, rules)
