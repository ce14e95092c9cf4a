"""Answers for people's eyes: one that begins or ends inside a word is widened to the whole word."""

import unicodedata

# Scripts without spaces between words, where a piece of a run of letters can be a word: Thai to Myanmar, Khmer, Tai,
# Han, kana, Yi, Javanese, and Korean's, where the space stands behind a word's particles.
_UNSPACED = (
    (0x0E00, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x1950, 0x1AAF), (0x2E80, 0xA4CF), (0xA960, 0xA9FF),
    (0xAA60, 0xAADF), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0xFF65, 0xFFDC), (0x16FE0, 0x18CFF), (0x1AFF0, 0x1B2FF),
    (0x20000, 0x3FFFF),
)  # fmt: skip
# Without a place of their own: combining marks, and what the tokenizer drops.
_JOINED = ("Mn", "Me", "Cf", "Cc", "Co", "Cs")


def widen(context: str, start: int, end: int) -> tuple[int, int]:
    """Move the bounds of an answer out of words.

    A bound is inside a word where letters stand on both sides of it, or digits, with nothing between them but marks
    and invisible characters. Apostrophes and hyphens end a word, as they do for the tokenizer; so does the change
    between letters and digits ("1990s"). Scripts without spaces between words, and Korean, stay as they are.

    Args:
        context: the text.
        start, end: first character of the answer and the one behind its last; ``start < end``.

    Returns:
        Bounds with no less between them.
    """
    first = next((kind for place in range(start, end) if (kind := _kind(context[place])) is not None), "")
    last = next((kind for place in range(end - 1, start - 1, -1) if (kind := _kind(context[place])) is not None), "")
    return _word_end(context, start, -1, first), _word_end(context, end, 1, last)


def _word_end(context: str, bound: int, step: int, kind: str) -> int:
    """Where the word at ``bound`` ends in the direction of ``step``, 1 or -1; ``bound`` where it ends there."""
    place, reached = bound if step > 0 else bound - 1, bound
    while kind and 0 <= place < len(context) and (met := _kind(context[place])) in (kind, None):
        # A mark belongs to what stands before it.
        if met is not None or (step > 0 and unicodedata.category(context[place]).startswith("M")):
            reached = place + (step > 0)
        place += step
    return reached


def _kind(character: str) -> str | None:
    """``"letter"``, ``"digit"``, ``""`` for all that a word ends at, None for what has no place of its own."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or any(low <= ord(character) <= high for low, high in _UNSPACED):
        return ""
    if category in _JOINED:
        return None
    return "letter" if category[0] == "L" or category == "Mc" else "digit" if category == "Nd" else ""
