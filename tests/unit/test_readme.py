"""The two READMEs say the same, and what they name exists."""

import re
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = (".", "scripts", "mobilebert")  # of what is named without its folder
READMES = ("README.md", "README_CN.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)*(?:e[+-]?\d+)?")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text):
    """Language and content of each fenced block; comments of code are left out, since they are translated."""
    return [
        (language, body if language == "text" else re.sub(r"[ \t]*#.*", "", body))
        for language, body in FENCE.findall(text)
    ]


def inline_code(text):
    return Counter(re.findall(r"`([^`\n]+)`", FENCE.sub("", text)))


def headings(text):
    return [len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", text), re.MULTILINE)]


def table_numbers(text):
    """The numbers of each table row, sorted: a translation may change their order within a row."""
    rows = [line for line in FENCE.sub("", text).splitlines() if line.startswith("|")]
    return [sorted(NUMBER.findall(row)) for row in rows]


def prose_numbers(text):
    lines = [line for line in FENCE.sub("", text).splitlines() if not line.startswith("|")]
    return Counter(NUMBER.findall("\n".join(lines)))


ASPECTS = (headings, blocks, inline_code, table_numbers, prose_numbers)


def commands(text):
    """Every command line: those of bash blocks and those in inline code."""
    lines = [line for language, body in blocks(text) if language == "bash" for line in body.splitlines()]
    return [line.split() for line in [*lines, *inline_code(text)] if re.match(r"(bash|python) ", line)]


def problems(text):
    """What the commands and links of a README name that is not there."""
    found = [f"no file {path}" for path in named_files(text) if not (ROOT / path).exists()]
    found += [f"no file {name}" for name in bare_names(text) if not any((ROOT / at / name).exists() for at in PLACES)]
    for words in commands(text):
        if flags := [word for word in words if word.startswith("--")]:
            known = {flag for script in python_scripts(words) for flag in known_flags(script)}
            found += [f"{' '.join(words)}: no flag {flag}" for flag in flags if flag not in known]
    return found


def named_files(text):
    """Scripts and tests of commands, and targets of relative links."""
    scripts = [word for words in commands(text) for word in words if re.search(r"\.(py|sh)$", word)]
    links = re.findall(r"\]\(([^)#\s]+)", text)
    return scripts + [link for link in links if "://" not in link]


def bare_names(text):
    """Scripts and modules named without command and folder, as `train_mnli.sh`."""
    return [word for word in inline_code(text) if re.fullmatch(r"\w+\.(py|sh)", word)]


def python_scripts(words):
    """The Python scripts that a command's flags reach; a shell script passes them on to the one it launches."""
    scripts = [word for word in words if word.endswith(".py")]
    for word in words:
        if word.endswith(".sh") and (ROOT / word).exists():
            scripts += re.findall(r"^launch (\S+\.py)", read(word), re.MULTILINE)
    return [script for script in scripts if (ROOT / script).exists()]


@lru_cache
def known_flags(script):
    result = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    options = [line for line in result.stdout.splitlines() if re.match(r"\s+-", line)]
    return {flag for line in options for flag in re.findall(r"--[\w-]+", re.split(r"\s{2,}", line.strip())[0])}


@pytest.mark.parametrize("aspect", ASPECTS, ids=lambda aspect: aspect.__name__)
def test_both_languages_agree(aspect):
    english, chinese = aspect(read(READMES[0])), aspect(read(READMES[1]))
    assert english and english == chinese


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


@pytest.mark.parametrize("name", READMES)
def test_what_is_named_exists(name):
    assert len(commands(read(name))) > 15 and "docs/design.md" in named_files(read(name))
    assert problems(read(name)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```bash\nbash scripts/no_such.sh  # comment\n```\n", "no file scripts/no_such.sh"),
        ("`python no_such.py`", "no file no_such.py"),
        ("`no_such.sh`", "no file no_such.sh"),
        ("[text](docs/no_such.md)", "no file docs/no_such.md"),
        ("`python convert.py --revers`", "python convert.py --revers: no flag --revers"),
        ("`bash scripts/train_squadv1.sh --batch 16`", "bash scripts/train_squadv1.sh --batch 16: no flag --batch"),
    ],
)
def test_what_does_not_exist_is_found(text, problem):
    assert problems(text) == [problem]


@pytest.mark.parametrize("name", READMES)
def test_no_placeholder_is_left(name):
    assert re.findall(r"@\w+@|<!--|TODO|TBD|XXX", read(name)) == []


@pytest.mark.parametrize(("here", "other"), [READMES, READMES[::-1]])
def test_each_language_links_the_other(here, other):
    assert f"]({other})" in read(here).split("\n## ")[0]
