"""The API pages: public classes with their shapes, no network, and a warning that ends the build."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("pdoc", reason="no pdoc: bash scripts/setup.sh")


def build(*arguments, **settings):
    command = [sys.executable, "scripts/docs.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **settings)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    names = ("mobilebert.model.heads", "mobilebert.text.tokenizer", "mobilebert.train.optim")
    result = build("--output_dir", folder, *names)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{folder}/index.html: 4 pages\n"  # the three and the index
    return folder / "mobilebert"


def text(page):
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_public_classes_are_there_with_their_shapes(pages):
    page = (pages / "model" / "heads.html").read_text(encoding="utf-8")
    for name in ("PreTraining", "MaskedLM", "QuestionAnswering", "SequenceClassification", "TokenClassification"):
        assert f'id="MobileBertFor{name}.forward"' in page
    assert "[B, S, V]" in text(pages / "model" / "heads.html")
    tokenizer = text(pages / "text" / "tokenizer.html")
    assert "doc_stride" in tokenizer and "Raises" in tokenizer


def test_what_is_private_is_not(pages):
    assert 'id="_' not in (pages / "model" / "heads.html").read_text(encoding="utf-8")


def test_pages_need_no_network(pages):
    for page in pages.parent.rglob("*.html"):
        assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', page.read_text(encoding="utf-8")) == []


def test_a_warning_ends_the_build(tmp_path):
    """Negative control."""
    (tmp_path / "broken.py").write_text('__all__ = ["absent"]\n')
    result = build("--output_dir", tmp_path / "out", "broken", env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin"})
    assert result.returncode == 2 and "Found 'absent' in broken.__all__" in result.stderr
