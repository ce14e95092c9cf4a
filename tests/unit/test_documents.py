"""What the documents name exists: links, files, commands, flags, Python; and each check finds what it looks for."""

import re
import subprocess
from itertools import chain

import pytest
from support import documents
from support.documents import ROOT, read

ALL = documents.documents()


def test_every_document_is_read():
    assert {"README.md", "README_CN.md", "docs/design.md", "samples/squad/README.md"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_what_is_named_exists(name):
    assert documents.problems(name, read(name)) == []


def test_much_is_checked():
    """Counts, so that a pattern that stops matching is seen."""
    texts = [read(name) for name in ALL]
    found = [list(chain.from_iterable(map(what, texts))) for what in (documents.commands, documents.links)]
    assert len(found[0]) > 60 and len(found[1]) > 12
    paths = [word for text in texts for word in documents.inline_code(text) if documents.PATH.fullmatch(word)]
    assert len(paths) > 80
    assert len(documents.known_flags("run_squad.py")) > 30


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[text](no_such.md)", "no file no_such.md"),
        ("![picture](images/no_such.png)", "no file images/no_such.png"),
        ("[text](design.md#no-such-heading)", "no heading design.md#no-such-heading"),
        ("# Here\n[text](#there)", "no heading #there"),
        ("[text](https://example)", "no address: https://example"),
        ("[text](ftp://example.org/)", "no address: ftp://example.org/"),
        ("`docs/no_such.md`", "no file docs/no_such.md"),
        ("`no_such.sh`", "no file no_such.sh"),
        ("`mobilebert/no_such/`", "no file mobilebert/no_such/"),
        ("```bash\nbash scripts/no_such.sh  # comment\n```\n", "no file scripts/no_such.sh"),
        ("`python no_such.py --help`", "no file no_such.py"),
        ("`python convert.py --revers`", "python convert.py --revers: no flag --revers"),
        ("`A=b python convert.py --revers`", "python convert.py --revers: no flag --revers"),
        ("`bash scripts/train_squadv1.sh --batch 16`", "bash scripts/train_squadv1.sh --batch 16: no flag --batch"),
        ("`bash scripts/eval_mnli.sh --batch 16`", "bash scripts/eval_mnli.sh --batch 16: no flag --batch"),
        (
            "```bash\npython export.py \\\n    --formats onnx\n```\n",
            "python export.py --formats onnx: no flag --formats",
        ),
        ("`python predict.py qa --qestion x`", "python predict.py qa --qestion x: no flag --qestion"),
        ("`python predict.py qa --model M --text x`", "python predict.py qa --model M --text x: error: unknown"),
        ("`--no_such_flag`", "no script has --no_such_flag"),
        ("`make no-such`", "make no-such: no target no-such"),
        ("`mobilebert-nothing --help`", "mobilebert-nothing --help: no console command mobilebert-nothing"),
        ("`python -m mobilebert covert`", "python -m mobilebert covert: no verb covert"),
        ("`mobilebert train clasify`", "mobilebert train clasify: no kind of training clasify"),
        ("`mobilebert train classify --tran x`", "mobilebert train classify --tran x: no flag --tran"),
        ("`mobilebert convert --revers`", "mobilebert convert --revers: no flag --revers"),
        ("```python\nfrom mobilebert import Nothing\n```\n", "python: cannot import name 'Nothing' from 'mobilebert'"),
        ("```python\nprint(\n```\n", "python: '(' was never closed, line 1"),
    ],
)
def test_what_does_not_hold_is_found(text, problem):
    (found,) = documents.problems("docs/new.md", text)
    assert found.startswith(problem)


def test_a_value_that_a_flag_does_not_take_is_found():
    (found,) = documents.problems("docs/new.md", "`python export.py --model M --out O --format onyx`")
    assert "argument --format" in found and "onyx" in found


@pytest.mark.parametrize(
    "text",
    [
        "[text](https://www.paddlepaddle.org.cn) [here](http://127.0.0.1:8040/app)",
        "# A: `b`, c\n[text](#a-b-c) [text](design.md#the-way-of-the-data)",
        "`weight/torch/`, `output_squadv1/best/`, `outputs/x.json`, `config.json`, `google/mobilebert-uncased`, `a/b`",
        "`mobilebert/train/*.py`, `runlog` and `train.jsonl`",
        "`HF_ENDPOINT=https://mirror.example bash scripts/download_weights.sh NAME FOLDER`",
        "`mobilebert`, `python -m mobilebert`, `mobilebert squad --do_eval`, `python -m mobilebert predict qa --help`",
        "`python convert.py --reverse`, `bash scripts/setup.sh --print`",
    ],
)
def test_what_holds_is_left_alone(text):
    assert documents.problems("docs/new.md", text) == []


def quick_commands():
    """Documented commands that only print: run as they are."""
    words = [words for name in ALL for words in documents.commands(read(name))]
    quick = {tuple(line) for line in words if {"--help", "--version", "--print"} & set(line)}
    return sorted(quick | {("bash", f"scripts/{path.name}", "--help") for path in ROOT.glob("scripts/[!_]*.sh")})


@pytest.mark.parametrize("words", quick_commands(), ids=" ".join)
def test_a_quick_command_runs(words):
    words = [".venv/bin/python" if word == "python" and (ROOT / ".venv").exists() else word for word in words]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stdout.strip(), result.stderr


@pytest.mark.parametrize("name", ALL)
def test_shell_blocks_parse(name):
    for language, body in documents.FENCE.findall(read(name)):
        if language == "bash":
            assert subprocess.run(["bash", "-n"], input=body, text=True, capture_output=True).stderr == ""


@pytest.mark.parametrize("name", ALL)
def test_no_placeholder_is_left(name):
    assert re.findall(r"@\w+@|<!--|TODO|TBD|XXX", read(name)) == []
