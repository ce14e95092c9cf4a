"""Words with tags: files, schemes, words of raw texts, windows, scores."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from support.texts import make_tokenizer

from mobilebert.base.errors import InputError
from mobilebert.data.collate import PackedDataset
from mobilebert.data.ner import schemes
from mobilebert.data.ner.encode import encode_sentences, gold_tags, with_labels
from mobilebert.data.ner.metrics import by_type, compute, table
from mobilebert.data.ner.schemes import Entity
from mobilebert.data.ner.sentences import Sentences, TagRules, read_sentences
from mobilebert.data.ner.words import align, split_words
from mobilebert.data.packed import PackedRows

CONLL = "-DOCSTART- -X- -X- O\n\nAda NNP I-NP I-PER\nmet VBD I-VP O\nGrace NNP I-NP I-PER\nJo NNP I-NP B-PER\n\n"
CONLLU = """\
# sent_id = 1
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tgone\t_\t_\t_\t_\t_\t_\t_\t_
3\tAda\tAda\tPROPN\tNNP\t_\t0\troot\t_\tSpaceAfter=No|NER=B-PER

"""


def write(path: Path, content) -> Path:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


# -- schemes

TAGS = {
    "iob1": ["I-A", "B-A", "I-A", "I-B", "O", "I-A"],
    "iob2": ["B-A", "B-A", "I-A", "B-B", "O", "B-A"],
    "iobes": ["S-A", "B-A", "E-A", "S-B", "O", "S-A"],
    "bilou": ["U-A", "B-A", "L-A", "U-B", "O", "U-A"],
}
MARKED = [Entity("A", 0, 1), Entity("A", 1, 3), Entity("B", 3, 4), Entity("A", 5, 6)]


@pytest.mark.parametrize("name", TAGS)
def test_schemes_are_told_apart_and_mark_the_same(name):
    scheme = "iobes" if name == "bilou" else name
    assert schemes.detect([TAGS[name]]) == scheme
    assert schemes.faults(TAGS[name], scheme) == []
    assert schemes.entities(TAGS[name]) == MARKED
    others = {"iob1", "iob2", "iobes"} - {scheme}
    assert all(schemes.faults(TAGS[name], other) for other in others)


@pytest.mark.parametrize("scheme", ["iob2", "iobes"])
def test_entities_survive_being_written(scheme):
    assert schemes.write(MARKED, 6, scheme) == TAGS[scheme]
    dice = random.Random(0)
    for _ in range(200):
        length, at, marked = dice.randint(1, 12), 0, []
        while (at := at + dice.randint(0, 2)) < length:
            end = min(length, at + dice.randint(1, 3))
            marked.append(Entity(dice.choice("AB"), at, end))
            at = end
        tags = schemes.write(marked, length, scheme)
        assert schemes.entities(tags) == schemes.strict_entities(tags, scheme) == marked
        assert schemes.faults(tags, scheme) == []


@pytest.mark.parametrize(
    ("tags", "scheme", "places"),
    [
        (["I-A"], "iob2", [0]),
        (["B-A", "I-B"], "iob2", [1]),
        (["B-A"], "iob1", [0]),
        (["I-A", "B-B"], "iob1", [1]),
        (["B-A"], "iobes", [1]),
        (["B-A", "O"], "iobes", [1]),
        (["I-A"], "iobes", [0]),
        (["B-A", "E-B"], "iobes", [1]),
        (["S-A", "I-A"], "iobes", [1]),
        (["S-A"], "iob2", [0]),
    ],
)
def test_what_breaks_a_scheme_is_found(tags, scheme, places):
    assert schemes.faults(tags, scheme)[: len(places)] == places


@pytest.mark.parametrize("tag", ["", "B", "B-", "-A", "X-A", "BA", "NOUN", "o", "B_A"])
def test_what_is_no_tag_of_an_entity(tag):
    assert schemes.split(tag) is None


def test_the_scheme_of_a_models_classes():
    assert schemes.scheme_of(["O", "B-A", "I-A"]) == "iob2"
    assert schemes.scheme_of(["O", "B-A", "E-A", "I-A", "S-A"]) == "iobes"
    assert schemes.scheme_of(["NOUN", "O"]) == schemes.scheme_of(["LABEL_0"]) == schemes.scheme_of(["B-A"]) == "plain"


# -- scores


@pytest.mark.parametrize("row", json.loads((Path(__file__).parents[1] / "support/seqeval_cases.json").read_text()))
def test_scores_are_those_that_seqeval_gave(row):
    """Made by ``tests/campaigns/seqeval_equality.py --freeze``."""
    scheme, gold, predicted = row["case"]
    scores = compute(gold, predicted, scheme)
    names = ("precision", "recall", "f1", "strict_f1", "accuracy")
    assert [scores[name] / 100 for name in names] == pytest.approx(row["seqeval"]["scores"], abs=1e-12)
    assert {name: numbers[2] for name, numbers in by_type(gold, predicted).items()} == {
        name: numbers[3] for name, numbers in row["seqeval"]["types"].items()
    }


def test_nothing_found_and_nothing_there_is_zero():
    assert compute([["O"]], [["O"]])["f1"] == 0 and compute([["O"]], [["O"]])["accuracy"] == 100
    assert compute([["B-A"]], [["O"]])["recall"] == compute([["O"]], [["B-A"]])["precision"] == 0
    assert compute([["NOUN"]], [["VERB"]], "plain") == {"accuracy": 0.0}
    assert table([["O"]], [["O"]]).splitlines()[1].split() == ["all", "0.00", "0.00", "0.00", "0"]
    lines = table([["B-PER", "O"]], [["B-PER", "B-LOC"]]).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["LOC", "0.00", "0.00", "0.00", "0"],
        ["PER", "100.00", "100.00", "100.00", "1"],
        ["all", "50.00", "100.00", "66.67", "1"],
    ]


@pytest.mark.parametrize(("gold", "predicted"), [([["O"]], [["O", "O"]]), ([["O"]], []), ([], []), ([[]], [[]])])
def test_other_numbers_of_tags_are_refused(gold, predicted):
    with pytest.raises(InputError, match="expected one for each word, at least one"):
        compute(gold, predicted)


# -- files


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.conll", "train.txt", "eng.testa", "a.conll.gz"])
def test_columns_of_conll_2003(tmp_path, name, end):
    raw = ("\ufeff" + CONLL.replace("\n", end)).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    found = read_sentences(tmp_path / name)
    assert found.words == [["Ada", "met", "Grace", "Jo"]] and found.lines == [[3, 4, 5, 6]]
    assert found.tags == [["B-PER", "O", "B-PER", "B-PER"]] and found.scheme == "iob2"  # it was IOB1


def test_another_column_is_asked_for(tmp_path):
    path = write(tmp_path / "a.conll", CONLL)
    assert read_sentences(path, TagRules("3")).tags == [["B-NP", "B-VP", "B-NP", "I-NP"]]
    pos = read_sentences(path, TagRules("2", "plain"))
    assert pos.tags == [["NNP", "VBD", "NNP", "NNP"]] and pos.scheme == "plain"


def test_columns_of_wnut_with_tabs_in_blank_lines(tmp_path):
    path = write(tmp_path / "a.conll", "a b\tB-x-y\n\u00a0\tO\n\t\n#\tO\n \n")
    found = read_sentences(path)
    assert found.words == [["a b", "\u00a0"], ["#"]] and found.tags == [["B-x-y", "O"], ["O"]]


def test_words_without_tags(tmp_path):
    path = write(tmp_path / "a.txt", "Ada\nmet\n\nGrace\n")
    assert read_sentences(path, require_tags=False).words == [["Ada", "met"], ["Grace"]]
    with pytest.raises(InputError, match=r"a\.txt:1: words without tags"):
        read_sentences(path)


def test_conllu(tmp_path):
    path = write(tmp_path / "a.conllu", CONLLU)
    found = read_sentences(path)
    assert found.words == [["Do", "n't", "Ada"]] and found.tags == [["O", "O", "B-PER"]]
    assert found.lines == [[3, 4, 6]]
    upos = read_sentences(path, TagRules("upos"))
    assert upos.tags == [["AUX", "PART", "PROPN"]] and upos.scheme == "plain"
    assert read_sentences(path, TagRules("xpos")).tags == [["VBP", "RB", "NNP"]]
    with pytest.raises(InputError, match="words without tags"):
        read_sentences(path, TagRules("Entity"))


TEXT = "Ada  Lovelace, n\u00e9e Byron."


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": ["Ada", "Lovelace"], "tags": ["B-P", "I-P"]},
        {"words": ["Ada", "Lovelace"], "ner_tags": ["B-P", "L-P"]},
        {"text": "Ada Lovelace", "entities": [[0, 12, "P"]]},
        {"text": "Ada Lovelace ", "label": [[0, 13, "P"]]},
        {"text": "Ada Lovelace", "labels": [[0, 12, "P"], [0, 12, "P"]], "id": 3},
        {"text": "Ada Lovelace", "spans": [{"start": 0, "end": 12, "label": "P", "token_start": 0}]},
        {"text": "Ada Lovelace", "entities": [{"id": 1, "start_offset": 0, "end_offset": 12, "label": "P"}]},
    ],
)
def test_json_lines(tmp_path, row):
    found = read_sentences(write(tmp_path / "a.jsonl", [row]))
    assert found.words == [["Ada", "Lovelace"]] and found.tags == [["B-P", "I-P"]]
    array = write(tmp_path / "a.json", json.dumps([row, row]))
    assert len(read_sentences(array)) == 2


def test_spans_are_given_in_characters_of_the_text(tmp_path):
    spans = [[0, 13, "PER"], [15, 18, "X"], [19, 24, "PER"]]
    found = read_sentences(write(tmp_path / "a.jsonl", [{"text": TEXT, "entities": spans}]))
    assert found.words == [["Ada", "Lovelace", ",", "n\u00e9e", "Byron", "."]]
    assert found.tags == [["B-PER", "I-PER", "O", "B-X", "B-PER", "O"]]


SPAN_ADVICE = "expected [start, end, type], or objects with start, end and label"


@pytest.mark.parametrize(
    ("name", "content", "rules", "said"),
    [
        ("a.conll", "a O\nb\n", {}, "a.conll:2: 1 columns; the first line has 2"),
        ("a.conll", "\tO\n", {}, "a.conll:1: no word before its tag"),
        ("a.conll", "a NOUN\n", {}, "a.conll:1: tag 'NOUN': expected O, or a type behind B-, I-, E- or S-; parts of"),
        ("a.conll", "", {}, "a.conll: has no sentence"),
        ("a.conll", "a O\n", {"column": "3"}, "`tag_column=3`: "),
        ("a.conll", "a O\n", {"column": "ner"}, "has 2 columns, the first of them words; give a number"),
        ("a.conll", "x B-A\nx O\nx I-A\n", {}, "a.conll:3: I-A after O: in IOB2 an entity begins with B-; tags that"),
        ("a.conll", "I I-A\n", {"scheme": "iob2"}, "a.conll:1: I-A begins a sentence: in IOB2"),
        ("a.conll", "a B-A\nb O\n\nc S-A\n", {}, "a.conll:2: O after B-A: in IOBES an entity is S-, or B- to E-"),
        ("a.conll", "a S-A\nb B-A\n", {}, "a.conll:2: the sentence ends after B-A: in IOBES"),
        ("a.conllu", "1\ta\tO\n", {}, "a.conllu:1: 3 columns; CoNLL-U has 10"),
        ("a.csv", "word,tag\n", {}, "a.csv: a table; expected a word and its tag a line"),
        ("a.xlsx", "PK", {}, "a.xlsx: a table"),
        ("a.jsonl", [{"tokens": ["a"], "tags": []}], {}, "a.jsonl:1: 1 tokens, but 0 tags"),
        ("a.jsonl", [{"tokens": ["a"], "tags": [3]}], {}, "a.jsonl:1: tags: $[0]: expected str, got int; expected tok"),
        ("a.jsonl", [{"tokens": "a b", "tags": ["O"]}], {}, "a.jsonl:1: tokens: expected list, got str"),
        ("a.jsonl", [{"sentence": "a"}], {}, "a.jsonl:1: has sentence; expected tokens and tags, or text and entities"),
        ("a.jsonl", [{"text": "a", "label": []}, {"text": "b"}], {}, "a.jsonl:2: words without tags; tag every"),
        ("a.jsonl", [{"text": "abc", "label": [[0, 4, "A"]]}], {}, "[0, 4, 'A'] is no place in a text of 3"),
        ("a.jsonl", [{"text": "abc", "label": [[2, 2, "A"]]}], {}, "[2, 2, 'A'] is no place in a text of 3"),
        ("a.jsonl", [{"text": "abc", "label": [[0, 3, " "]]}], {}, SPAN_ADVICE),
        ("a.jsonl", [{"text": "abc", "label": [{"start": 0, "label": "A"}]}], {}, SPAN_ADVICE),
        ("a.jsonl", [{"text": "abc", "label": "A"}], {}, "a.jsonl:1: label: expected list, got str; " + SPAN_ADVICE),
        ("a.jsonl", [{"text": "a  b", "label": [[1, 3, "A"]]}], {}, "a.jsonl:1: label: A at 1 to 3 holds no word"),
        ("a.jsonl", [{"text": "abc d", "label": [[1, 5, "A"]]}], {}, "begins or ends inside a word of 'abc d'"),
        ("a.jsonl", [{"text": "a b c", "label": [[0, 3, "A"], [2, 5, "B"]]}], {}, "label: A and B overlap"),
        ("a.jsonl", '{"text": "\\ud800"}\n', {}, "a.jsonl:1: text has an invalid character at 0"),
        ("a.conll", "a O\n", {"scheme": "iob3"}, "`scheme=iob3`: expected one of iob1, iob2, iobes, plain"),
        ("a.conll", "a O\n", {"on_bad": "drop"}, "`on_bad_tags=drop`: expected one of error, repair"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(tmp_path, name, content, rules, said):
    with pytest.raises(InputError) as caught:
        read_sentences(write(tmp_path / name, content), TagRules(**rules))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_bad_tags_are_repaired_on_request(tmp_path, caplog):
    repair = TagRules(on_bad="repair")
    path = write(tmp_path / "a.conll", "x B-A\nx O\nx I-A\nx I-B\nx B-B\n")
    assert read_sentences(path, repair).tags == [["B-A", "O", "B-A", "B-B", "B-B"]]
    assert "tags that break IOB1: 1; read as conlleval does" in caplog.text
    spans = [[1, 3, "A"], [4, 9, "B"], [6, 7, "C"]]
    path = write(tmp_path / "a.jsonl", [{"text": "abc d e f", "entities": spans}])
    assert read_sentences(path, repair).tags == [["B-A", "B-B", "I-B", "I-B"]]


def test_many_spans_take_no_time(tmp_path):
    text = "ab " * 20_000
    spans = [[at, at + 2, "A"] for at in range(0, len(text), 3)]
    found = read_sentences(write(tmp_path / "a.jsonl", [{"text": text, "entities": spans}]))
    assert found.tags[0] == ["B-A"] * 20_000


# -- words of raw texts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada's U.N. co-op!", ["Ada", "'", "s", "U", ".", "N", ".", "co", "-", "op", "!"]),
        ("na\u00efve e\u0301te\u0301", ["na\u00efve", "e\u0301te\u0301"]),
        ("\u65e5\u672c ist\u3000\u201cda\u201d", ["\u65e5", "\u672c", "ist", "\u201c", "da", "\u201d"]),
        ("a\u00a0b\tc\r\nd", ["a", "b", "c", "d"]),
        ("5$ \u20ac5 a_b", ["5", "$", "\u20ac5", "a", "_", "b"]),
        ("a\u200bb \U0001f642", ["a\u200bb", "\U0001f642"]),
        ("", []),
        (" \n", []),
    ],
)
def test_texts_are_split_as_bert_splits_them(text, words):
    places = split_words(text)
    assert [text[low:high] for low, high in places] == words
    tokenizer = make_tokenizer()
    encoding = tokenizer(text, add_special_tokens=False).encodings[0]
    assert len(set(encoding.word_ids)) == len(words)  # as many as the tokenizer's own


def test_a_place_is_aligned_with_the_words_it_touches():
    places = split_words("ab cd, ef")
    assert align(places, 0, 5, "X") == (Entity("X", 0, 2), True)
    assert align(places, 2, 6, "X") == (Entity("X", 1, 3), True)
    assert align(places, 1, 2, "X") == (Entity("X", 0, 1), False)
    assert align(places, 2, 3, "X") is None and align([], 0, 3, "X") is None


# -- rows


def sentence(length, seed=0):
    dice = random.Random(seed)
    return [dice.choice(["ada", "lovelace", "wrote", "the", "notes", "in", "1843"]) for _ in range(length)]


@pytest.mark.parametrize("max_seq_length", [8, 13, 40, 512])
@pytest.mark.parametrize("doc_stride", [0, 1, 3])
def test_every_word_is_read_once_where_it_has_most_context(max_seq_length, doc_stride):
    tokenizer, words = make_tokenizer(), [sentence(37), [], sentence(3), ["adalovelace"], ["\u200b"], sentence(90)]
    encoded = encode_sentences(words, tokenizer, max_seq_length, doc_stride)
    flat = [word for one in words for word in one]
    assert len(encoded.tokens) == len(flat) and encoded.counts.tolist() == list(map(len, words))
    seen = [None if t < 0 else tokenizer.convert_ids_to_tokens(int(encoded.rows.input_ids[t])) for t in encoded.tokens]
    assert seen == [{"adalovelace": "[UNK]", "\u200b": None}.get(word, word) for word in flat]
    starts = encoded.rows.row_starts
    row_of = np.repeat(np.arange(len(encoded.rows)), encoded.rows.lengths)
    for number, token in enumerate(encoded.tokens):
        if token < 0:
            continue
        places = np.flatnonzero(encoded.words == number)
        edges = np.minimum(places - starts[row_of[places]] - 1, starts[row_of[places] + 1] - 2 - places)
        assert token in places[edges == edges.max()]
    # Of every token's logit its own number is taken.
    logits = np.zeros((len(encoded.rows), int(encoded.rows.lengths.max()), 1))
    for token, row in enumerate(row_of):
        logits[row, token - starts[row]] = token
    assert encoded.take(logits)[:, 0].tolist() == [max(token, 0) for token in encoded.tokens]


def test_a_word_that_a_window_cuts_begins_in_the_one_before():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a"]
    tokenizer = make_tokenizer(vocabulary)
    encoded = encode_sentences([["a", "aaaaaaa", "a"]], tokenizer, 6, 0)  # pieces a | a##6 | a, four in a window
    assert encoded.rows.lengths.tolist() == [6, 6, 3]
    assert encoded.tokens.tolist() == [1, 2, 13]
    first_only = with_labels(encoded, [["O", "B-A", "O"]], ["O", "B-A", "I-A"], False).rows.token_labels
    assert first_only.tolist() == [-100, 0, 1, -100, -100, -100, *[-100] * 6, -100, 0, -100]
    all_pieces = with_labels(encoded, [["O", "B-A", "O"]], ["O", "B-A", "I-A"], True).rows.token_labels
    assert all_pieces.tolist() == [-100, 0, 1, 2, 2, -100, *[-100] * 6, -100, 0, -100]


def test_labels_are_batched_and_saved(tmp_path):
    words, tags = [["ada", "in"], ["lovelace"]], [["B-A", "O"], ["I-A"]]
    encoded = with_labels(encode_sentences(words, make_tokenizer(), 16, 0), tags, ["O", "B-A", "I-A"], False)
    batch = PackedDataset(encoded.rows, 0).batch(np.array([1, 0]))
    assert batch["labels"].tolist() == [[-100, 2, -100, -100], [-100, 1, 0, -100]]
    encoded.rows.save(tmp_path / "rows")
    assert PackedRows.load(tmp_path / "rows").token_labels.tolist() == encoded.rows.token_labels.tolist()


def test_tags_that_a_model_does_not_have_are_named_with_their_line():
    sentences = Sentences("dev.conll", [["a", "b"]], [[4, 5]], [["O", "B-X"]])
    with pytest.raises(InputError, match=r"dev\.conll:5: tag 'B-X', but the model knows O, B-A"):
        gold_tags(sentences, ["O", "B-A"])
    sentences = Sentences("dev.conll", [["a", "b"]], [[4, 5]], [["B-A", "I-A"]])
    assert gold_tags(sentences, ["O", "B-A", "I-A", "E-A", "S-A"]) == [["B-A", "E-A"]]


def test_a_word_without_pieces_is_outside():
    encoded = encode_sentences([["ada", "\u200b"], []], make_tokenizer(), 16, 0)
    logits = encoded.take(np.ones((2, 4, 2)) * [0.0, 1.0])
    assert encoded.tags(logits, ["O", "B-A"]) == [["B-A", "O"], []]
