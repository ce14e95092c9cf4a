"""Post-processing on features small enough to be read."""

import json

import numpy as np
import pytest
from support.answers import extract_answers, packed

from mobilebert.base.errors import InputError
from mobilebert.base.outputs import recorded
from mobilebert.data.qa import spans
from mobilebert.data.qa.answers import SquadAnswers, answers_of
from mobilebert.data.qa.spans import AnswerRules, Span, extract_spans, find_spans, mask_padding
from mobilebert.data.qa.squad_json import SquadExample

CONTEXT = "one two three four"
SPANS = [(0, 3), (4, 7), (8, 13), (14, 18)]


def features(*windows, context_start=2):
    """Features of one example; each window is a slice of the words. Tokens: [CLS] [SEP] words [SEP]."""
    offsets = []
    row_starts = [0]
    for window in windows:
        outside = [(-1, -1)] * context_start
        offsets += [*outside, *SPANS[window], (-1, -1)]
        row_starts.append(len(offsets))
    return {
        "example_ids": ["q"],
        "contexts": [CONTEXT],
        "example_index": np.zeros(len(windows), np.int32),
        "row_starts": np.array(row_starts),
        "offsets": np.array(offsets, np.int32),
    }


def logits(*rows, width=7):
    """Each row: position -> logit, -9 elsewhere."""
    out = np.full((len(rows), width), -9, np.float32)
    for row, values in zip(out, rows, strict=True):
        for position, value in values.items():
            row[position] = value
    return out


ONE = features(slice(0, 4))


def test_best_span_and_probabilities():
    answers = extract_answers(**ONE, start_logits=logits({3: 5, 2: 4}), end_logits=logits({4: 3}))
    assert answers.predictions == {"q": "two three"}
    first, second = answers.nbest["q"][:2]
    assert first == {"text": "two three", "start_logit": 5.0, "end_logit": 3.0, "probability": first["probability"]}
    assert second["text"] == "one two three"
    assert first["probability"] / second["probability"] == pytest.approx(np.e, rel=1e-6)
    assert sum(entry["probability"] for entry in answers.nbest["q"]) == pytest.approx(1, abs=1e-6)
    assert answers.null_odds == {}
    json.dumps(answers.nbest)  # plain floats only


def test_outside_context_backwards_and_too_long_are_no_answers():
    start, end = logits({0: 9, 6: 9, 5: 7, 2: 3}), logits({1: 9, 0: 9, 2: 6, 5: 5})
    # 5 -> 2 runs backwards, 2 -> 5 is four tokens
    assert extract_answers(**ONE, start_logits=start, end_logits=end).predictions == {"q": "four"}
    assert extract_answers(**ONE, start_logits=start, end_logits=end, max_answer_length=4).predictions["q"] == "four"
    start[0, 5] = -9
    long = extract_answers(**ONE, start_logits=start, end_logits=end, n_best_size=3)
    assert [entry["text"] for entry in long.nbest["q"]] == ["one"]
    assert extract_answers(**ONE, start_logits=start, end_logits=end).nbest["q"][1]["text"] == CONTEXT
    short = extract_answers(**ONE, start_logits=start, end_logits=end, max_answer_length=3)
    assert CONTEXT not in [entry["text"] for entry in short.nbest["q"]]


def test_nothing_valid_gives_the_stand_in():
    start, end = logits({5: 1}), logits({2: 1})
    answers = extract_answers(**ONE, start_logits=start, end_logits=end, n_best_size=1)
    assert answers.predictions == {"q": "empty"}
    assert answers.nbest["q"] == [{"text": "empty", "probability": 1.0, "start_logit": 0.0, "end_logit": 0.0}]
    v2 = extract_answers(
        **ONE, start_logits=start, end_logits=end, n_best_size=1, version_2_with_negative=True,
    )  # fmt: skip
    assert [entry["text"] for entry in v2.nbest["q"]] == ["empty", ""]
    assert v2.null_odds == {"q": -18.0} and v2.predictions == {"q": "empty"}


def test_a_context_without_a_token_has_no_answer():
    """Zero-width characters have nothing to read: no answer, not the stand-in's word."""
    none = {**features(slice(0, 0)), "contexts": ["\u200b\u200b"]}
    plain = extract_answers(**none, start_logits=logits({1: 3}, width=3), end_logits=logits({1: 4}, width=3))
    assert plain.predictions == {"q": ""} and plain.null_odds == {}
    assert plain.nbest["q"] == [{"text": "", "probability": 1.0, "start_logit": 0.0, "end_logit": 0.0}]
    for threshold in (-100, 100):
        v2 = extract_answers(
            **none,
            start_logits=logits({0: 3}, width=3),
            end_logits=logits({0: 4}, width=3),
            version_2_with_negative=True,
            null_score_diff_threshold=threshold,
        )
        assert v2.predictions == {"q": ""} and v2.null_odds == {"q": 7.0}
        assert [entry["text"] for entry in v2.nbest["q"]] == [""]


@pytest.mark.parametrize(
    ("context", "end", "text"),
    [
        ("the cafe\u0301 is", 8, "cafe\u0301"),
        ("the cafe\u0301", 8, "cafe\u0301"),
        ("the cafe is", 8, "cafe"),
        ("the caf\u00e9 is", 8, "caf\u00e9"),
        ("the \u2764\ufe0f is", 5, "\u2764\ufe0f"),
        ("the مُحَمَّدٌ.", 12, "مُحَمَّدٌ"),
        ("the में ह", 5, "में"),
        ("the cafe\u200b is", 8, "cafe"),  # no mark: it belongs to no character
    ],
)
def test_an_answer_keeps_the_marks_of_its_last_character(context, end, text):
    """The tokenizer's offsets end before them; predictions, n-best lists and places hold them."""
    one = {
        "example_ids": ["q"], "contexts": [context], "example_index": np.zeros(1, np.int32),
        "row_starts": np.array([0, 4]), "offsets": np.array([(-1, -1), (0, 3), (4, end), (-1, -1)], np.int32),
    }  # fmt: skip
    answers = extract_answers(**one, start_logits=logits({2: 5}, width=4), end_logits=logits({2: 5}, width=4))
    assert answers.predictions == {"q": text} and answers.nbest["q"][0]["text"] == text
    assert Span(0, 4, end, 0.0, 0.0).bounds(context) == (4, 4 + len(text))
    assert Span(0, 0, 0, 0.0, 0.0).text("\u0301") == ""  # no answer stays none


def test_null_score_is_the_smallest_over_the_windows():
    two = features(slice(0, 3), slice(2, 4))
    start = logits({0: 8, 3: 5}, {0: 2, 3: 4})
    end = logits({0: 8, 3: 5}, {0: 3, 3: 4})
    answers = extract_answers(**two, start_logits=start, end_logits=end, version_2_with_negative=True)
    assert answers.null_odds == {"q": 2 + 3 - 10.0}  # second window's null against "two" of the first
    assert answers.predictions == {"q": "two"}
    null = [entry for entry in answers.nbest["q"] if entry["text"] == ""]
    assert [(entry["start_logit"], entry["end_logit"]) for entry in null] == [(2.0, 3.0)]
    alone = extract_answers(
        **features(slice(0, 3)), start_logits=start[:1], end_logits=end[:1], version_2_with_negative=True
    )
    assert alone.null_odds == {"q": 6.0} and alone.predictions == {"q": ""}


@pytest.mark.parametrize(("threshold", "answer"), [(-1.5, "two"), (-5.0, "two"), (-5.5, "")])
def test_threshold(threshold, answer):
    start, end = logits({0: 2, 3: 5}), logits({0: 3, 3: 5})
    answers = extract_answers(
        **ONE,
        start_logits=start,
        end_logits=end,
        version_2_with_negative=True,
        null_score_diff_threshold=threshold,
    )
    assert answers.predictions == {"q": answer}


def test_null_is_added_behind_a_full_list():
    start, end = logits({2: 5, 3: 4}), logits({3: 5, 4: 3})

    def texts(n_best_size):
        answers = extract_answers(
            **ONE, start_logits=start, end_logits=end, n_best_size=n_best_size, version_2_with_negative=True
        )
        return [entry["text"] for entry in answers.nbest["q"]]

    assert texts(2) == ["one two", "two", ""]
    start[0, 0] = end[0, 0] = 4.75
    assert texts(3) == ["one two", "", "two"]
    assert texts(2) == ["one two", ""]  # [CLS] takes one of two places among the best tokens


def test_equal_scores_keep_the_order_of_the_windows():
    two = features(slice(0, 3), slice(1, 4))
    start, end = logits({3: 5}, {3: 5}), logits({3: 5}, {3: 5})
    answers = extract_answers(**two, start_logits=start, end_logits=end)
    assert [entry["text"] for entry in answers.nbest["q"][:2]] == ["two", "three"]
    start[1, 3] = 5.5
    answers = extract_answers(**two, start_logits=start, end_logits=end)
    assert [entry["text"] for entry in answers.nbest["q"][:2]] == ["three", "two"]


def test_padding_beyond_a_feature_is_never_an_answer():
    wide = logits({3: 5, 9: 50}, width=12)
    assert extract_answers(**ONE, start_logits=wide, end_logits=wide).predictions == {"q": "two"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_logits": np.full((1, 7), np.nan)}, "1 features have NaN start logits (first: question q)"),
        ({"end_logits": np.full((1, 7), np.inf)}, "1 features have infinite end logits (first: question q)"),
        ({"start_logits": np.zeros((2, 7))}, "expected both [F, S]"),
        (
            {"start_logits": np.zeros((1, 5)), "end_logits": np.zeros((1, 5))},
            "logits for 5 tokens, but a feature has 7",
        ),
        ({"example_ids": ["q", "r"], "contexts": ["", ""]}, "example r has no feature"),
        ({"contexts": []}, "zip() argument"),
        ({"example_index": np.zeros(3, int)}, "3 of example_index"),
    ],
)
def test_arguments_that_do_not_fit(changes, message):
    arguments = {**ONE, "start_logits": np.zeros((1, 7)), "end_logits": np.zeros((1, 7)), **changes}
    with pytest.raises(ValueError) as raised:
        extract_answers(**arguments)
    assert message in str(raised.value)


def test_padding_is_masked_and_what_is_no_number_is_refused():
    rows = packed(["p", "q"], np.array([0, 1]), np.array([0, 3, 5]), np.zeros((5, 2), np.int32))
    logits = np.array([[1, 2, 3, np.nan], [4, 5, np.inf, 7]], np.float32)
    start, end = mask_padding(rows, logits, -logits)
    assert start.tolist() == [[1, 2, 3, -np.inf], [4, 5, -np.inf, -np.inf]]
    assert end.tolist() == [[-1, -2, -3, -np.inf], [-4, -5, -np.inf, -np.inf]]
    assert start.dtype == np.float32 and np.isnan(logits[0, 3])  # a copy
    plain = np.zeros((2, 4), np.float32)
    for value in (np.nan, np.inf, -np.inf, 3e38, 1e38):  # null odds of four times the last are infinite
        broken = plain.copy()
        broken[1, 1] = value
        for pair, name in (((broken, plain), "start"), ((plain, broken), "end")):
            with pytest.raises(InputError, match=rf"1 features have {name} logits .* \(first: question q\)"):
                mask_padding(rows, *pair)


def test_logits_are_allowed_as_long_as_the_sum_of_four_is_finite():
    rows = packed(["q"], np.array([0]), np.array([0, 1]), np.zeros((1, 2), np.int32))
    largest = np.full((1, 1), np.finfo(np.float32).max / 4, np.float32)
    start, end = mask_padding(rows, largest, -largest)
    assert np.isfinite(4 * start).all() and end == -largest
    with pytest.raises(InputError, match="no finite numbers"):
        mask_padding(rows, np.nextafter(largest, np.inf), largest)


def two_questions():
    """Rows of two questions, the second in two windows, and logits [3, 7] whose padding holds nothing but noise."""
    offsets = np.array([(-1, -1), (0, 3), (4, 7), *[(-1, -1), (0, 3), (4, 7), (8, 13)], (-1, -1), (14, 18)], np.int32)
    rows = packed(["p", "q"], np.array([0, 1, 1]), np.array([0, 3, 7, 9]), offsets)
    start = logits({0: 1, 1: 3, 5: 99}, {0: 2, 3: 4}, {0: 1, 1: 6})
    end = logits({0: 1, 2: 3, 3: np.nan}, {0: 2, 3: 4}, {0: 2, 1: 5, 6: -np.inf})
    return rows, start, end


def test_spans_are_found_from_the_logits_as_the_model_gave_them():
    rows, start, end = two_questions()
    first, second = find_spans(rows, start, end, AnswerRules())
    assert first.best == first.spans[0] == Span(0, 0, 7, 3.0, 3.0) and first.null_odds is None
    assert second.best == second.spans[0] == Span(2, 14, 18, 6.0, 5.0) and second.spans[1] == Span(1, 8, 13, 4.0, 4.0)
    negative = AnswerRules(version_2_with_negative=True, null_score_diff_threshold=-5.0)
    first, second = find_spans(rows, start, end, negative)
    assert first.best == Span(0, 0, 0, 1.0, 1.0) and first.null_odds == 2.0 - 6.0  # exceeds the threshold
    assert second.best == Span(2, 14, 18, 6.0, 5.0) and second.null_odds == 3.0 - 11.0
    assert second.spans[2] == Span(2, 0, 0, 1.0, 2.0)  # "no answer" is read where it scores least
    end[2, 0] = np.inf
    with pytest.raises(InputError, match=r"1 features have end logits .* question q"):
        find_spans(rows, start, end, negative)


def test_some_questions_alone_get_the_spans_that_they_get_among_all():
    rows, start, end = two_questions()
    logits = mask_padding(rows, start, end)
    everyone = extract_spans(rows, *logits, AnswerRules())
    for some in ([1], [1, 0], []):
        assert extract_spans(rows, *logits, AnswerRules(), some) == [everyone[question] for question in some]


def test_how_many_rows_are_looked_at_at_once_plays_no_part(monkeypatch):
    rows, start, end = two_questions()
    expected = find_spans(rows, start, end, AnswerRules())
    for at_once in (1, 2):
        monkeypatch.setattr(spans, "_ROWS_AT_ONCE", at_once)
        assert find_spans(rows, start, end, AnswerRules()) == expected


def test_no_answer_points_to_its_row_and_to_no_text():
    rows = packed(["p", "q"], np.array([0, 1]), np.array([0, 1, 2]), np.full((2, 2), -1, np.int32))
    for negative, scores in ((False, (0.0, 0.0)), (True, (2.0, 3.0))):
        found = find_spans(rows, logits({0: 2}, {0: 2}), logits({0: 3}, {0: 3}), AnswerRules(negative))
        assert [ranked.best for ranked in found] == [Span(row, 0, 0, *scores) for row in range(2)]


def test_spans_without_a_character_are_no_answers():
    """Tokens that stand for nothing, in a context that has others: the stand-in is held against "no answer"."""
    rows = packed(["q"], np.array([0]), np.array([0, 3]), np.array([(-1, -1), (3, 3), (3, 3)], np.int32))
    start, end = logits({0: 1, 1: 5}, width=3), logits({0: 2, 2: 5}, width=3)
    for threshold, text in ((2.9, ""), (3.1, "empty")):
        rules = AnswerRules(version_2_with_negative=True, null_score_diff_threshold=threshold)
        (found,) = find_spans(rows, start, end, rules)
        assert found.null_odds == 3.0 and found.best.text(CONTEXT) == text


def test_answers_are_written_recorded_and_scored(tmp_path):
    rows, start, end = two_questions()
    examples = [SquadExample(key, "", CONTEXT, (text,), (-1,)) for key, text in (("p", "one"), ("q", "four"))]
    for negative in (False, True):
        rules = AnswerRules(version_2_with_negative=negative, null_score_diff_threshold=-5.0)
        answers = answers_of(find_spans(rows, start, end, rules), ["p", "q"], [CONTEXT] * 2)
        assert answers.predictions == {"p": "" if negative else "one two", "q": "four"}
        folder = tmp_path / str(negative)
        folder.mkdir()
        answers.write(folder)
        written = {path.name: json.loads(path.read_text()) for path in folder.glob("[!.]*")}
        expected = {"predictions.json": answers.predictions, "nbest_predictions.json": answers.nbest}
        assert written == expected | ({"null_odds.json": {"p": -4.0, "q": -8.0}} if negative else {})
        assert set(written) <= recorded(folder)
        scores = answers.score(examples, negative)
        exact, f1 = (scores["exact"], scores["f1"]) if negative else (scores["exact_match"], scores["f1"])
        assert (exact, f1) == (50.0, 50.0 if negative else pytest.approx(100 * (2 / 3 + 1) / 2))
    # Whatever the odds, the threshold has spoken: what is predicted counts.
    sure = SquadAnswers({"p": "one", "q": "four"}, {}, {"p": 9.0, "q": 9.0})
    scores = sure.score(examples, True)
    assert scores["exact"] == scores["best_exact"] == 100.0


def test_the_surest_right_answers_come_from_all_over_the_file():
    shares = [0.9, 0.2, 0.4, 0.8, 0.7, 0.99]
    examples = [SquadExample(str(number), "?", CONTEXT, ("two", "one"), (4, 0)) for number in range(6)]
    texts = ["one", "two", "one", "one", "two", "three"]
    nbest = {
        str(number): [{"text": "four", "probability": 0.95}, {"text": text, "probability": share}]
        for number, (text, share) in enumerate(zip(texts, shares, strict=True))
    }
    answers = SquadAnswers(dict(zip("012345", texts, strict=True)), nbest, {})
    assert [example.id for example in answers.surest(examples, 1)] == ["3"]
    assert [example.id for example in answers.surest(examples, 2)] == ["0", "4"]  # not 5, which is wrong
    assert [example.id for example in answers.surest(examples, 50)] == ["0", "3", "4"]
    assert answers.surest(examples, 0) == answers.surest(examples[5:], 3) == []
