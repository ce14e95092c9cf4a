"""The generated reading-comprehension set: what it promises, and that it is the same everywhere."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mobilebert.data.qa.squad_json import read_squad
from mobilebert.text.tokenizer import MobileBertTokenizer
from samples.own.generate import TABLES, vocabulary
from samples.own.generate import generate as generate_table
from samples.squad.generate import generate, texts_of, write_passage
from samples.squad.names import ENDINGS, Dice, belongs_to_dev
from samples.squad.topics import TOPICS
from samples.squad.vocabulary import SPECIAL_TOKENS, train_vocabulary

GENERATE = Path(__file__).resolve().parents[2] / "samples" / "squad" / "generate.py"
DEV_DIGEST = "fe963dc66b289a168e1396f32682e055d81057c76351d8c026ce38631191d364"
VOCABULARY_DIGEST = "7b099a6eabf5a599c597bfc363f3db564b336151bcd0fe4972c913bebd3c219f"
DICE_NUMBERS = [1, 2, 8, 2, 0, 9, 7, 6]


def entries(content):
    """Pairs of (context, question entry)."""
    return [
        (paragraph["context"], entry)
        for article in content["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    ]


def invented_words(content):
    """Every capitalised word that is no word of the templates."""
    plain = {
        word.lower()
        for topic in TOPICS
        for text in (
            *topic.introductions,
            *topic.pronouns,
            *(t for relation in topic.relations for t in relation.statements + relation.questions),
        )
        for word in re.findall(r"\w+", text)
    }
    words = {word for text in texts_of(content) for word in re.findall(r"\b[A-Z]\w+", text)}
    return {word for word in words if word.lower() not in plain}


@pytest.mark.parametrize("version", [1, 2])
def test_answers_are_where_they_are_said_to_be_and_occur_once(version):
    for context, entry in entries(generate("train", 200, 3, 3, version)):
        for answer in entry["answers"]:
            assert context[answer["answer_start"] :].startswith(answer["text"])
            assert len(re.findall(rf"\b{answer['text']}\b", context)) == 1


def test_train_and_dev_share_no_name():
    train, dev = invented_words(generate("train", 3000, 1, 0)), invented_words(generate("dev", 300, 1, 0))
    assert len(train) > 3000 and len(dev) > 300
    assert not train & dev
    # The check itself can fail: two train sets do share names.
    assert train & invented_words(generate("train", 300, 1, 1))


def test_split_of_names_holds_for_every_seed():
    for seed in range(3):
        assert all(belongs_to_dev(word) for word in invented_words(generate("dev", 50, 1, seed)))
        assert not any(belongs_to_dev(word) for word in invented_words(generate("train", 50, 1, seed)))


def test_the_kind_of_an_answer_does_not_give_it_away():
    years = [
        len(re.findall(r"\b1[789]\d\d\b", context))
        for context, entry in entries(generate("dev", 200, 3, 0))
        if entry["answers"][0]["text"].isdigit()
    ]
    assert set(years) == {2}


def test_dev_passages_hold_four_answers_two_of_a_kind():
    """Blind to the question, one answer in four is right; blind to all but the kind asked for, one in two."""

    def kinds(split, seed):
        facts = write_passage(Dice(str(seed)), split).facts
        assert len({fact.answer for fact in facts}) == len(facts)
        return sorted(Counter(fact.relation.answer for fact in facts).values())

    assert all(kinds("dev", seed) == [2, 2] for seed in range(100))
    in_train = [kinds("train", seed) for seed in range(100)]
    assert 20 < in_train.count([1, 1, 1]) < 50
    assert in_train.count([1, 1, 1]) + in_train.count([2, 2]) == 100


def test_no_question_is_asked_of_two_relations():
    for topic in TOPICS:
        questions = Counter(question for relation in topic.relations for question in relation.questions)
        assert max(questions.values()) == 1
        for relation in topic.relations:
            assert all(statement.count("{a}") == 1 for statement in relation.statements)
            assert all("{e}" in question and question.endswith("?") for question in relation.questions)
        assert topic.kind in ENDINGS


def test_same_seed_same_file_other_seed_other_file():
    digest = hashlib.sha256(json.dumps(generate("dev", 100, 2, 0)).encode()).hexdigest()
    assert digest == DEV_DIGEST
    assert generate("dev", 5, 2, 0) != generate("dev", 5, 2, 1)


def test_dice_are_fair_and_pinned():
    dice = Dice("seed")
    assert [dice.below(10) for _ in range(8)] == DICE_NUMBERS
    assert sorted(dice.sample(range(5), 5)) == [0, 1, 2, 3, 4]


def test_version_2_asks_in_vain_one_time_in_three():
    content = generate("train", 300, 2, 0, squad_version=2)
    impossible = [entry["is_impossible"] for _, entry in entries(content)]
    assert 0.25 < sum(impossible) / len(impossible) < 0.42
    assert all(bool(entry["answers"]) != entry["is_impossible"] for _, entry in entries(content))


def test_vocabulary_is_pinned_and_leaves_nothing_unknown():
    train, dev = generate("train", 300, 2, 0), generate("dev", 50, 2, 0)
    vocabulary = train_vocabulary(texts_of(train), 400)
    assert len(vocabulary) == len(set(vocabulary)) == 400
    assert tuple(vocabulary[: len(SPECIAL_TOKENS)]) == SPECIAL_TOKENS
    assert hashlib.sha256("\n".join(vocabulary).encode()).hexdigest() == VOCABULARY_DIGEST

    tokenizer = MobileBertTokenizer(vocab={token: index for index, token in enumerate(vocabulary)})
    unknown = vocabulary.index("[UNK]")
    assert not any(unknown in ids for ids in tokenizer(texts_of(dev))["input_ids"])
    assert unknown in tokenizer("Straße")["input_ids"]


def test_vocabulary_joins_the_commonest_pair_and_breaks_ties_by_spelling():
    assert train_vocabulary(["ab ab cd"], 100)[-2:] == ["ab", "cd"]
    assert train_vocabulary(["cd ab"], 100)[-2:] == ["ab", "cd"]


def test_command_line_writes_what_run_squad_reads(tmp_path):
    def run(*flags):
        return subprocess.run(
            [sys.executable, GENERATE, "--output_dir", tmp_path / "data", *flags],
            capture_output=True,
            text=True,
        )

    done = run("--train_passages", "20", "--dev_passages", "5", "--questions", "2", "--vocab_size", "200")
    assert done.returncode == 0, done.stderr
    assert len(read_squad(tmp_path / "data" / "train.json")[0]) == 40
    assert len((tmp_path / "data" / "vocab.txt").read_text().splitlines()) == 200

    wrong = run("--questions", "5")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: --questions 5: expected 1 to 3\n"


# samples/own

TABLE_DIGESTS = {
    "reviews.csv": "9d1dbf4889d5bfa1b6606d4dee1f451bab4cb472f5334a628070396fa134ebdb",
    "tickets.csv": "42106fd08355139d5a91a4ba3d03ec610a62018e20a4d001057263738575efbf",
    "topics.jsonl": "84deb5dc8fa6f7fe23f664e1bcf4688f2c3cc84870556148f7341dba2941f4a1",
    "scores.csv": "277861e3385b1806d3a4e66365bbd7fb5d8abfafa0fca1a9bbb1545edb1d3d33",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_same_everywhere(name):
    content = generate_table(name, 60, 0)
    assert hashlib.sha256(content.encode()).hexdigest() == TABLE_DIGESTS[name]
    assert generate_table(name, 60, 1) != content


@pytest.mark.parametrize("name", TABLES)
def test_the_vocabulary_has_every_word_of_the_tables(name):
    words = set(re.findall(r"\w+", re.sub(r"\d", "", generate_table(name, 400, 0)).lower()))
    labels = {"review", "sentiment", "ticket", "team", "text", "topics", "score", "positive", "negative"}
    labels |= {"billing", "delivery", "account", "repair", "press", "price", "food", "noise", "staff"}
    assert words - labels <= set(vocabulary())
