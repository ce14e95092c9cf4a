"""Reading the repository's Markdown: blocks, commands, links, and what of it does not hold."""

import ast
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from mobilebert.commands import VERBS
from mobilebert.commands.train import KINDS

ROOT = Path(__file__).parents[2]
WHERE = (
    "*.md",
    "docs/*.md",
    "findings/*.md",
    "samples/**/*.md",
    "benchmarks/results/*.md",
    "weight/README.md",
    "task/README.md",
)
PLACES = (".", "scripts", "mobilebert", "mobilebert/*", "samples", "docs", "benchmarks/results")  # of bare names
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:[A-Z_]+=\S* )*(?:bash|python|\.venv/bin/python|make|mobilebert(?:-\w+)?)(?: |$)")
ENDINGS = r"(?:py|sh|md|toml|txt|json|jsonl|png|log|onnx|bin|safetensors|pdparams|tsv|npz)"
PATH = re.compile(rf"(?:[\w.*-]+/)+[\w.*-]*|[\w*-][\w.*-]*\.{ENDINGS}|Makefile")


def documents() -> list[str]:
    """Every Markdown file of the repository, by its path from the root."""
    return sorted({path.relative_to(ROOT).as_posix() for pattern in WHERE for path in ROOT.glob(pattern)})


def read(name: str) -> str:
    """A document's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block; comments of code are left out, since they are translated."""
    return [
        (language, body if language == "text" else re.sub(r"(?:(?<=\s)|^)[ \t]*#.*", "", body, flags=re.MULTILINE))
        for language, body in FENCE.findall(text)
    ]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return FENCE.sub("", text)


def inline_code(text: str) -> Counter:
    """What stands between single backticks, with its count."""
    return Counter(" ".join(words.split()) for words in re.findall(r"`([^`]+?)`", prose(text)))


def commands(text: str) -> list[list[str]]:
    """Every command line as words: those of bash blocks and those in inline code."""
    lines = []
    for language, body in blocks(text):
        if language == "bash":
            lines += re.sub(r"\\\n\s*", "", body).splitlines()
    lines += re.findall(r"^    (\S.*)$", re.sub(r"\\\n\s*", "", prose(text)), re.MULTILINE)  # indented blocks
    lines += inline_code(text)
    parts = [part.strip() for line in lines for part in re.split(r"&&|\||;", line)]
    return [without_settings(shlex.split(part)) for part in parts if COMMAND.match(part)]


def without_settings(words: list[str]) -> list[str]:
    """A command without what it sets in the environment before it."""
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words


def problems(name: str, text: str) -> list[str]:
    """Everything in a document that is not so: links, files, commands, flags, Python."""
    return [
        *broken_links(name, text),
        *missing_files(name, text),
        *(problem for words in commands(text) for problem in wrong_command(words)),
        *unknown_flags(text),
        *broken_python(text),
    ]


# ---- links ----


def links(text: str) -> list[str]:
    """Targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]*)[^)]*\)", re.sub(r"`[^`\n]+`", "`", prose(text)))


def anchors(text: str) -> set[str]:
    """The fragments that a rendered document's headings answer to, as GitHub makes them."""
    slugs, seen = set(), Counter()
    for heading in re.findall(r"^#+ +(.+?)\s*$", prose(text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        slugs.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return slugs


def broken_links(name: str, text: str) -> Iterator[str]:
    """Relative links without a target; addresses that cannot be one. Nothing is fetched."""
    for link in links(text):
        if "://" in link or link.startswith("mailto:"):
            if not is_address(link):
                yield f"no address: {link}"
            continue
        path, _, fragment = link.partition("#")
        target = (ROOT / name).parent / path
        if not target.exists():
            yield f"no file {link}"
        elif fragment and fragment not in anchors(target.read_text(encoding="utf-8") if path else text):
            yield f"no heading {link}"


def is_address(link: str) -> bool:
    """Whether a link has the form of a public web address."""
    try:
        parts = urlsplit(link)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_local = host in ("localhost", "127.0.0.1") and port is not None
    is_public = bool(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}", host))
    return parts.scheme in ("http", "https") and (is_local or is_public) and not re.search(r"[\s<>\"{}|\\^`]", link)


# ---- files named in backticks ----


def missing_files(name: str, text: str) -> Iterator[str]:
    """Paths in backticks that are neither in the tree, nor ignored by git, nor written by the code."""
    for words in inline_code(text):
        if PATH.fullmatch(words) and not file_exists(words, (ROOT / name).parent):
            yield f"no file {words}"


def file_exists(path: str, folder: Path) -> bool:
    """Whether a path as a document writes it (perhaps with ``*``) names something."""
    first, slash, _ = path.partition("/")
    here = folder.relative_to(ROOT).as_posix()
    if slash and not path.endswith("/") and not (ROOT / first).exists() and not re.search(rf"\.{ENDINGS}$", path):
        return True  # a name such as google/mobilebert-uncased
    if is_ignored(path) or is_ignored(f"{here}/{path}"):
        return True
    places = (here, *PLACES)
    if any(next(ROOT.glob(f"{place}/{path.rstrip('/')}"), None) for place in places):
        return True
    written = re.escape(path).replace(r"\*", r"[^\"]*")
    return re.search(f'["/]{written}"', source_code()) is not None


@lru_cache
def ignored_patterns() -> tuple[str, ...]:
    lines = read(".gitignore").splitlines()
    return tuple(line for line in lines if line and not line.startswith(("!", "#")))


def is_ignored(path: str) -> bool:
    """Whether git ignores a path: it is then made by a run."""
    return any(fnmatch(path, f"{pattern}*") for pattern in ignored_patterns())


@lru_cache
def source_code() -> str:
    """All Python and shell of the package and its scripts: where the names of written files stand."""
    files = [
        path for folder in ("mobilebert", "scripts", "benchmarks", "samples") for path in ROOT.glob(f"{folder}/**/*.*")
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".sh"))


# ---- commands ----


def wrong_command(words: list[str]) -> Iterator[str]:
    """What a command names that is not there: its script, its flags, a value that a flag does not take."""
    line = " ".join(words)
    program, arguments = words[0], words[1:]
    if program == "make":
        yield from (f"{line}: no target {word}" for word in arguments if word not in make_targets() and "=" not in word)
        return
    if program == "mobilebert" or arguments[:2] == ["-m", "mobilebert"]:
        verb, *arguments = arguments[2 if program != "mobilebert" else 0 :] or ["--help"]
        if verb not in {*VERBS, "--help", "--version"}:
            yield f"{line}: no verb {verb}"
            return
        reached = [f"mobilebert {verb}"] if verb in VERBS else []
        if verb == "train" and arguments and not arguments[0].startswith("-"):
            kind, *arguments = arguments
            if kind not in KINDS:
                yield f"{line}: no kind of training {kind}"
                return
            reached = [f"mobilebert train {kind}"]
    elif program.startswith("mobilebert-"):
        if program not in console_commands():
            yield f"{line}: no console command {program}"
            return
        reached = [f"{program.removeprefix('mobilebert-').replace('-', '_')}.py"]
        reached = [script if (ROOT / script).exists() else f"run_{script}" for script in reached]
    elif arguments and arguments[0] in ("-m", "-c"):
        if arguments[0] == "-c" or not arguments[1].startswith("mobilebert"):
            return
        reached = [arguments[1]]
    else:
        named = [word for word in arguments if re.search(r"\.(py|sh)$", word)]
        if missing := [script for script in named if not (ROOT / script).exists()]:
            yield from (f"no file {script}" for script in missing)
            return
        reached = [python for script in named for python in reached_scripts(script)]
    flags = [word.split("=")[0] for word in arguments if word.startswith("--")]
    known = own_flags(arguments)
    if flags:
        known |= {flag for script in reached for flag in known_flags(script)}
    if unknown := [flag for flag in flags if flag not in known]:
        yield from (f"{line}: no flag {flag}" for flag in unknown)
    elif program != "bash" and len(reached) == 1 and (ROOT / reached[0]).exists():
        script = next((i for i, word in enumerate(arguments) if word.endswith(".py")), None)
        given = arguments[script + 1 :] if script is not None else [word for word in arguments if word not in reached]
        result = run_help(reached[0], *given)
        if result.returncode:
            yield f"{line}: {result.stderr.strip().splitlines()[-1]}"


def reached_scripts(script: str) -> list[str]:
    """The Python scripts that a script's flags reach: itself, or those that a shell script hands ``"$@"`` to."""
    if script.endswith(".py"):
        return [script]
    text = read(script)
    python = re.findall(r'(?:^|\s)(?:launch|"\$PYTHON") (\S+\.py)', text)
    modules = re.findall(r'"\$PYTHON" -m (mobilebert(?:\.\S+| [\w-]+))', text)  # or a verb
    shells = re.findall(r'bash (scripts/\w+\.sh) [^\n]*"\$@"', text)
    return [*python, *modules, *(reached for shell in shells for reached in reached_scripts(shell))]


@lru_cache
def own_flags_of(script: str) -> frozenset[str]:
    text = read(script) if (ROOT / script).exists() else ""
    labels = re.findall(r"((?:-[\w-]+ \| )*--[\w-]+)\)", text)  # of a case: one, or several with bars between
    return frozenset(re.findall(r"--[\w-]+", " ".join(labels))) | {"--help"}


def own_flags(arguments: list[str]) -> set[str]:
    """Flags that the shell scripts of a command read themselves."""
    return {flag for word in arguments if word.endswith(".sh") for flag in own_flags_of(word)}


@lru_cache
def run_help(script: str, *arguments: str) -> subprocess.CompletedProcess:
    """A script's help; with arguments before it, argparse checks their types and choices on the way."""
    named = [script] if script.endswith(".py") else ["-m", *script.split()]
    command = [sys.executable, *named, *arguments, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@lru_cache
def known_flags(script: str) -> frozenset[str]:
    """The options that a Python script's help lists, and those of its sub-commands (``qa|classify``)."""
    result = run_help(script)
    assert result.returncode == 0, f"{script} --help: {result.stderr}"
    subcommands = re.findall(r"^  ([\w-]+(?:\|[\w-]+)+)$", result.stdout, re.MULTILINE)
    texts = [result.stdout, *(run_help(script, name).stdout for names in subcommands for name in names.split("|"))]
    options = [line.strip() for text in texts for line in text.splitlines() if re.match(r"\s+-", line)]
    return frozenset(flag for line in options for flag in re.findall(r"--[\w-]+", re.split(r"\s{2,}", line)[0]))


@lru_cache
def all_flags() -> frozenset[str]:
    """The options of all scripts together, and those that shell scripts read."""
    candidates = [*ROOT.glob("*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("samples/**/*.py")]
    with_help = [path for path in candidates if path.parent == ROOT or "parse" in path.read_text(encoding="utf-8")]
    shells = [f"scripts/{path.name}" for path in ROOT.glob("scripts/*.sh")]
    scripts = {path.relative_to(ROOT).as_posix() for path in with_help}
    scripts |= {script for shell in shells for script in reached_scripts(shell) if not script.startswith("scripts/")}
    found = [known_flags(script) for script in scripts] + [own_flags_of(shell) for shell in shells]
    return frozenset(flag for flags in found for flag in flags)


def unknown_flags(text: str) -> Iterator[str]:
    """Options in backticks without a command, as ``--portable``, that no script has."""
    for words in inline_code(text):
        flag = words.split()[0].split("=")[0] if words.strip() else ""
        if re.fullmatch(r"--[a-z][\w-]*", flag) and flag not in all_flags():
            yield f"no script has {flag}"


@lru_cache
def make_targets() -> frozenset[str]:
    path = ROOT / "Makefile"
    return frozenset(re.findall(r"^([\w-]+):", path.read_text(encoding="utf-8"), re.MULTILINE) if path.exists() else ())


@lru_cache
def console_commands() -> frozenset[str]:
    return frozenset(re.findall(r"^(mobilebert-[\w-]+) *=", read("pyproject.toml"), re.MULTILINE))


# ---- Python ----


def broken_python(text: str) -> Iterator[str]:
    """Python blocks that do not compile, or import what is not there."""
    for language, body in FENCE.findall(text):
        if language != "python":
            continue
        try:
            tree = ast.parse(body)
        except SyntaxError as error:
            yield f"python: {error.msg}, line {error.lineno}"
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                try:
                    exec(compile(ast.Module([node], []), "<document>", "exec"), {})
                except ImportError as error:
                    yield f"python: {error}"
