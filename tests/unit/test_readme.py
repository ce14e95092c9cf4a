"""The two READMEs say the same. That what they name exists: test_documents.py."""

import re
from collections import Counter

import pytest
from support.documents import blocks, inline_code, prose, read

READMES = ("README.md", "README_CN.md")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)*(?:e[+-]?\d+)?")


def headings(text):
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), re.MULTILINE)]


def table_numbers(text):
    """The numbers of each table row, sorted: a translation may change their order within a row."""
    rows = [line for line in prose(text).splitlines() if line.startswith("|")]
    return [sorted(NUMBER.findall(row)) for row in rows]


def prose_numbers(text):
    lines = [line for line in prose(text).splitlines() if not line.startswith("|")]
    return Counter(NUMBER.findall("\n".join(lines)))


def pictures(text):
    return re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)


ASPECTS = (headings, blocks, inline_code, table_numbers, prose_numbers)


@pytest.mark.parametrize("aspect", [*ASPECTS, pictures], ids=lambda aspect: aspect.__name__)
def test_both_languages_agree(aspect):
    english, chinese = aspect(read(READMES[0])), aspect(read(READMES[1]))
    assert english == chinese and (english or aspect is pictures)


@pytest.mark.parametrize(
    ("aspect", "old", "new"),
    [
        (headings, "\n## ", "\n### "),
        (blocks, "convert.py ", "convert.py --head qa "),
        (blocks, 'return_tensors="pd"', 'return_tensors="np"'),
        (blocks, "steps of training", "steps"),
        (inline_code, "--dtype float64", "--dtype float32"),
        (table_numbers, "83.08", "83.07"),
        (table_numbers, "88,524", "88,525"),
        (prose_numbers, "3.12", "3.13"),
    ],
)
@pytest.mark.parametrize("name", READMES)
def test_a_change_in_one_language_is_found(name, aspect, old, new):
    text = read(name)
    assert old in text, f"{name} no longer has {old!r}: change this test with it"
    assert aspect(text.replace(old, new, 1)) != aspect(text)


def test_numbers_are_read_whole():
    assert table_numbers("| a | 1.39e-06, 25,447 of 3.0.0b4 |") == [sorted(["1.39e-06", "25,447", "3.0.0", "4"])]


def test_only_comments_may_differ():
    assert blocks("```bash\npython a.py  # one\n```\n") == blocks("```bash\npython a.py   # 一\n```\n")


@pytest.mark.parametrize(("here", "other"), [READMES, READMES[::-1]])
def test_each_language_links_the_other(here, other):
    assert f"]({other})" in read(here).split("\n## ")[0]
