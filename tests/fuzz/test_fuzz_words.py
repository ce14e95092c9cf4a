"""Answers widened to whole words: against the rule derived once more, and what must hold for any text."""

import re
import string

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import characters
from support.texts import VOCABULARY, make_tokenizer

from mobilebert.data.qa.words import widen

TOKENIZER = make_tokenizer(
    [*VOCABULARY, *sorted(set(string.ascii_lowercase) - set(VOCABULARY)), *(f"##{c}" for c in "abcdefgh123")]
)
any_text = st.lists(
    st.one_of(st.sampled_from(["Ada", " ", "e\u0301", "\u200d", "北", "한국", "9", "-"]), characters), min_size=1
)


@st.composite
def pieces(draw, texts):
    """A text and the bounds of a piece of it."""
    text = draw(texts)
    start = draw(st.integers(0, len(text) - 1))
    return text, start, draw(st.integers(start + 1, len(text)))


ascii_texts = st.text("ab Z09'-._\n", min_size=1, max_size=20)
spaced_texts = any_text.map("".join)


@given(pieces(ascii_texts))
def test_in_ascii_words_are_runs_of_letters_and_runs_of_digits(piece):
    text, start, end = piece
    runs = [match.span() for match in re.finditer(r"[A-Za-z]+|[0-9]+", text)]
    low = next((low for low, high in runs if low < start < high), start)
    high = next((high for low, high in runs if low < end < high), end)
    assert widen(text, start, end) == (low, high)


@given(pieces(spaced_texts))
def test_nothing_is_lost_and_nothing_is_left_to_widen(piece):
    text, start, end = piece
    low, high = widen(text, start, end)
    assert 0 <= low <= start < end <= high <= len(text)
    assert widen(text, low, high) == (low, high)
    added = text[low:start] + text[end:high]
    assert not re.search(r"\s", added) and not set(added) & set("北한국-")


@given(pieces(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1)))
def test_chinese_stays_as_it_is(piece):
    text, start, end = piece
    assert widen(text, start, end) == (start, end)


@given(spaced_texts)
def test_a_token_becomes_no_more_than_what_the_tokenizer_calls_a_word(text):
    """Between spaces and punctuation: the same text with its last letters as a token of their own."""
    offsets = TOKENIZER(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    for start, end in offsets:
        if start < end:
            low, high = widen(text, start, end)
            assert not re.search(r"[\s!-/:-@\[-`{-~]", text[low:start] + text[end:high])
