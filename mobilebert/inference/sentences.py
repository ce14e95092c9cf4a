"""The sentence around an answer, and as much of it as fits: character positions only, the text stays as it is."""

import re

# A full stop, perhaps in closing quotation marks or brackets, before white space or the end; East Asian ones need none.
_END = re.compile(r"""[.!?…]+["'”’»)\]]*(?=\s|$)|[。！？]+["'”’」』）]*|\n[ \t\r]*\n""")
# Words whose full stop ends no sentence; so does none after a single capital letter (J. Smith) or within U.S., e.g.
_ABBREVIATIONS = (
    "adm approx apr aug brig capt cf ch co col corp dec dept dr ed eds est etc feb fig figs gen gov hon inc jan jr jul "
    "jun lt ltd maj mar mr mrs ms mt no nos nov oct op p pp pres prof rep rev sen sep sept sgt sr st vol vs"
)
_ABBREVIATED = frozenset(_ABBREVIATIONS.split())
_LONGEST_WORD = 20  # characters: where a shortened text looks for the next space


def sentence_bounds(context: str, start: int, end: int) -> tuple[int, int]:
    """Find the sentence, or sentences, that ``context[start:end]`` stands in.

    A blank line ends a sentence; so does a full stop before white space, unless a small letter follows or the word is
    a known abbreviation or a capital letter. A heuristic: it may be wrong in a text full of abbreviations.

    Args:
        context: any text.
        start, end: a piece of it, end exclusive.

    Returns:
        First and last character (exclusive) of the sentence, without white space around it; the piece is within.
    """
    low, high = 0, len(context)
    for match in _END.finditer(context):
        if not _ends_sentence(context, match):
            continue
        if match.end() <= start:
            low = match.end()
        elif match.end() >= end:
            high = match.end()
            break
    while low < start and context[low].isspace():
        low += 1
    while high > end and context[high - 1].isspace():
        high -= 1
    return low, high


def excerpt_bounds(low: int, high: int, start: int, end: int, context: str, width: int) -> tuple[int, int]:
    """Shorten a sentence to about ``width`` characters around an answer, at spaces where there are any.

    Args:
        low, high: the sentence in ``context``.
        start, end: the answer, within the sentence; it is never shortened.
        context: the text.
        width: characters.

    Returns:
        First and last character (exclusive) of what is left.
    """
    if high - low <= width:
        return low, high
    spare = max(0, width - (end - start))
    before = min(start - low, max(spare // 2, spare - (high - end)))
    new_low, new_high = start - before, min(high, end + spare - before)
    if new_low > low:
        space = re.search(r"\s", context[new_low - 1 : min(start, new_low + _LONGEST_WORD)])
        new_low = new_low + space.start() if space else new_low
    if new_high < high:
        spaces = list(re.finditer(r"\s", context[max(end, new_high - _LONGEST_WORD) : new_high + 1]))
        new_high = max(end, new_high - _LONGEST_WORD) + spaces[-1].start() if spaces else new_high
    return new_low, new_high


def _ends_sentence(context: str, match: re.Match) -> bool:
    mark = match.group()
    if not mark.startswith("."):
        return True
    following = context[match.end() : match.end() + 80].lstrip()
    if following[:1].islower():
        return False
    if len(mark) > 1 or not following:
        return True
    word = re.search(r"[^\s(\[\"'“‘]*$", context[max(0, match.start() - 24) : match.start()]).group()
    is_initials = re.fullmatch(r"[A-Z]|([^\W\d]\.)+[^\W\d]", word)
    return not is_initials and word.lower() not in _ABBREVIATED
