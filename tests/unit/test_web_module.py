"""mobilebert.mjs gives what Predictor gives: the same tokens and places, windows, spans, classes and entities."""

import random
import string

import pytest
from support.web_module import in_node, in_python, predictor_of, write_folder

from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.verify.hard_texts import all_texts

SEED = 7
LETTERS = [*string.ascii_lowercase, *string.digits, *"éñ我喜中国ёж한กعש.,;-'()?!"]
WORDS = [
    "the",
    "notes",
    "##ing",
    "##ed",
    "un",
    "##aff",
    "##able",
    "engine",
    "ada",
    "love",
    "##lace",
    "who",
    "wrote",
    "##19",
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
# What Unicode added after the tables of `tokenizers`, and decomposes now.
NEWLY_DECOMPOSED = {0x105C9, 0x105E4, 0x11383, 0x11385, 0x1138E, 0x11391, 0x113C5, 0x113C7, 0x113C8, 0x11938,
                    0x16D68, 0x16D69, 0x16D6A}  # fmt: skip


def tokenizer(**settings) -> MobileBertTokenizer:
    return MobileBertTokenizer(vocab={token: index for index, token in enumerate(VOCABULARY)}, **settings)


def texts(count: int, longest: int, seed: int = SEED) -> list[str]:
    """Words of the vocabulary among characters of all kinds."""
    generator = random.Random(seed)
    hard = [text for text in all_texts() if text.strip()]

    def piece() -> str:
        kind = generator.random()
        if kind < 0.6:
            return generator.choice(
                ["the ", "notes ", "engine ", "Ada ", "Lovelace ", "wrote ", "1843. ", "unaffable, "]
            )
        if kind < 0.8:
            return generator.choice(hard) + " "
        if kind < 0.9:
            return chr(generator.choice([0x301, 0xAD, 0x200B, 0xA0, 0x4E2D, 0x1F600, 0x130, 0xDF, 0xE9, 0xD55C, 0xE01]))
        return chr(generator.randrange(33, 127))

    return ["".join(piece() for _ in range(generator.randrange(1, longest))) for _ in range(count)]


def assert_equal(found, expected, where) -> None:
    """Equal, numbers up to 1e-6; two errors are equal."""
    if isinstance(expected, dict) and "error" in expected:
        assert "error" in found, where
    elif isinstance(expected, dict):
        assert set(found) == set(expected), where
        for key, value in expected.items():
            assert_equal(found[key], value, where)
    elif isinstance(expected, list | tuple):
        assert isinstance(found, list) and len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other, where)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-6), where
    else:
        assert found == expected, where


def compare(folder, calls) -> int:
    """All calls; the number of errors among them."""
    predictor = predictor_of(folder)
    expected = [in_python(predictor, *call) for call in calls]
    for call, found, one in zip(calls, in_node(folder, calls)["answers"], expected, strict=True):
        assert_equal(found, one, (call, found, one))
    return sum(isinstance(one, dict) and "error" in one for one in expected)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": False, "tokenize_chinese_chars": False},
        {"split_special_tokens": True},
    ],
    ids=["usual", "cased", "accents", "split"],
)
def test_tokens_and_places(tmp_path, settings):
    ours = tokenizer(**settings)
    folder = write_folder(tmp_path, "question-answering", ours, {})
    tried = [*all_texts(), *texts(300, 12)]
    found = in_node(folder, [], tried)["tokens"]
    for text, (ids, places) in zip(tried, found, strict=True):
        encoding = ours.backend_tokenizer.encode(text, add_special_tokens=False)
        assert ids == encoding.ids, ascii(text)
        assert [tuple(place) for place in places] == encoding.offsets, ascii(text)


def test_characters_of_all_kinds(tmp_path):
    """Between two letters: dropped, an end, a word, an accent, or a letter; of the large planes a part."""
    ours = tokenizer()
    folder = write_folder(tmp_path, "question-answering", ours, {})
    codes = [*range(0xD800), *range(0xE000, 0x20000), *range(0x20000, 0x110000, 211), *range(0xE0000, 0xE0200)]
    characters = [code for code in codes if code not in NEWLY_DECOMPOSED]
    tried = [
        "".join(f"a{chr(code)}e " for code in characters[low : low + 4096]) for low in range(0, len(characters), 4096)
    ]
    found = in_node(folder, [], tried)["tokens"]
    for text, encoding, (ids, places) in zip(
        tried, ours.backend_tokenizer.encode_batch(tried, add_special_tokens=False), found, strict=True
    ):
        assert ids == encoding.ids, ascii(text)
        assert [tuple(place) for place in places] == encoding.offsets, ascii(text)


def question_calls(generator: random.Random, count: int) -> list:
    calls = []
    for question, passage in zip(texts(count, 3, 1), texts(count, 40, 2), strict=True):
        options = {"topK": generator.choice([1, 3, 30]), "wholeWords": generator.random() < 0.5}
        choices = {
            "maxSeqLength": [24, 40, 64], "docStride": [0, 5, 12], "maxAnswerLength": [1, 4, 30],
            "allowNoAnswer": [True, False], "nullScoreDiffThreshold": [-3.5, 0.0, 4.25],
        }  # fmt: skip
        options |= {name: generator.choice(values) for name, values in choices.items() if generator.random() < 0.5}
        calls.append(["read", [question, passage], options])
    return calls


@pytest.mark.parametrize("noted", [{}, {"max_seq_length": 48, "doc_stride": 16, "max_answer_length": 6,
                                        "version_2_with_negative": True, "null_score_diff_threshold": -1.5}],
                         ids=["defaults", "noted"])  # fmt: skip
def test_questions(tmp_path, noted):
    folder = write_folder(tmp_path, "question-answering", tokenizer(), noted, max_position_embeddings=64)
    calls = question_calls(random.Random(SEED), 150)
    assert compare(folder, calls) < 75  # too long a question for a short row, nothing to read


def test_what_is_aborted_runs_no_further(tmp_path):
    folder = write_folder(tmp_path, "question-answering", tokenizer(), {}, max_position_embeddings=64)
    asked = ["who?", "the notes " * 2000]
    calls = [["read", asked, {"abortAfter": count}] for count in (0, 1, 1000)]
    first, second, whole = in_node(folder, calls)["answers"]
    assert first == second == {"error": "aborted"} and whole == in_node(folder, [["read", asked, {}]])["answers"][0]


def test_what_can_hold_no_answer(tmp_path):
    folder = write_folder(tmp_path, "question-answering", tokenizer(), {}, max_position_embeddings=64)
    passages = ["\u200b\u00ad", " ", "", "\ufeff", "\x1f", "a", "\u0301", "e\u0301\u0302 x"]
    calls = [
        ["read", [q, p], {"allowNoAnswer": no}] for q in ("who?", "\u200b ") for p in passages for no in (True, False)
    ]
    assert 4 < compare(folder, calls) < len(calls)


@pytest.mark.parametrize(
    "changes",
    [
        {"id2label": {0: "negative", 1: "neutral", 2: "positive"}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "problem_type": "multi_label_classification"},
        {"id2label": {0: "score"}, "problem_type": "regression"},
        {"id2label": {0: "score"}},
    ],
    ids=["classes", "several", "number", "old-number"],
)
def test_classes(tmp_path, changes):
    folder = write_folder(tmp_path, "sequence-classification", tokenizer(), {}, max_position_embeddings=32, **changes)
    calls = [["classify", [text, None], {}] for text in ["", *texts(30, 12, 1)]]
    calls += [
        ["classify", [*pair], {"maxSeqLength": 21}] for pair in zip(texts(60, 12, 2), texts(60, 12, 3), strict=True)
    ]
    calls += [["classify", ["the notes", None], {"threshold": value}] for value in (0.2, 0.9, 1.0)]
    assert compare(folder, calls) == 1


@pytest.mark.parametrize(
    "labels",
    [["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], ["O", "B-PER", "I-PER", "L-PER", "U-PER"], ["NOUN", "VERB", "DET"]],
    ids=["iob", "bilou", "plain"],
)
def test_entities(tmp_path, labels):
    changes = {"id2label": dict(enumerate(labels)), "max_position_embeddings": 32}
    folder = write_folder(tmp_path, "token-classification", tokenizer(), {}, **changes)
    calls = [["entities", [text], {}] for text in ["", " ", "\u200b", *texts(60, 30, 1)]]
    calls += [["entities", [text], {"maxSeqLength": 16, "docStride": 5}] for text in texts(60, 20, 2)]
    assert compare(folder, calls) == 0


def test_the_comparison_can_tell(tmp_path):
    folder = write_folder(
        tmp_path, "question-answering", tokenizer(), {"max_answer_length": 4}, max_position_embeddings=64
    )
    calls = question_calls(random.Random(SEED), 40)
    predictor = predictor_of(folder)
    expected = [
        in_python(predictor, method, given, {**options, "maxAnswerLength": 5}) for method, given, options in calls
    ]
    found = in_node(folder, [[method, given, {**options, "maxAnswerLength": 4}] for method, given, options in calls])
    different = 0
    for one, other in zip(found["answers"], expected, strict=True):
        try:
            assert_equal(one, other, "")
        except AssertionError:
            different += 1
    assert different > 5
