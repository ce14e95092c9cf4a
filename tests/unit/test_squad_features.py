"""Features, windows and labels of questions about contexts."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.texts import letters_tokenizer

from mobilebert.base.errors import InputError, QuestionTooLongError
from mobilebert.data.qa.features import build_features, load_dev_features
from mobilebert.data.qa.squad_json import SquadExample
from mobilebert.text.tokenizer import MobileBertTokenizer

DATA = os.environ.get("MOBILEBERT_DATA")
needs_data = pytest.mark.usefixtures("data_folder")


def example(context, question="who ?", answer=None, number=0):
    answers = () if answer is None else (answer,)
    return SquadExample(f"q{number}", question, context, answers, tuple(context.index(text) for text in answers))


def test_one_window():
    """Layout, labels and offsets of a short example."""
    context = "  The fox. "
    rows = build_features([example(context, "  ab ?", "fox")], letters_tokenizer(), is_training=True)
    tokenizer = letters_tokenizer()
    tokens = tokenizer.convert_ids_to_tokens(rows.row(0))
    assert " ".join(tokens) == "[CLS] a ##b ? [SEP] t ##h ##e f ##o ##x . [SEP]"
    assert rows.second_starts.tolist() == [5] and rows.lengths.tolist() == [13]
    assert (rows.labels["start_positions"].tolist(), rows.labels["end_positions"].tolist()) == ([8], [10])
    assert rows.offsets is None

    rows = build_features([example(context, "  ab ?", "fox")], tokenizer, is_training=False)
    assert rows.row_offsets(0).tolist()[:5] == [[-1, -1]] * 5 and rows.row_offsets(0).tolist()[-1] == [-1, -1]
    spans = [context[low:high] for low, high in rows.row_offsets(0)[5:-1]]
    assert spans == ["T", "h", "e", "f", "o", "x", "."]
    assert rows.labels == {}


def test_windows_overlap_by_doc_stride():
    """10 context tokens, room for 6, overlap 2: windows at 0 and 4, the second reaches the end."""
    rows = build_features(
        [example("abcdefghij", "x", "h"), example("abc", "x", "a", 1)],
        letters_tokenizer(),
        max_seq_length=10,
        doc_stride=2,
        is_training=True,
    )
    tokenizer = letters_tokenizer()
    windows = [
        "".join(tokenizer.convert_ids_to_tokens(rows.row(row)[rows.second_starts[row] : -1])).replace("##", "")
        for row in range(len(rows))
    ]
    assert windows == ["abcdef", "efghij", "abc"]
    assert rows.example_index.tolist() == [0, 0, 1]
    # not in the first window: [CLS]; the second begins with [CLS] x [SEP]
    assert rows.labels["start_positions"].tolist() == [0, 3 + 3, 3]


@pytest.mark.parametrize(("count", "stride", "expected"), [(6, 2, 1), (7, 2, 2), (10, 2, 2), (11, 2, 3), (12, 5, 7)])
def test_number_of_windows(count, stride, expected):
    rows = build_features(
        [example("a" * count, "x")], letters_tokenizer(), max_seq_length=10, doc_stride=stride, is_training=False
    )
    assert len(rows) == expected
    covered = {tuple(span) for span in rows.offsets if span[0] >= 0}
    assert covered == {(i, i + 1) for i in range(count)}


def test_labels():
    """First answer only; whole words around it; [CLS] without one; the last token of a window (see ``_labels``)."""
    context = "abc def ghi"
    wanted = {"abc": (3, 5), "ghi": (9, 11), "e": (7, 7), "i": (11, 11), "c d": (5, 6), context: (3, 11), None: (0, 0)}
    examples = [example(context, "x", answer, number) for number, answer in enumerate(wanted)]
    rows = build_features(examples, letters_tokenizer(), is_training=True)
    found = zip(rows.labels["start_positions"].tolist(), rows.labels["end_positions"].tolist(), strict=True)
    assert list(found) == list(wanted.values())
    assert rows.info == {"examples": 7, "unanswerable": 1, "dropped": 0}


@pytest.mark.parametrize(
    ("context", "answer", "kept"),
    [
        ("built by ann teel\n", "ann teel\n", "ann teel"),
        ("in 1843\u00ad and later", "1843\u00ad", "1843"),
        ("by ann\u200b teel", "ann\u200b", "ann"),
        ("by \u2060\u200bann teel", "\u2060\u200bann", "ann"),
        ("a \u2764\ufe0f for ann", "\u2764\ufe0f", "\u2764"),
        ("the cafe\u0301 of ann", "cafe\u0301", "cafe"),
        ("كَتَبَ مُحَمَّدٌ", "مُحَمَّدٌ", "مُحَمَّد"),
        ("كَتَبَ مُحَمَّدٌ", "كَتَبَ", "كَتَب"),
        ("हिन्दी में क्या", "में", "म"),
        ("by ann teel", " ann", "ann"),
        ("by ann teel", "ann ", "ann"),
        ("by\n\nann\t teel", "\n\nann\t ", "ann"),
        (" ann", " ann", "ann"),
        ("ann ", "ann ", "ann"),
    ],
)
def test_labels_are_the_answers_own_tokens(context, answer, kept):
    """What the tokenizer drops at an answer's ends neither moves its labels nor makes it unanswerable."""
    examples = [example(context, "x", answer)]
    train = build_features(examples, letters_tokenizer(), is_training=True)
    offsets = build_features(examples, letters_tokenizer(), is_training=False).row_offsets(0)
    first, last = train.labels["start_positions"][0], train.labels["end_positions"][0]
    start = context.index(answer) + answer.index(kept)
    assert first > 2 and (offsets[first, 0], offsets[last, 1]) == (start, start + len(kept))
    assert train.info == {"examples": 1, "unanswerable": 0, "dropped": 0}


def test_an_answer_at_the_edges_of_windows():
    """Six tokens a window, overlapping by two; a dropped character behind the last token belongs to no window."""
    examples = [example("abcdef\u200bghij", "x", answer) for answer in ("f\u200b", "f\u200bg", "\u200bg")]
    settings = {"max_seq_length": 10, "doc_stride": 2, "is_training": True}
    rows = build_features(examples, letters_tokenizer(), **settings)
    found = list(zip(rows.labels["start_positions"].tolist(), rows.labels["end_positions"].tolist(), strict=True))
    assert found == [(8, 8), (4, 4), (0, 0), (4, 5), (0, 0), (5, 5)]


def test_a_character_of_several_tokens():
    """A Hangul syllable is two tokens at one place: the answer begins with the first of them, not behind its end."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "x", "\u1103", "##\u1169"]
    tokenizer = MobileBertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    rows = build_features([example("x \ub3c4 x", "x", "\ub3c4")], tokenizer, is_training=True)
    assert (rows.labels["start_positions"].tolist(), rows.labels["end_positions"].tolist()) == ([4], [5])


def test_room_that_is_too_small():
    with pytest.raises(
        InputError, match=r"question q0: its 6 tokens leave the context 3 of max_seq_length=12, not more"
    ):
        build_features(
            [example("abcdefgh", "abcdef")], letters_tokenizer(), max_seq_length=12, doc_stride=3, is_training=False
        )
    both = [example("abcdefgh", question, number=number) for number, question in enumerate(("abcdef", "x", "abcdefg"))]
    with pytest.raises(QuestionTooLongError) as raised:
        build_features(both, letters_tokenizer(), max_seq_length=12, doc_stride=3, is_training=False)
    assert list(raised.value.messages) == [0, 2] and raised.value.messages[0] == str(raised.value)
    assert "question q2: its 7 tokens" in pickle.loads(pickle.dumps(raised.value)).messages[2]
    with pytest.raises(InputError, match="question q0: its 6 tokens") as raised:  # the settings' fault, no question's
        build_features(both, letters_tokenizer(), max_seq_length=12, doc_stride=9, is_training=False)
    assert not isinstance(raised.value, QuestionTooLongError)
    short = [example("abc", "abcdef")]  # a context that fits needs no overlap
    assert len(build_features(short, letters_tokenizer(), max_seq_length=12, doc_stride=3, is_training=False)) == 1
    with pytest.raises(InputError, match="doc_stride=-1"):
        build_features(short, letters_tokenizer(), doc_stride=-1, is_training=False)
    with pytest.raises(InputError, match="no questions"):
        build_features([], letters_tokenizer(), is_training=False)


@pytest.mark.slow
@needs_data
def test_real_dev_features():
    """The counts that transformers' run_qa gives for the official dev file, and offsets that give the text back."""
    tokenizer = MobileBertTokenizer(vocab_file=Path(DATA) / "vocab.txt")
    examples, rows = load_dev_features(Path(DATA) / "squad/dev-v1.1.json", tokenizer, cache_folder=None)
    assert (len(examples), len(rows)) == (10570, 10784)
    assert rows.lengths.max() == 384 and rows.lengths.sum() == len(rows.input_ids)
    assert np.bincount(rows.example_index).min() == 1
    first = [examples[0].context[low:high] for low, high in rows.row_offsets(0) if low >= 0]
    assert first[:4] == ["Super", "Bowl", "50", "was"]
    part = examples[:1000]
    windows = [len(build_features(part, tokenizer, max_seq_length=n, is_training=False)) for n in (384, 224)]
    assert windows[0] == np.searchsorted(rows.example_index, 1000) < windows[1]
