"""Rows and masks for pre-training against BERT's rules told a second time, in distribution; and what must never be."""

import hashlib
import random
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp
from support.bert_rules import Rules

from mobilebert.base.errors import InputError
from mobilebert.data.pretrain.masking import draw_masks, row_keys
from mobilebert.data.pretrain.pairs import _shares, draw_pairs
from mobilebert.data.pretrain.settings import Settings, Vocabulary

LENGTH, COPIES = 32, 400
EQUAL, DIFFERENT = 1e-3, 1e-9  # p values; seeds are fixed


def make_documents(count: int = 12) -> list[list[list[int]]]:
    """Documents of 1 to 12 sentences of 1 to 50 tokens; every token is its own place in all of the text."""
    draw, place, documents = random.Random(1), 0, []
    for _ in range(count):
        document = []
        for _ in range(draw.randint(1, 12)):
            length = draw.choice([1, 2, 3, 5, 8, 8, 12, 12, 20, 50])
            document.append(list(range(place, place + length)))
            place += length
        documents.append(document)
    return documents


DOCUMENTS = make_documents()
SENTENCE_STARTS = [sentence[0] for document in DOCUMENTS for sentence in document] + [DOCUMENTS[-1][-1][-1] + 1]
DOCUMENT_STARTS = np.cumsum([0, *map(len, DOCUMENTS)]).tolist()
TEXT_STARTS = [document[0][0] for document in DOCUMENTS]


def ours() -> np.ndarray:
    """[R, 5] rows of ``draw_pairs``."""
    settings = Settings(max_seq_length=LENGTH, dupe_factor=COPIES)
    return draw_pairs(SENTENCE_STARTS, DOCUMENT_STARTS, settings, 0)


def test_the_rows_are_the_same_in_every_python():
    digest = hashlib.sha256(ours().astype("<i8").tobytes()).hexdigest()
    assert digest == "ae1d36e6da554fd4480393f9529a7e83115fb8d79c4ee80ad48e87f4aec73277"


def theirs(*mistakes: str) -> np.ndarray:
    """[R, 5] rows of the rules, ``mistakes`` among them."""
    rules, draw = Rules(LENGTH, mistakes=set(mistakes)), random.Random(5)
    rows = [r for _ in range(COPIES) for number in range(len(DOCUMENTS)) for r in rules.rows(DOCUMENTS, number, draw)]
    return np.array([[r["first"][0], len(r["first"]), r["second"][0], len(r["second"]), r["is_random"]] for r in rows])


def statistics(rows: np.ndarray) -> dict[str, np.ndarray]:
    """What is compared, a number a row."""
    first, first_length, second, second_length, is_random = rows.T
    sentence = np.searchsorted(SENTENCE_STARTS, [first, second], side="right") - 1
    begins = np.array(SENTENCE_STARTS)[sentence]
    document = np.searchsorted(TEXT_STARTS, [first, second], side="right") - 1
    texts = np.array(TEXT_STARTS)[document]
    return {
        "rows of a document": np.bincount(document[0], minlength=len(DOCUMENTS)),
        "document of a random text": document[1][is_random == 1],
        "first length": first_length,
        "second length": second_length,
        "row length": first_length + second_length,
        "random": is_random,
        "cut before the first": first - begins[0],
        "cut before the second": second - begins[1],
        "place of the first": first - texts[0],
        "place of the second": (second - texts[1])[is_random == 1],
    }


def p_values(left: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """How likely so large a difference is, by statistic."""
    one, other = statistics(left), statistics(right)
    values = {name: ks_2samp(one[name], other[name]).pvalue for name in one if name != "rows of a document"}
    counts = one["rows of a document"] + other["rows of a document"]
    shares = counts / counts.sum() * len(left)
    values["rows of a document"] = chisquare(one["rows of a document"], shares).pvalue
    values["rows"] = float(abs(len(left) - len(right)) < 4 * np.sqrt(len(left)))
    return values


def test_pairs_are_those_of_berts_rules():
    rows = ours()
    assert len(rows) > 14_000
    assert min(p_values(rows, theirs()).values()) > EQUAL


@pytest.mark.parametrize(
    "mistake",
    [
        "never short",
        "first text is one sentence",
        "0.6 random",
        "nothing is put back",
        "cut at the end only",
        "other documents from the start",
    ],
)
def test_other_rules_are_noticed(mistake):
    assert min(p_values(ours(), theirs(mistake)).values()) < DIFFERENT


def test_no_text_crosses_documents_and_the_labels_are_right():
    first, first_length, second, second_length, is_random = ours().T
    owners = [np.searchsorted(TEXT_STARTS, place, side="right") for place in (first, first + first_length - 1)]
    assert (owners[0] == owners[1]).all()
    second_owners = [np.searchsorted(TEXT_STARTS, p, side="right") for p in (second, second + second_length - 1)]
    assert (second_owners[0] == second_owners[1]).all()
    assert ((owners[0] != second_owners[0]) == (is_random == 1)).all()
    follows = (second >= first + first_length)[is_random == 0]
    assert follows.all() and first_length.min() >= 1 and second_length.min() >= 1
    assert (first_length + second_length).max() == LENGTH - 3


def test_next_sentences_are_balanced_where_documents_are_long():
    sentences = [list(range(10 * i, 10 * i + 10)) for i in range(2000)]
    starts = [sentence[0] for sentence in sentences] + [20_000]
    # A short row of one sentence has no other second text than a random one, so there are more of those.
    settings = Settings(max_seq_length=128, dupe_factor=20, short_seq_prob=0)
    rows = draw_pairs(starts, [0, 1000, 2000], settings, 0)
    assert abs(rows[:, 4].mean() - 0.5) < 4 * 0.5 / np.sqrt(len(rows))


@pytest.mark.parametrize(("first", "second"), [(1, 9), (9, 1), (5, 5), (30, 2), (17, 16), (4, 40)])
def test_shares_are_those_of_cutting_one_by_one(first, second):
    for excess in range(first + second - 1):
        left, right = first, second
        for _ in range(excess):
            left, right = (left - 1, right) if left > right else (left, right - 1)
        assert _shares(first, second, excess) == (first - left, second - right)


# -- masks

VOCABULARY = Vocabulary(size=50, pad=0, cls=1, sep=2, mask=3, continues=np.arange(50) >= 30)
PIECES = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(4, 30)), *(f"##{i}" for i in range(30, 50))]
ROWS = 6000


def one_row() -> np.ndarray:
    """[S] a row of words of one to five pieces; its second text begins with the rest of a word that was cut."""
    first, second = [4, 5, 31, 6, 7, 32, 33, 34, 35, 8, 9, 36], [37, 10, 11, 38, 39, 12, 13, 14]
    return np.array([1, *first, 2, *second, 2])


def masks_of_one_row(epoch: int = 0, **settings) -> np.ndarray:
    """[ROWS, S] which tokens of the same row are predicted, drawn many times."""
    ids = np.tile(one_row(), (ROWS, 1))
    keys = row_keys(7, epoch, 0, np.arange(ROWS))
    return draw_masks(ids, np.full(ROWS, ids.shape[1]), keys, Settings(**settings), VOCABULARY)[0]


def masks_by_the_rules(*mistakes: str, **rules) -> np.ndarray:
    """The same, by the rules told a second time."""
    draw, pieces = random.Random(3), [PIECES[i] for i in one_row()]
    told = Rules(LENGTH, mistakes=set(mistakes), **rules)
    chosen = np.zeros((ROWS, len(pieces)), bool)
    for row in chosen:
        row[told.masked(pieces, draw)] = True
    return chosen


def mask_p_value(left: np.ndarray, right: np.ndarray) -> float:
    """Of which positions are predicted, which pairs of them together, and how many."""
    patterns = [
        np.concatenate([m.sum(0), (m.T.astype(int) @ m)[np.triu_indices(m.shape[1], 1)]]) for m in (left, right)
    ]
    pooled = (patterns[0] + patterns[1]) / (2 * ROWS)
    spread = np.sqrt(np.maximum(2 * ROWS * pooled * (1 - pooled), 1e-9))
    worst = (abs(patterns[0] - patterns[1]) / spread).max()  # in standard deviations
    counts = ks_2samp(left.sum(1), right.sum(1)).pvalue
    return min(counts, EQUAL * 2 if worst < 4.5 else 10.0 ** -(worst**2 / 4.6))


@pytest.mark.parametrize("share", [0.01, 0.15, 0.3, 0.9])
@pytest.mark.parametrize("whole_words", [False, True])
def test_masks_are_those_of_berts_rules(share, whole_words):
    got = masks_of_one_row(masked_lm_prob=share, whole_word_mask=whole_words)
    assert mask_p_value(got, masks_by_the_rules(masked_lm_prob=share, whole_words=whole_words)) > EQUAL
    if not whole_words:
        assert set(got.sum(1)) == {min(20, max(1, round(share * len(one_row()))))}


@pytest.mark.parametrize("mistake", ["long words first", "stops at a word too long", "single pieces"])
def test_other_masks_are_noticed(mistake):
    got = masks_of_one_row(masked_lm_prob=0.3, whole_word_mask=True)
    whole_words = mistake != "single pieces"
    assert mask_p_value(got, masks_by_the_rules(mistake, masked_lm_prob=0.3, whole_words=whole_words)) < DIFFERENT


def random_rows(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Padded rows of random tokens and their lengths."""
    generator = np.random.default_rng(2)
    lengths = generator.integers(5, 65, count)
    ids = generator.integers(4, 50, (count, 64))
    ids[:, 0], ids[np.arange(count), lengths // 2], ids[np.arange(count), lengths - 1] = 1, 2, 2
    ids[np.arange(64) >= lengths[:, None]] = 0
    return ids, lengths


def test_the_rate_and_the_replacements():
    ids, lengths = random_rows()
    settings = Settings(max_seq_length=64, max_predictions_per_seq=8)
    chosen, replaced = draw_masks(ids, lengths, row_keys(1, 0, 0, np.arange(len(ids))), settings, VOCABULARY)
    assert (chosen.sum(1) == np.clip(np.rint(lengths * 0.15), 1, 8)).all()
    assert not np.isin(ids[chosen], [0, 1, 2]).any()
    truth = ids[chosen]
    masked, kept = replaced == VOCABULARY.mask, replaced == truth
    # A random token may be the mask or the truth.
    expected = np.array([0.8 + 0.1 / 50, 0.1 + 0.1 / 50, 0.1 - 0.2 / 50]) * len(truth)
    assert chisquare([masked.sum(), kept.sum(), (~masked & ~kept).sum()], expected).pvalue > EQUAL
    others = Counter(replaced[~masked & ~kept].tolist())
    assert set(others) == set(range(50)) - {VOCABULARY.mask}
    others = np.array([others[token] for token in range(50) if token not in (3,)])
    assert chisquare(others[[0, 1, 2]], np.full(3, others[:3].sum() / 3)).pvalue > EQUAL  # special ones like others
    assert abs(others[:3].mean() / others.mean() - 1) < 0.3


def test_a_rows_masks_depend_on_nothing_beside_it():
    ids, lengths = random_rows(40)
    settings = Settings(max_seq_length=64, whole_word_mask=True)
    keys = row_keys(1, 0, 0, np.arange(40))
    chosen, replaced = draw_masks(ids, lengths, keys, settings, VOCABULARY)
    for row in (0, 17, 39):
        length = lengths[row]
        alone, ids_alone = draw_masks(ids[[row], :length], lengths[[row]], keys[[row]], settings, VOCABULARY)
        assert (alone[0] == chosen[row, :length]).all()
        begin = chosen[:row].sum()
        assert (ids_alone == replaced[begin : begin + len(ids_alone)]).all()


def test_keys_differ_in_each_of_their_parts():
    keys = {int(row_keys(*parts, np.array([row]))[0]) for parts in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
            for row in range(100)}  # fmt: skip
    assert len(keys) == 400
    assert (masks_of_one_row(epoch=0) != masks_of_one_row(epoch=1)).any(axis=1).mean() > 0.9


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_seq_length", 4),
        ("masked_lm_prob", 1.5),
        ("masked_lm_prob", float("nan")),
        ("dupe_factor", 0),
        ("seed", -1),
    ],
)
def test_settings_out_of_range(setting, value):
    with pytest.raises(InputError, match=f"`{setting}=.*`: give a number from"):
        Settings(**{setting: value})
