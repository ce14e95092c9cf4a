"""Scores against the scripts' rules, derived once more in exact fractions."""

import math
import re
import string
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilebert.data.classify.metrics import compute
from mobilebert.data.qa.metrics import evaluate_v1, evaluate_v2, normalize_answer

# ---- SQuAD ----

WORDS = [
    "the",
    "a",
    "An",
    "cat",
    "Cat.",
    "cats",
    "in",
    "(the)",
    "-",
    "'s",
    "Ünï",
    "猫",
    "1,000",
    "a-b",
    "\u2014",
    "THE",
]
answer_texts = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join),
    st.text(st.sampled_from("aAn the.\u00a0\u2003\n\u0130\u00df,-_"), max_size=10),
    st.text(max_size=6),
)


def normalised(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces: word by word."""
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    pieces = re.findall(r"\w+|\W", kept)  # an article is a whole run of word characters
    return " ".join("".join(" " if piece in ("a", "an", "the") else piece for piece in pieces).split())


def f1_of(gold: list[str], predicted: list[str]) -> Fraction:
    """2 c / (p + g) of c common tokens."""
    left, common = list(gold), 0
    for token in predicted:
        if token in left:
            left.remove(token)
            common += 1
    return Fraction(2 * common, len(gold) + len(predicted)) if common else Fraction(0)


@settings(max_examples=80)
@given(answer_texts)
def test_normalisation(text):
    assert normalize_answer(text) == normalised(text)


@st.composite
def questions(draw, least: int):
    """Gold answers by id, each at least ``least``; and predictions, some missing, some of unknown questions."""
    golds = draw(st.lists(st.lists(answer_texts, min_size=least, max_size=3), min_size=1, max_size=6))
    answers = {f"q{number}": texts for number, texts in enumerate(golds)}
    predictions = {}
    for key, texts in answers.items():
        words = draw(st.sampled_from(texts)).split() if texts else []
        low = draw(st.integers(0, len(words)))
        near = " ".join([*words[low:], *draw(st.lists(st.sampled_from(["cat", "in", "dog"]), max_size=2))])
        if draw(st.integers(0, 9)):
            predictions[key] = draw(st.one_of(st.just(near), st.just(" ".join(words)), answer_texts, st.just("")))
    if draw(st.booleans()):
        predictions["unknown"] = "cat"
    return answers, predictions


@settings(max_examples=60)
@given(questions(least=1))
def test_squad_v1(drawn):
    answers, predictions = drawn
    exact = f1 = Fraction(0)
    for key in answers.keys() & predictions.keys():
        predicted = normalised(predictions[key])
        exact += any(normalised(gold) == predicted for gold in answers[key])
        f1 += max(f1_of(normalised(gold).split(), predicted.split()) for gold in answers[key])
    scores = evaluate_v1(answers, predictions)
    assert scores.keys() == {"exact_match", "f1"}
    assert scores["exact_match"] == pytest.approx(float(100 * exact / len(answers)), abs=1e-9)
    assert scores["f1"] == pytest.approx(float(100 * f1 / len(answers)), abs=1e-9)


def scores_v2(golds: list[str], prediction: str) -> tuple[Fraction, Fraction]:
    """Exact match and F1 of v2.0; nothing against nothing is right."""
    wanted = [normalised(gold) for gold in golds if normalised(gold)] or [""]
    predicted = normalised(prediction)
    f1 = [f1_of(g.split(), predicted.split()) if g and predicted else Fraction(g == predicted) for g in wanted]
    return Fraction(predicted in wanted), max(f1)


odds = st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.5, math.inf, -math.inf]), st.floats(allow_nan=False))


@settings(max_examples=80)
@given(questions(least=0), st.data())
def test_squad_v2(drawn, data):
    answers, predictions = drawn
    null_odds = {key: data.draw(odds) for key in data.draw(st.permutations([*predictions, "odds of nobody"]))}
    threshold = data.draw(st.sampled_from([-1.0, 0.0, 1.0, math.inf]))
    raw = {key: scores_v2(golds, predictions[key]) for key, golds in answers.items() if key in predictions}
    nothing = (Fraction(0), Fraction(0))

    def average(place: int, keys: list[str]) -> float:
        total = Fraction(0)
        for key in keys:
            is_empty = key in raw and null_odds[key] > threshold
            total += (not answers[key]) if is_empty else raw.get(key, nothing)[place]
        return float(100 * total / len(keys))

    groups = {
        "": list(answers),
        "HasAns_": [k for k in answers if answers[k]],
        "NoAns_": [k for k in answers if not answers[k]],
    }
    expected = {}
    for prefix, keys in groups.items():
        if keys:
            expected |= {
                f"{prefix}exact": average(0, keys),
                f"{prefix}f1": average(1, keys),
                f"{prefix}total": len(keys),
            }
    found = evaluate_v2(answers, predictions, null_odds, threshold)
    best = {name: found.pop(name) for name in list(found) if name.startswith("best_")}
    assert found == pytest.approx(expected, abs=1e-9)
    assert evaluate_v2(answers, predictions) == pytest.approx(
        {name: value for name, value in expected.items() if name.endswith("total")}
        | {
            f"{prefix}{name}": float(100 * sum(raw.get(key, nothing)[place] for key in keys) / len(keys))
            for prefix, keys in groups.items()
            if keys
            for place, name in enumerate(("exact", "f1"))
        },
        abs=1e-9,
    )

    # Questions are answered one by one, the least odds of "no answer" first; each state has a score.
    order = [key for key in sorted(null_odds, key=lambda key: null_odds[key]) if key in raw]
    assert best.keys() == {"best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh"}
    for place, name in enumerate(("exact", "f1")):
        states = {0.0: [Fraction(sum(not answers[key] for key in raw))]}
        score = states[0.0][0]
        for key in order:
            score += raw[key][place] if answers[key] else -(predictions[key] != "")
            states.setdefault(null_odds[key], []).append(score)
        highest = max(max(scores) for scores in states.values())
        assert best[f"best_{name}"] == pytest.approx(float(100 * highest / len(answers)), abs=1e-9)
        assert float(max(states[best[f"best_{name}_thresh"]])) == pytest.approx(float(highest), abs=1e-9)
        if name == "exact":  # whole numbers: the first of equals, without rounding
            first = next((null_odds[key] for key in order if highest in states[null_odds[key]]), 0.0)
            assert best["best_exact_thresh"] == (0.0 if states[0.0][0] == highest else first)


# ---- GLUE ----


@st.composite
def classes(draw):
    """Predictions and references of up to four classes."""
    count, size = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    column = st.lists(st.integers(0, count - 1), min_size=size, max_size=size)
    return np.array(draw(column)), np.array(draw(column))


@settings(max_examples=50)
@given(classes(), st.integers(0, 3))
def test_classification(drawn, positive):
    predictions, references = drawn
    pairs = list(zip(predictions.tolist(), references.tolist(), strict=True))
    size = len(pairs)
    right = sum(p == r for p, r in pairs)
    found, wrong = (
        sum((p == positive) + (r == positive) == n and (p == r) == (n == 2) for p, r in pairs) for n in (2, 1)
    )
    # Gorodkin's R_K; for two classes Matthews' own.
    counts = [(sum(p == k for p, _ in pairs), sum(r == k for _, r in pairs)) for k in range(4)]
    covariance = right * size - sum(p * r for p, r in counts)
    spread = (size**2 - sum(p * p for p, _ in counts)) * (size**2 - sum(r * r for _, r in counts))
    assert compute(("accuracy", "f1", "matthews_correlation"), predictions, references, positive) == pytest.approx(
        {
            "accuracy": 100 * right / size,
            "f1": 200 * found / (2 * found + wrong) if found else 0.0,
            "matthews_correlation": 100 * covariance / math.sqrt(spread) if spread else 0.0,
        },
        abs=1e-9,
    )


def pearson(first: list[Fraction], second: list[Fraction]) -> float:
    """The correlation in exact fractions; 0 with a constant."""
    size = len(first)
    first = [value - sum(first) / size for value in first]
    second = [value - sum(second) / size for value in second]
    spread = sum(value * value for value in first) * sum(value * value for value in second)
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return math.copysign(math.sqrt(product * product / spread), product) if spread else 0.0


def ranks(values: list[Fraction]) -> list[Fraction]:
    """Ranks from 1; equals share the mean of theirs."""
    return [Fraction(sum(o < v for o in values) * 2 + sum(o == v for o in values) + 1, 2) for v in values]


@st.composite
def scores(draw):
    """Predicted scores and true ones, float32 as a model gives them: equal, hardly different, huge."""
    size = draw(st.integers(1, 8))
    value = st.one_of(
        st.sampled_from([0.0, 1.0, 2.5, 5.0]),
        st.sampled_from([2.0**24, 2.0**24 + 2, 2.0**24 + 4]),
        st.floats(-1e6, 1e6, width=32),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
    column = st.lists(value, min_size=size, max_size=size)
    return np.array(draw(column), np.float32), np.array(draw(column), np.float32)


@settings(max_examples=80)
@given(scores())
def test_correlations(drawn):
    predictions, references = drawn
    exact = [[Fraction(float(value)) for value in column] for column in drawn]
    found = compute(("pearson", "spearmanr"), predictions, references)
    assert found["spearmanr"] == pytest.approx(100 * pearson(*map(ranks, exact)), abs=1e-6)
    assert found["pearson"] == pytest.approx(100 * pearson(*exact), abs=1e-5)
