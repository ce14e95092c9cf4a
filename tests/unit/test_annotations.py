"""``py.typed`` is a promise: every public function says the types of its arguments and of its result."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "mobilebert").rglob("*.py"))
# Called by argparse and paddle with arguments of their own, as their own classes declare them.
OVERRIDES = {"parse_known_args", "add_usage", "error"}


def unannotated(source: str) -> list[str]:
    """Public functions and methods of a module that lack a type; those inside functions are nobody's interface."""
    found = []

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                visit(node.body, f"{node.name}.")
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                is_public = not node.name.startswith("_") and node.name not in OVERRIDES
                if not is_public and node.name != "__init__":
                    continue
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if prefix and not any(getattr(mark, "id", "") == "staticmethod" for mark in node.decorator_list):
                    arguments = arguments[1:]
                missing = [argument.arg for argument in arguments if argument.annotation is None]
                if node.returns is None and node.name != "__init__":
                    missing.append("its result")
                if missing:
                    found.append(f"{node.lineno}: {prefix}{node.name} ({', '.join(missing)})")

    visit(ast.parse(source).body, "")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_public_functions_are_annotated(file):
    assert unannotated(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def load(path) -> str: ...", ["1: load (path)"]),
        ("def load(path: str): ...", ["1: load (its result)"]),
        ("class A:\n    def __init__(self, size): ...", ["2: A.__init__ (size)"]),
        ("class A:\n    @staticmethod\n    def f(x) -> int: ...", ["3: A.f (x)"]),
        ("class A:\n    def f(self, *, x) -> int: ...", ["2: A.f (x)"]),
        ("def _private(x): ...\nclass _B:\n    def f(self, x): ...", []),
        ("def f(x: int, *further, **named) -> int:\n    def inner(y): ...", []),
    ],
)
def test_what_lacks_a_type_is_found(source, found):
    assert unannotated(source) == found
