"""``from mobilebert import Predictor, load, convert``, and ``python -m mobilebert VERB``."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import save_checkpoint

import mobilebert
from mobilebert.base.errors import InputError
from mobilebert.commands import VERBS

ROOT = Path(__file__).parents[2]


def door(*words):
    command = [sys.executable, "-m", "mobilebert", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_public_name_is_there():
    for name in mobilebert.__all__:
        assert getattr(mobilebert, name) is not None and name in dir(mobilebert)
    with pytest.raises(AttributeError, match="has no attribute 'novelty'"):
        mobilebert.novelty  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "mobilebert" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    seen = {line.names[0].asname: line.module for line in block.body}
    assert seen.pop("convert") == "mobilebert.convert.convert"
    assert seen == {name: f"mobilebert.{module}" for name, module in mobilebert._HOME.items()}


def test_the_package_starts_no_library():
    program = "import sys, mobilebert; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert "mobilebert" in loaded and not {"paddle", "numpy", "tokenizers", "mobilebert.inference"} & set(loaded)


def test_load_gives_a_predictor(checkpoint):
    folder, question, passage = checkpoint
    predictor = mobilebert.load(folder)
    assert type(predictor) is mobilebert.Predictor
    (answer,) = predictor.answer(question, passage)
    assert passage[answer.start : answer.end] == answer.text
    with pytest.raises(InputError, match="fine-tune the checkpoint first"):
        mobilebert.load(bare(folder))
    with pytest.raises(InputError, match="no such folder"):
        mobilebert.load(folder / "nowhere")


@pytest.fixture
def checkpoint(tmp_path):
    save_checkpoint(tmp_path / "model", "question-answering")
    return tmp_path / "model", "who", "ada wrote it"


def bare(folder):
    """The same folder with a config of no head."""
    config = folder / "config.json"
    config.write_text(config.read_text().replace("MobileBertForQuestionAnswering", "MobileBertModel"))
    return folder


def test_convert_is_a_function_and_a_package(tmp_path):
    from mobilebert import convert
    from mobilebert.convert.convert import Conversion

    with pytest.raises(InputError, match="no such folder; name the checkpoint's folder with `src`"):
        convert(tmp_path / "nowhere", tmp_path / "out")
    assert mobilebert.convert is convert and convert.convert.Conversion is Conversion


# The command


def test_the_door_alone_shows_every_verb():
    shown, asked = door(), door("--help")
    assert shown.returncode == asked.returncode == 0 and shown.stdout == asked.stdout and not shown.stderr
    assert shown.stdout.startswith("usage: python -m mobilebert VERB ")
    for verb, (_, explanation) in VERBS.items():
        assert f"\n    {verb}" in shown.stdout and explanation.split(":")[0][:30] in shown.stdout
    assert door("--version").stdout == f"mobilebert-paddle {mobilebert.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sqaud", "--do_train"), "unknown command sqaud; did you mean squad?"),
        (("compare_tokenizer",), "unknown command compare_tokenizer; did you mean compare-tokenizer?"),
        (("fly",), f"unknown command fly; expected {' or '.join(VERBS)}"),
        (("--verison",), "unknown argument --verison; did you mean --version?"),
        (("convert", "--scr", "x"), "unknown argument --scr; did you mean --src?"),
        (("predict", "ask"), "unknown command ask; expected qa or classify or ner"),
        (("convert", "--src", "no/where"), "no/where: no such folder; name the checkpoint's folder with --src"),
    ],
)
def test_a_wrong_word_is_one_line(words, said):
    result = door(*words)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.splitlines()[-1] == f"error: {said}"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_shows_the_help_of_its_command(verb):
    result = door(verb, "--help")
    assert result.returncode == 0 and result.stdout.startswith(f"usage: python -m mobilebert {verb} ")
    assert result.stdout.split("\nexamples:\n")[1].startswith(f"  python -m mobilebert {verb}")
