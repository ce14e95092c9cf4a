"""The tokenizer against BERT's rules, written once more here, and against transformers' two tokenizers.

Where the ``tokenizers`` library is not what Unicode's tables say is stated as rules, too (``is_settled``): everything
else must be equal, character by character.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.strategies import characters, code_points

from mobilebert.base.errors import InputError
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.verify import hard_texts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LONGEST = 100  # characters of a word that is split; longer ones are unknown
IDEOGRAPHS = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)
Piece = tuple[str, int, int]  # of the normalised text, and which characters of the text it stands for

category = unicodedata.category


def is_settled(char: str) -> bool:
    """Whether the library, whose tables are those of Unicode 8, must treat a character as Python's tables say."""
    kind, old = category(char), unicodedata.ucd_3_2_0.category(char)
    if (
        kind == "Cn" or 0x2B820 <= ord(char) < 0x2B920
    ):  # unassigned ones stay; ideographs that it does not count as such
        return False
    has_rule = any(name in ("Mn", "Cf") or name[0] == "P" for name in (kind, old))
    return kind == old or (old == "Cn" and not has_rule and unicodedata.normalize("NFD", char) == char)


def is_punctuation(char: str) -> bool:
    """Everything in ASCII that is neither letter, digit nor space; beyond, what Unicode says."""
    return category(char)[0] == "P" or ("!" <= char <= "~" and not char.isalnum())


def normalised(text: str, lower: bool, strip: bool, chinese: bool) -> Iterator[tuple[str, int]]:
    """The characters that remain, spaces around ideographs added, each with its place in the text."""
    for place, char in enumerate(text):
        if char in "\t\n\r" or category(char) == "Zs":
            yield " ", place
            continue
        if char in "\0\ufffd" or (category(char)[0] == "C" and category(char) != "Cn"):
            continue
        is_word = chinese and any(low <= ord(char) <= high for low, high in IDEOGRAPHS)
        for part in f" {char} " if is_word else char:
            if strip:
                part = "".join(one for one in unicodedata.normalize("NFD", part) if category(one) != "Mn")
            for one in part:
                yield from ((small, place) for small in (one.lower() if lower else one))


def words_of(text: str, **rules: bool) -> Iterator[list[tuple[str, int]]]:
    """Runs of characters between spaces, punctuation by itself."""
    word: list[tuple[str, int]] = []
    for char, place in [*normalised(text, **rules), (" ", len(text))]:
        if char.isspace() or is_punctuation(char):
            if word:
                yield word
            word = []
            if not char.isspace():
                yield [(char, place)]
        else:
            word.append((char, place))


def pieces_of(word: list[tuple[str, int]], vocabulary: set[str]) -> list[Piece]:
    """The longest piece of the vocabulary that a word begins with, and so on with the rest; or the whole is unknown."""
    text, at, found = "".join(char for char, _ in word), 0, []
    while at < len(word):
        ends = (end for end in range(len(word), at, -1) if ("##" if at else "") + text[at:end] in vocabulary)
        end = next(ends, None)
        if end is None or len(word) > LONGEST:
            return [("[UNK]", word[0][1], word[-1][1] + 1)]
        found.append((("##" if at else "") + text[at:end], word[at][1], word[end - 1][1] + 1))
        at = end
    return found


def expected(text: str, vocabulary: set[str], **rules: bool) -> list[Piece]:
    """All tokens of a text; special ones are found in it as they are written."""
    found, begin = [], 0
    for match in [*re.finditer("|".join(map(re.escape, SPECIAL)), text), None]:
        end = len(text) if match is None else match.start()
        for word in words_of(text[begin:end], **rules):
            found += [(piece, low + begin, high + begin) for piece, low, high in pieces_of(word, vocabulary)]
        if match:
            found.append((match[0], *match.span()))
            begin = match.end()
    return found


interesting = st.sampled_from(
    [
        *"aZ9.-_'$^`~ \t\n\r\0\ufffd\u00a0\u3000\u200b\u200d\u00ad\ufeff\u2060\u2028\u0085\x0b\x1c",
        *"\u0301\u0300\u0315\u20dd\u0345\u05b0\u064b\u093f\u302e\ufe0f\U000e0100",
        *"\u00e9\u00c9\u0130\u0131\u00df\u1e9e\ufb01\u03a3\u03c3\u03c2\u0149\u212b\u2126\u1e9b\uff21\u01c5\u0390\u1f88",
        *"\u4e00\u9fff\u3400\uf900\u3042\uac00\ud55c\u1112\u1161\U00020000\U0002a6df\U0002f800\U0002ceaf\U0002b81f",
        *"\u3002\u00bf\u2014\u20ac\U0001f600\U0001f1e8\ue000\U0010fffd\U00010400\U0001d400\u0e33\u0f77",
    ]
)
settled = characters.filter(is_settled)
marks = st.characters(categories=["Mn", "Mc", "Me", "Cf", "Lm", "Sk"])
long_words = st.integers(98, 103).flatmap(lambda size: st.sampled_from("a\u00e9\u0301").map(lambda char: char * size))
fragments = st.one_of(
    interesting,
    settled,
    marks.filter(is_settled),
    st.sampled_from(
        [
            *SPECIAL,
            "[cls]",
            "[MASK",
            "##a",
            "caf\u00e9 na\u00efve",
            "unaffable",
            " ",
            "a\u4e00b",
            "\u4e01\u9fffc",
            "x.y",
        ]
    ),
    long_words,
)
texts = st.lists(fragments, max_size=14).map("".join)
any_texts = st.lists(
    st.one_of(interesting, characters, marks, st.sampled_from([*SPECIAL, *hard_texts.all_texts()])), max_size=8
).map("".join)
any_rules = st.fixed_dictionaries({"lower": st.booleans(), "strip": st.booleans(), "chinese": st.booleans()})


def make(vocabulary: set[str], lower: bool, strip: bool, chinese: bool) -> MobileBertTokenizer:
    """A tokenizer of these rules."""
    vocab = {token: index for index, token in enumerate([*SPECIAL, *sorted(vocabulary - set(SPECIAL))])}
    return MobileBertTokenizer(vocab, do_lower_case=lower, strip_accents=strip, tokenize_chinese_chars=chinese)


@st.composite
def vocabularies(draw, text: str, **rules: bool) -> set[str]:
    """Pieces of a text's own words, so that words are found whole, in pieces, or not at all."""
    pieces = set()
    for word in ("".join(char for char, _ in word) for word in words_of(text, **rules)):
        cuts = sorted(draw(st.sets(st.integers(0, len(word)), max_size=3)) | {0, len(word)})
        for low, high in itertools.pairwise(cuts):
            if draw(st.integers(0, 9)):
                pieces.add(("##" if low else "") + word[low:high])
    return pieces | {"a", "##a"}


@settings(max_examples=160)
@given(texts, any_rules, st.data())
def test_rules_of_bert(text, rules, data):
    vocabulary = data.draw(vocabularies(text, **rules))
    tokenizer = make(vocabulary, **rules)
    encoded = tokenizer(text, return_offsets_mapping=True)
    found = list(zip(encoded.tokens(), encoded["offset_mapping"], strict=True))
    assert found[0] == ("[CLS]", (0, 0)) and found[-1] == ("[SEP]", (0, 0))
    wanted = expected(text, vocabulary, **rules)
    assert [(token, *place) for token, place in found[1:-1]] == wanted
    assert encoded["input_ids"] == tokenizer.convert_tokens_to_ids([token for token, _ in found])


def sweep(points: list[int]) -> None:
    """Compare each of these characters, between two letters."""
    code_points.update(points)
    tokenizer = make(set(), lower=True, strip=True, chinese=True).backend_tokenizer
    text = " xxz ".join(f"a{chr(point)}b" for point in points)
    words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]
    found = " ".join(words).split(" xxz ")
    assert len(found) == len(points)
    for point, word in zip(points, found, strict=True):
        char = chr(point)
        wanted = ["".join(c for c, _ in word) for word in words_of(f"a{char}b", lower=True, strip=True, chinese=True)]
        if is_settled(char):
            assert word.split(" ") == wanted, f"U+{point:04X}"
        else:  # one way or the other
            assert "".join(word.split(" ")) in ("ab", f"a{char}b", f"a{char.lower()}b", "".join(wanted)), (
                f"U+{point:04X}"
            )


def test_each_assigned_character():
    """All but letters without case, of which there are 120,000: of those every 16th, and each where a range ends."""
    edges = {point + step for pair in IDEOGRAPHS for point in pair for step in (-1, 0, 1)}
    kinds = {point: category(chr(point)) for point in range(0x110000)}
    points = [p for p, kind in kinds.items() if kind not in ("Cn", "Co", "Cs") and (kind != "Lo" or p % 16 == 0)]
    points += [point for point in edges if kinds[point] == "Lo"]
    assert sum(is_settled(chr(point)) for point in points) > 22_000
    for low in range(0, len(points), 1024):
        sweep(points[low : low + 1024])


@settings(max_examples=20)
@given(st.integers(0, 16), st.integers(0, 255))
def test_characters_of_all_planes(plane, block):
    points = range(plane * 0x10000 + block * 0x100, plane * 0x10000 + block * 0x100 + 0x100)
    sweep([point for point in points if category(chr(point)) != "Cs"] or [0x41])


# ---- transformers ----


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Both tokenizers of transformers and ours, of one vocabulary."""
    pytest.importorskip("transformers")
    from mobilebert.verify import report_tokenizer
    from mobilebert.verify.peers.transformers_tokenizer import References

    ours = MobileBertTokenizer(vocab=report_tokenizer.built_in_vocab())
    folder = tmp_path_factory.mktemp("tokenizer")
    ours.save_pretrained(folder)
    return ours, References(folder)


@settings(max_examples=25)
@given(st.lists(any_texts, min_size=1, max_size=8), st.lists(any_texts, min_size=8, max_size=8))
def test_transformers(references, firsts, seconds):
    from mobilebert.verify.tokenizer import compare_texts

    checks = [
        compare_texts(*references, "texts", firsts),
        compare_texts(*references, "pairs", firsts, seconds[: len(firsts)]),
    ]
    assert [check.examples for check in checks] == [[], []]


@settings(max_examples=60)
@given(texts, texts, st.integers(0, 6), st.integers(0, 6))
def test_windows_of_pairs(first, second, stride, more):
    """Neighbours share ``stride`` tokens; refused only where a window would hold no new one."""
    tokenizer = make(set("ab\u4e00.x\u00e9"), lower=True, strip=False, chinese=True)
    head, tail = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (first, second))
    room = stride + more
    assume(head or room)  # with no token at all to give, the special ones stay alone
    windows, begin = [tail[:room]], 0
    while room > stride and begin + room < len(tail):
        begin += room - stride
        windows.append(tail[begin : begin + room])
    ends = [tokenizer.sep_token_id]
    expected = [[tokenizer.cls_token_id, *head, *ends, *window, *ends] for window in windows]
    call = tokenizer.encode_windows([first], [second], max_length=len(head) + room + 3, stride=stride)
    if room >= len(tail) or room > stride:
        assert [window.ids for _, window in call] == expected
    else:
        with pytest.raises(InputError):
            list(call)


@settings(max_examples=25)
@given(
    st.lists(any_texts, min_size=1, max_size=3),
    st.integers(4, 24),
    st.integers(0, 8),
    st.sampled_from(["longest_first", "only_first", "only_second"]),
)
def test_windows_of_transformers(references, firsts, max_length, stride, strategy):
    from mobilebert.verify.tokenizer import Check, _compare_call

    check = Check("windows")
    options = {"truncation": strategy, "max_length": max_length, "stride": stride}
    for first in firsts:
        _compare_call(check, *references, first, firsts[0], "right", options)
    assert check.examples == []
