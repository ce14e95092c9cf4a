"""The sentence around an answer, on texts that mislead a simple rule."""

import random

import pytest

from mobilebert.inference.sentences import excerpt_bounds, sentence_bounds


def sentence(context: str, answer: str) -> str:
    start = context.index(answer)
    low, high = sentence_bounds(context, start, start + len(answer))
    return context[low:high]


@pytest.mark.parametrize(
    ("context", "answer", "expected"),
    [
        ("One here. The two. And three.", "two", "The two."),
        ("One here. The two. And three.", "One", "One here."),
        ("One here. The two. And three", "three", "And three"),
        ("Was it? Dr. Ada wrote it! Yes.", "wrote", "Dr. Ada wrote it!"),
        ("Yes. J. R. Smith of the U.S. Army paid 3.50. Later.", "paid", "J. R. Smith of the U.S. Army paid 3.50."),
        ("He read e.g. novels and poems. She did not.", "poems", "He read e.g. novels and poems."),
        ('He said "go." She went.', "went", "She went."),
        ("A title\n\nThe text of it. More.", "text", "The text of it."),
        ("Lines that were\nbroken by hand. More.", "hand", "Lines that were\nbroken by hand."),
        ("他写了程序。后来她读了它。结束", "读", "后来她读了它。"),
        ("Wait... he came. Then.", "came", "Wait... he came."),
        ("One here. The two. And three.", "here. The", "One here. The two."),
        ("  padded  ", "padded", "padded"),
        ("no end at all", "all", "no end at all"),
    ],
)  # fmt: skip
def test_sentences(context, answer, expected):
    assert sentence(context, answer) == expected


def test_every_piece_is_in_its_sentence():
    rng = random.Random(0)
    parts = ["a", "B", ".", "!", " ", "\n", "\n\n", "Dr.", "。", "”", "\u2028"]
    for _ in range(500):
        context = "".join(rng.choice(parts) for _ in range(60))
        start = rng.randrange(len(context) - 1)
        end = rng.randrange(start + 1, len(context))
        low, high = sentence_bounds(context, start, end)
        assert 0 <= low <= start < end <= high <= len(context)
        for width in (1, 12, 30):
            first, last = excerpt_bounds(low, high, start, end, context, width)
            assert low <= first <= start < end <= last <= high
            assert last - first <= max(width, end - start)


@pytest.mark.parametrize("answer", ["word0 ", "word50 ", "word99"])
def test_an_excerpt_is_cut_at_spaces(answer):
    context = " ".join(f"word{number}" for number in range(100))
    start = context.index(answer)
    end = start + len(answer.strip())
    low, high = excerpt_bounds(0, len(context), start, end, context, 80)
    assert 50 < high - low <= 80
    assert all(word in context.split() for word in context[low:high].split())


def test_a_text_without_spaces_is_cut_anywhere():
    low, high = excerpt_bounds(0, 1000, 500, 510, "x" * 1000, 80)
    assert high - low == 80
    assert low < 500 < 510 < high
