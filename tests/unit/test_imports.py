"""The import levels of docs/design.md, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Room -> level. A room is a folder of mobilebert/ or a file; the files of one room may import each other.
LEVELS = {
    "base": 0,
    "_aliases": 0,  # names modules of every level, and imports them when they are asked for
    "process": 1,
    "text": 1,
    "web": 1,
    "model": 1,
    "data": 2,
    "accel": 3,
    "native_engine": 3,
    "train": 4,
    "inference": 4,
    "convert": 5,
    "export": 5,
    "tasks": 5,
    "verify": 6,
    "demo": 6,
    "commands": 7,
    "__main__": 8,
}
# `train` has not heard of MobileBERT.
ONLY_LEVEL_0 = {"train"}
WITHOUT_PADDLE = ("base", "process", "text", "web", "data", "native_engine", "model.config")
REFERENCE = {"torch": "verify", "transformers": "verify", "tensorflow": "convert"}  # whose functions may


def room(module: str) -> str:
    """``mobilebert.data.qa.features`` -> ``data``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(source: str, package: str) -> list[tuple[str, bool]]:
    """The modules that a source imports, and whether each import stands inside a function.

    ``if TYPE_CHECKING:`` blocks are left out: they import nothing when the program runs.
    """
    found = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).strip(".")
            if base == "mobilebert":
                found.extend((f"mobilebert.{alias.name}", inside) for alias in node.names)
            else:
                found.append((base, inside))
        for child in ast.iter_child_nodes(node):
            visit(child, inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(ast.parse(source), False)
    return found


def complaints(module: str, source: str) -> list[str]:
    """What is not allowed in ``module``; empty if all is well."""
    own = room(module)
    if own not in LEVELS:
        return [f"{module}: no level; add it to docs/design.md and to this test"]
    bad = []
    for name, inside in imports(source, module.rpartition(".")[0]):
        top = name.split(".")[0]
        if top in REFERENCE and (own != REFERENCE[top] or not inside):
            bad.append(f"{module} imports {name}; only functions of {REFERENCE[top]} may")
        if top != "mobilebert" or name in ("mobilebert", "mobilebert.__version__") or room(name) == own:
            continue
        other = room(name)
        ceiling = 0 if own in ONLY_LEVEL_0 else LEVELS[own] - (LEVELS[own] > 0)
        if other not in LEVELS or LEVELS[other] > ceiling:
            bad.append(f"{module} (level {LEVELS[own]}) imports {name} (level {LEVELS.get(other)})")
    return bad


def modules() -> list[tuple[str, Path]]:
    files = sorted((ROOT / "mobilebert").rglob("*.py"))
    named = [(".".join(file.relative_to(ROOT).with_suffix("").parts), file) for file in files]
    return [
        (name.removesuffix(".__init__"), file)
        for name, file in named
        if file.name != "__init__.py" or file.parent.name != "mobilebert"
    ]


@pytest.mark.parametrize(("module", "file"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_downwards(module, file):
    assert complaints(module, file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("mobilebert.text.tokenizer", "from mobilebert.data.qa.features import read", "level 2"),
        ("mobilebert.data.qa.features", "from mobilebert import train", "level 4"),
        ("mobilebert.train.loop", "import mobilebert.model.config", "level 1"),
        ("mobilebert.train.loop", "from ..convert import hf", "level 5"),
        ("mobilebert.verify.model", "import torch", "only functions of verify"),
        ("mobilebert.data.qa.features", "def f():\n    import torch.nn", "only functions of verify"),
        ("mobilebert.export.fold", "class A:\n    def f(self):\n        from mobilebert.tasks import qa", "level 5"),
        ("mobilebert.novelty", "", "no level"),
    ],
)
def test_a_wrong_import_is_found(module, source, said):
    assert said in " ".join(complaints(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mobilebert.data.qa.features", "from mobilebert.text.tokenizer import MobileBertTokenizer"),
        ("mobilebert.model.heads", "from mobilebert.model.modeling import MobileBertModel"),
        ("mobilebert.verify.model", "def f():\n    import torch"),
        ("mobilebert.train.loop", "from mobilebert.base.files import write_json"),
        ("mobilebert.text.tokenizer", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mobilebert.a"),
    ],
)
def test_a_right_import_is_allowed(module, source):
    assert complaints(module, source) == []


BLOCK = """
import sys, importlib, pathlib
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"paddle", "torch", "transformers", "tensorflow"}:
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Block())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def import_without_paddle(names: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", BLOCK, *names], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_corridor_imports_without_paddle():
    names = [name for name, _ in modules() if name.startswith(tuple(f"mobilebert.{room}" for room in WITHOUT_PADDLE))]
    assert len(names) > 20 and all(any(name.endswith(room) for name in names) for room in WITHOUT_PADDLE)
    outcome = import_without_paddle(names)
    assert outcome.returncode == 0, outcome.stderr


def test_paddle_would_be_noticed():
    outcome = import_without_paddle(["mobilebert.model.modeling"])
    assert outcome.returncode != 0
    assert "paddle was imported" in outcome.stderr
