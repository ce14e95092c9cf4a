"""SQuAD features against transformers, answers and scores against plain re-derivations of the published rules."""

import functools
import json
import math
import os
import random
import re
import string
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.answers import extract_answers

from mobilebert.data.qa.features import build_features, read_squad
from mobilebert.data.qa.metrics import evaluate_v1, evaluate_v2
from mobilebert.text.tokenizer import MobileBertTokenizer

DATA = os.environ.get("MOBILEBERT_DATA")
needs_data = pytest.mark.usefixtures("data_folder")
FILES = {"dev v1.1": "dev-v1.1.json", "dev v2.0": "dev-v2.0.json", "train v1.1": "train-v1.1.json.gz"}


@functools.cache
def read(name):
    path = Path(DATA) / "squad" / FILES[name]
    return read_squad(path, version_2_with_negative=True)[0]


# -- features


def reference_labels(offsets, sequence_ids, answer_starts, answers):
    """Labels by trying every token, with run_qa's conditions; the last token included (see ``_labels``)."""
    context = [i for i, sequence in enumerate(sequence_ids) if sequence == 1]
    if not answers:
        return 0, 0
    low, high = answer_starts[0], answer_starts[0] + len(answers[0])
    if offsets[context[0]][0] > low or offsets[context[-1]][1] < high:
        return 0, 0
    start = max(i for i in context if offsets[i][0] <= low)
    end = min(i for i in context if offsets[i][1] >= high)
    return start, end


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("max_seq_length", "doc_stride"), [(384, 128), (96, 40)])
def test_features_equal_transformers(name, max_seq_length, doc_stride):
    """Ids, token types, windows, offsets and labels, on a slice of each real file and on all long contexts of it."""
    from transformers import BertTokenizer

    vocab = Path(DATA) / "vocab.txt"
    reference, tokenizer = BertTokenizer(vocab=str(vocab)), MobileBertTokenizer(vocab_file=vocab)
    examples = read(name)
    longest = sorted(examples, key=lambda example: -len(example.context))[:40]
    padded = [example for example in examples if example.question != example.question.lstrip()][:20]
    examples = examples[:: len(examples) // 60] + [e for e in padded if e not in longest] + longest
    settings = {"max_seq_length": max_seq_length, "doc_stride": doc_stride}
    train = build_features(examples, tokenizer, **settings, is_training=True)
    dev = build_features(examples, tokenizer, **settings, is_training=False)
    expected = reference(
        [example.question.lstrip() for example in examples],
        [example.context for example in examples],
        truncation="only_second",
        max_length=max_seq_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert len(train) == len(dev) == len(expected["input_ids"]) > len(examples)
    labelled = 0
    for row, ids in enumerate(expected["input_ids"]):
        example, sequence_ids = expected["overflow_to_sample_mapping"][row], expected.sequence_ids(row)
        assert train.row(row).tolist() == dev.row(row).tolist() == ids
        assert train.example_index[row] == example
        types = [int(position >= train.second_starts[row]) for position in range(len(ids))]
        assert types == expected["token_type_ids"][row]
        offsets = [
            list(span) if sequence == 1 else [-1, -1]
            for span, sequence in zip(expected["offset_mapping"][row], sequence_ids, strict=True)
        ]
        assert dev.row_offsets(row).tolist() == offsets
        labels = reference_labels(
            expected["offset_mapping"][row], sequence_ids, examples[example].answer_starts, examples[example].answers
        )
        assert (train.labels["start_positions"][row], train.labels["end_positions"][row]) == labels
        labelled += labels != (0, 0)
    assert labelled > 50
    # negative control: another overlap gives other windows
    other = build_features(examples, tokenizer, max_seq_length=max_seq_length, doc_stride=30, is_training=True)
    assert len(other) != len(train)


# -- answers


def reference_answers(arguments, v2, n_best_size, max_answer_length, threshold, null_of=min):
    """The rule spelt out span by span, without any array work."""
    predictions, nbest, null_odds = {}, {}, {}
    row_starts, offsets = arguments["row_starts"], arguments["offsets"].tolist()
    start_logits, end_logits = arguments["start_logits"], arguments["end_logits"]
    features = defaultdict(list)
    for feature, example in enumerate(arguments["example_index"]):
        features[example].append(feature)
    for example, key in enumerate(arguments["example_ids"]):
        context = arguments["contexts"][example]
        found, nulls = [], []
        for feature in features[example]:
            start, end = start_logits[feature], end_logits[feature]
            spans = offsets[row_starts[feature] : row_starts[feature + 1]]
            nulls.append((start[0] + end[0], start[0], end[0]))
            for first in np.argsort(start)[::-1][:n_best_size]:
                for last in np.argsort(end)[::-1][:n_best_size]:
                    inside = first < len(spans) and last < len(spans) and spans[first][0] >= 0 <= spans[last][1]
                    if inside and first <= last < first + max_answer_length:
                        text = context[spans[first][0] : spans[last][1]]
                        found.append((text, start[first] + end[last], start[first], end[last]))
        null = null_of(nulls, key=lambda item: item[0])
        if v2:
            found.append(("", *null))
        best = sorted(found, key=lambda item: -item[1])[:n_best_size]
        if v2 and "" not in [item[0] for item in best]:
            best.append(("", *null))
        if [item[0] for item in best] in ([], [""]):
            best = [("empty", 0.0, 0.0, 0.0), *best]
        scores = np.array([item[1] for item in best])
        weights = np.exp(scores - max(scores))
        nbest[key] = [
            {"text": text, "probability": float(p), "start_logit": float(s), "end_logit": float(e)}
            for (text, _, s, e), p in zip(best, weights / weights.sum(), strict=True)
        ]
        predictions[key] = best[0][0]
        if v2:
            answer = next(item for item in best if item[0])
            null_odds[key] = float(null[0] - answer[2] - answer[3])
            predictions[key] = "" if null_odds[key] > threshold else answer[0]
    return predictions, nbest, null_odds


def random_features(rng, kind):
    """A few examples with one to four windows each and logits of one kind."""
    contexts = ["".join(rng.choice(list("ab \u00e9"), 60)) + "z" for _ in range(6)]
    example_index = np.repeat(np.arange(6), rng.integers(1, 5, 6))
    row_starts, offsets = [0], []
    for _ in example_index:
        question, first, count = rng.integers(1, 6), rng.integers(0, 20), rng.integers(1, 30)
        offsets += [(-1, -1)] * (question + 2) + [(first + i, first + i + 1) for i in range(count)] + [(-1, -1)]
        row_starts.append(len(offsets))
    shape = (len(example_index), int(np.diff(row_starts).max()) + rng.integers(0, 4))
    start, end = rng.normal(0, 3, shape), rng.normal(0, 3, shape)
    if kind == "ties":
        start, end = start.round(), end.round()
    elif kind == "constant":
        start, end = start * 0, end * 0
    elif kind == "hopeless":  # all starts at the end of the row, all ends at its beginning
        start, end = start + np.arange(shape[1]) * 9, end - np.arange(shape[1]) * 9
    elif kind == "null":
        start[:, 0] += 9
    elif kind == "-inf":
        start[:, -3:] = end[:, -3:] = -np.inf
    return {
        "example_ids": [f"q{i}" for i in range(6)],
        "contexts": contexts,
        "example_index": example_index,
        "row_starts": np.array(row_starts),
        "offsets": np.array(offsets, np.int32),
        "start_logits": start.astype(np.float32),
        "end_logits": end.astype(np.float32),
    }


KINDS = ("normal", "ties", "constant", "hopeless", "null", "-inf")


@pytest.mark.parametrize("kind", KINDS)
def test_answers_follow_the_rule(kind):
    """Equal answers, n-best lists (texts, order, logits, probabilities) and null odds, to the last digit."""
    rng = np.random.default_rng(KINDS.index(kind))
    stand_ins = 0
    for trial in range(24):
        arguments = random_features(rng, kind)
        v2, n_best, length, threshold = trial % 2 == 1, int(rng.choice([1, 3, 20])), int(rng.choice([1, 4, 30])), -1.5
        answers = extract_answers(
            **arguments,
            version_2_with_negative=v2,
            n_best_size=n_best,
            max_answer_length=length,
            null_score_diff_threshold=threshold,
        )
        expected = reference_answers(arguments, v2, n_best, length, threshold)
        assert (answers.predictions, answers.nbest, answers.null_odds) == expected
        stand_ins += "empty" in answers.predictions.values()
    if kind == "hopeless":
        assert stand_ins


def test_the_comparison_of_answers_can_fail():
    arguments = random_features(np.random.default_rng(9), "normal")
    answers = extract_answers(**arguments, version_2_with_negative=True, max_answer_length=4)
    expected = reference_answers(arguments, True, 20, 4, 0.0)
    assert (answers.predictions, answers.nbest, answers.null_odds) == expected
    assert answers.nbest != reference_answers(arguments, True, 20, 5, 0.0)[1]
    assert answers.nbest != reference_answers(arguments, True, 19, 4, 0.0)[1]
    assert answers.null_odds != reference_answers(arguments, True, 20, 4, 0.0, null_of=max)[2]
    assert answers.predictions != reference_answers(arguments, True, 20, 4, -99.0)[0]


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("name", ["dev v1.1", "dev v2.0"])
def test_answers_on_real_features(name):
    v2 = name == "dev v2.0"
    tokenizer = MobileBertTokenizer(vocab_file=Path(DATA) / "vocab.txt")
    examples = sorted(read(name), key=lambda example: -len(example.context))[:60] + read(name)[:60]
    rows = build_features(examples, tokenizer, is_training=False)
    gold = build_features(examples, tokenizer, is_training=True).labels
    rng = np.random.default_rng(0)
    start, end = rng.normal(0, 2, (2, len(rows), 384)).astype(np.float32)
    arguments = {
        "example_ids": [str(i) for i in range(len(examples))],
        "contexts": [example.context for example in examples],
        "example_index": rows.example_index,
        "row_starts": rows.row_starts,
        "offsets": rows.offsets,
        "start_logits": start,
        "end_logits": end,
    }
    answers = extract_answers(**arguments, version_2_with_negative=v2)
    assert (answers.predictions, answers.nbest, answers.null_odds) == reference_answers(arguments, v2, 20, 30, 0.0)

    # logits that know the answer give it back
    start[np.arange(len(rows)), gold["start_positions"]] += 30
    end[np.arange(len(rows)), gold["end_positions"]] += 30
    known = {str(i): example.answers for i, example in enumerate(examples)}
    score = evaluate_v2 if v2 else evaluate_v1
    informed = score(known, extract_answers(**arguments, version_2_with_negative=v2).predictions)
    assert informed["f1"] > 95 > 20 > score(known, answers.predictions)["f1"]


# -- scores


@functools.cache
def words(text, keep=()):
    """Normalised tokens, by scanning characters instead of substituting."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    pieces = re.findall(r"\w+|[^\w\s]+|\s+", kept)
    articles = {"a", "an", "the"} - set(keep)
    return "".join(" " if piece in articles else piece for piece in pieces).split()


def exact_f1(gold, predicted):
    """F1 of two bags of tokens as a fraction."""
    shared = sum(min(count, predicted.count(token)) for token, count in Counter(gold).items())
    return Fraction(2 * shared, len(gold) + len(predicted)) if shared else Fraction(0)


def rounded_f1(gold, predicted):
    """The same as the scripts round it: harmonic mean of two rounded ratios."""
    shared = sum(min(count, predicted.count(token)) for token, count in Counter(gold).items())
    if not shared:
        return 0
    p, r = shared / len(predicted), shared / len(gold)
    return 2 * p * r / (p + r)


def reference_v1(answers, predictions, f1=rounded_f1, keep=()):
    exact = total = 0
    for key, golds in answers.items():
        if key not in predictions:
            continue
        predicted = words(predictions[key], keep)
        exact += max(words(gold, keep) == predicted for gold in golds)
        total = total + max(f1(words(gold, keep), predicted) for gold in golds)
    return {"exact_match": 100.0 * exact / len(answers), "f1": float(100 * total / len(answers))}


def reference_v2(answers, predictions, odds=None, threshold=1.0, f1=rounded_f1):
    """Every question answered; all thresholds tried one by one in the order of the odds."""
    scores = {"exact": {}, "f1": {}}
    for key, texts in answers.items():
        golds = [words(text) for text in texts if words(text)] or [[]]
        predicted = words(predictions[key])
        scores["exact"][key] = max(int(gold == predicted) for gold in golds)
        scores["f1"][key] = max(
            int(gold == predicted) if not (gold and predicted) else f1(gold, predicted) for gold in golds
        )
    out, best = {}, {}
    for metric, raw in scores.items():
        cut = raw
        if odds is not None:
            cut = {k: (float(not answers[k]) if odds[k] > threshold else v) for k, v in raw.items()}
        groups = {
            "": list(answers),
            "HasAns_": [k for k in answers if answers[k]],
            "NoAns_": [k for k in answers if not answers[k]],
        }
        for prefix, keys in groups.items():
            if keys:
                out[f"{prefix}{metric}"] = float(100 * sum(cut[k] for k in keys) / len(keys))
                out[f"{prefix}total"] = len(keys)
        if odds is not None:
            running = [sum(not golds for golds in answers.values())]
            order = sorted(odds, key=lambda k: odds[k])
            for key in order:
                running.append(running[-1] + (raw[key] if answers[key] else -1 if predictions[key] else 0))
            place = running.index(max(running))
            best[f"best_{metric}"] = float(100 * running[place] / len(answers))
            best[f"best_{metric}_thresh"] = odds[order[place - 1]] if place else 0.0
    return out | best


def perturbed(answers, contexts, seed):
    """Predictions of every kind of wrongness: exact, cut, extended, re-cased, punctuated, of other alphabets, empty."""
    rng = random.Random(seed)
    pool = [text for golds in answers.values() for text in golds]
    changes = [
        lambda text, _: text,
        lambda text, _: text.upper(),
        lambda text, _: f"The {text}.",
        lambda text, _: f"“{text}”",
        lambda text, _: f" {text}\u00a0\u2009an é 漢字 ",
        lambda text, _: " ".join(text.split()[:-1]),
        lambda text, _: text.replace(" ", "-"),
        lambda text, _: "",
        lambda text, _: "the",
        lambda text, _: " ",
        lambda text, _: rng.choice(pool),
        lambda _, context: context[rng.randrange(len(context)) :][: rng.randrange(1, 60)],
    ]
    return {key: rng.choice(changes)(rng.choice(golds or pool), contexts[key]) for key, golds in answers.items()}


def real(name):
    examples = read(name)
    return {e.id: e.answers for e in examples}, {e.id: e.context for e in examples}


@needs_data
def test_v1_scores_on_the_real_dev_file():
    answers, contexts = real("dev v1.1")
    predictions = perturbed(answers, contexts, seed=0)
    for key in list(predictions)[::50]:
        del predictions[key]
    found = evaluate_v1(answers, predictions)
    assert found == reference_v1(answers, predictions)
    fractions = reference_v1(answers, predictions, exact_f1)
    assert found["f1"] == pytest.approx(fractions["f1"], rel=1e-13)
    assert 20 < found["exact_match"] < found["f1"] < 80
    assert found != reference_v1(answers, predictions, keep=("an",))
    assert evaluate_v1(answers, {key: golds[-1] for key, golds in answers.items()})["exact_match"] == 100.0


@needs_data
def test_v2_scores_on_the_real_dev_file():
    """Null odds with ties, in an order of their own, and a threshold among them."""
    answers, contexts = real("dev v2.0")
    predictions = perturbed(answers, contexts, seed=1)
    rng = random.Random(1)
    odds = {key: round(rng.gauss(-1 if golds else 1, 2), 1) for key, golds in answers.items()}
    odds = dict(rng.sample(list(odds.items()), len(odds)))
    assert evaluate_v2(answers, predictions) == reference_v2(answers, predictions)
    for threshold in (-0.5, math.inf, 1.0):
        found = evaluate_v2(answers, predictions, odds, threshold)
        assert found == reference_v2(answers, predictions, odds, threshold)
    assert len(found) == 13
    assert found == pytest.approx(reference_v2(answers, predictions, odds, threshold, exact_f1), rel=1e-12)
    assert found["best_f1"] > found["f1"] and found["best_f1_thresh"] != 0
    # negative controls: one answer changed, one pair of odds exchanged
    key = next(key for key, golds in answers.items() if golds and predictions[key] == golds[0])
    assert evaluate_v2(answers, predictions | {key: "nothing like it"}) != reference_v2(answers, predictions)
    assert evaluate_v2(answers, predictions, odds, -0.5) != found


WORDS = ("the", "a", "an", "red", "Red.", "dog", "dogs", "1,000", "U.S.", "—", "", "“été”")


def made_up(seed, empty):
    """Gold answers and predictions of a few words each, so that they often share some; ``empty``: some without gold."""
    rng = random.Random(seed)

    def text():
        return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(4)))

    answers = {
        f"q{i}": [text() for _ in range(rng.randrange(0 if empty else 1, 3))] for i in range(rng.randrange(1, 9))
    }
    predictions = {key: rng.choice([*golds, text(), text()]) for key, golds in answers.items()}
    odds = {key: float(rng.randrange(-3, 4)) for key in rng.sample(sorted(answers), len(answers))}
    return answers, predictions, odds


def test_scores_of_made_up_answers_follow_the_rule():
    """Few words, so ties, empty texts, shared tokens and questions without an answer come together in every way."""
    for seed in range(100):
        answers, predictions, _ = made_up(seed, empty=False)
        some = dict(list(predictions.items())[:6])
        assert evaluate_v1(answers, some | {"unknown": "red"}) == reference_v1(answers, some)
        answers, predictions, odds = made_up(seed, empty=True)
        assert evaluate_v2(answers, predictions) == reference_v2(answers, predictions)
        for threshold in (-1.0, 0.5, math.inf):
            found = evaluate_v2(answers, predictions, {"unknown": -9.0} | odds, threshold)
            assert found == reference_v2(answers, predictions, odds, threshold)


def test_scores_survive_json():
    answers, predictions, odds = {"a": ["x"], "b": []}, {"a": "x", "b": ""}, {"a": -1.0, "b": 2.5}
    metrics = evaluate_v2(answers, predictions, odds)
    assert json.loads(json.dumps(metrics)) == metrics
