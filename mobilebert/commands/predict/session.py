"""One question or text, or many at a prompt."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text
from mobilebert.commands.predict import view as view
from mobilebert.commands.predict.output import json_line
from mobilebert.data.texts import LONGEST_TEXT, check_text
from mobilebert.inference.predictor import Predictor
from mobilebert.inference.source import Source

_LONGEST_INPUT = 4 * LONGEST_TEXT  # bytes of standard input, at most four a character
PAIR_MARK = "||"  # between two texts on a line; a tab does too

_HELP = """\
  :context FILE   another passage, from a file
  :context        another passage, typed or pasted here, ended by an empty line
  :help           this
  an empty line, :quit or Ctrl-D ends"""


@dataclass(frozen=True)
class Model:
    """Which model, and what runs it.

    Attributes:
        source: its folder.
        engine, threads, verify: as of ``Predictor``.
    """

    source: Source
    engine: str | None
    threads: int | None
    verify: bool

    def load(self) -> Predictor:
        """Load it."""
        return Predictor(self.source, self.engine, self.threads, verify=self.verify)


class Terminal:
    """Lines from standard input: at a prompt with a history where it is a terminal, else as they come."""

    def __init__(self):
        if sys.stdin is None:
            raise InputError("standard input is closed; give --question or --text")
        self.is_interactive = sys.stdin.isatty()
        self.line_number = 0
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # bad bytes are named, not a traceback
        if self.is_interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 (gives input() its history and its editing keys)

    def ask(self, prompt: str) -> str | None:
        """One line without its end; None at the end of the input."""
        self.line_number += 1
        if self.is_interactive and sys.stdout.isatty():
            try:
                return input(prompt)
            except EOFError:
                print()
                return None
            except KeyboardInterrupt:
                print()
                raise
        if self.is_interactive:
            print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline(LONGEST_TEXT + 1)  # one more than a text may have: it is refused
        return line.rstrip("\r\n") if line else None

    def lines(self, prompt: str) -> Iterator[str]:
        """What is asked, until the end: at a prompt an empty line, in a file or pipe its end."""
        while (line := self.ask(prompt)) is not None:
            if line.strip():
                yield line.strip()
            elif self.is_interactive:
                return

    def say(self, text: str) -> None:
        """A remark to the person; not part of the results."""
        if self.is_interactive:
            print(text, file=sys.stderr)

    def answer_all(self, prompt: str, answer: Callable[[str], None]) -> None:
        """Answer line by line. A mistake is named: a person goes on after it, a program is stopped.

        Raises:
            InputError: standard input is no terminal and a line of it is wrong; the line is named.
        """
        for line in self.lines(prompt):
            if line == ":quit":
                return
            try:
                answer(line)
            except InputError as error:
                if not self.is_interactive:
                    raise InputError(f"standard input, line {self.line_number}: {error}") from None
                print(f"error: {cli.as_flags(str(error))}", file=sys.stderr)


class AnsweringSession:
    """Questions about a passage.

    Args:
        model: see ``Model``.
        top_k: answers to show.
        options: further ones of ``Predictor.read``.
        as_json: one JSON object a question.
    """

    def __init__(self, model: Model, top_k: int, options: dict[str, Any], as_json: bool):
        self.model = model
        self.options = {"top_k": top_k, **options}
        self.as_json = as_json
        self.style = view.Style.of(sys.stdout)
        self.context = ""

    def take_passage(self, file: str | None, text: str | None) -> None:
        """Read the passage: a file, ``-`` for standard input, or the text itself.

        Raises:
            InputError: no such file, no text, or nothing in it.
        """
        if file is None and text is None:
            return
        self.context = _checked("--context_text", text) if text is not None else read_passage(file)

    def run(self, question: str | None) -> None:
        """Answer ``question``; None asks for questions until there are no more."""
        if question is not None:
            self.predictor = self.model.load()
            self.answer(question)
            return
        terminal = Terminal()
        if not self.context and not self._type_passage(terminal):
            return
        self.predictor = self.model.load()
        terminal.say("Ask about the passage; :help says what else there is.")
        terminal.answer_all("question> ", lambda line: self._take(line, terminal))

    def answer(self, question: str) -> None:
        """Answer one question about the passage, on standard output."""
        reading = self.predictor.read(question, self.context, **self.options)
        if self.as_json:
            _print_json(view.reading_document(question, self.context, reading))
            return
        threshold = self.options.get("null_score_diff_threshold")
        threshold = self.predictor.rules.null_score_diff_threshold if threshold is None else threshold
        print(view.show_reading(self.context, reading, threshold, self.style), flush=True)

    def _take(self, line: str, terminal: Terminal) -> None:
        command, _, argument = line.partition(" ")
        if command == ":help":
            terminal.say(_HELP)
        elif command == ":context" and argument.strip():
            self.context = read_passage(argument.strip())
            terminal.say(f"{argument.strip()}: {len(self.context):,} characters")
        elif command == ":context":
            self._type_passage(terminal)
        elif command.startswith(":"):
            raise InputError(f"{command}: no such command; :help lists them")
        else:
            if not self.as_json and not terminal.is_interactive:
                print(f"> {view.printable(line)}")
            self.answer(line)
            print(end="" if self.as_json else "\n", flush=True)

    def _type_passage(self, terminal: Terminal) -> bool:
        """Let the passage be typed; False (and the old one stays) where nothing is."""
        terminal.say("Type or paste the passage; an empty line ends it.")
        lines, characters = [], 0
        while characters <= LONGEST_TEXT and (line := terminal.ask("passage> ")):
            lines.append(line)
            characters += len(line)
        if not "".join(lines).strip():
            return False
        self.context = "\n".join(lines)
        return True


class ClassifyingSession:
    """Texts, or pairs of texts.

    Args:
        model: see ``Model``.
        options: as of ``Predictor.classify``.
        as_json: one JSON object a text.
    """

    def __init__(self, model: Model, options: dict[str, Any], as_json: bool):
        self.model = model
        self.options = options
        self.as_json = as_json
        self.style = view.Style.of(sys.stdout)

    def run(self, text: str | None, pair: str | None) -> None:
        """Classify ``text`` (and ``pair``); None asks for texts until there are no more."""
        if text is not None:
            check_pair(self.model.source, pair is not None)
            self.predictor = self.model.load()
            self.classify(text, pair)
            return
        terminal = Terminal()
        self.predictor = self.model.load()
        what = {True: "Two texts", False: "One text", None: "One text, or two,"}[self.model.source.rules.takes_pairs]
        between = "" if self.model.source.rules.takes_pairs is False else f" with {PAIR_MARK} between them"
        terminal.say(f"{what} a line{between}; an empty line, :quit or Ctrl-D ends.")
        terminal.answer_all("text> ", lambda line: self._take(line, terminal))

    def classify(self, text: str, pair: str | None) -> None:
        """Classify one text or pair, on standard output."""
        result = self.predictor.classify(text, pair, **self.options)
        if self.as_json:
            _print_json(view.classification_document(text, pair, result))
            return
        print(view.show_classification(result, self.predictor.is_regression, self.style), flush=True)

    def _take(self, line: str, terminal: Terminal) -> None:
        if self.model.source.rules.takes_pairs is False:
            text, pair = line, None
        else:
            texts = [part.strip() for part in line.split("\t" if "\t" in line else PAIR_MARK, maxsplit=1)]
            text, pair = texts[0], texts[1] if len(texts) == 2 else None
        check_pair(self.model.source, pair is not None, f"two texts with {PAIR_MARK} between them")
        if not self.as_json and not terminal.is_interactive:
            print(f"> {view.printable(line)}")
        self.classify(text, pair)
        print(end="" if self.as_json else "\n", flush=True)


class EntitySession:
    """Texts whose entities are wanted.

    Args:
        model: see ``Model``.
        options: of ``Predictor.entities``.
        as_json: one JSON object a text.
    """

    def __init__(self, model: Model, options: dict[str, Any], as_json: bool):
        self.model, self.options, self.as_json = model, options, as_json
        self.style = view.Style.of(sys.stdout)

    def run(self, text: str | None) -> None:
        """Find the entities of ``text``; None asks for texts until there are no more."""
        if text is not None:
            self.predictor = self.model.load()
            self.find(text)
            return
        terminal = Terminal()
        self.predictor = self.model.load()
        terminal.say("One text a line; an empty line, :quit or Ctrl-D ends.")
        terminal.answer_all("text> ", self._take)

    def find(self, text: str) -> None:
        """The entities of one text, on standard output."""
        found = self.predictor.entities(text, **self.options)
        if self.as_json:
            _print_json(view.entities_document(text, found))
            return
        print(view.show_entities(text, found, self.style), flush=True)

    def _take(self, line: str) -> None:
        self.find(line)
        print(end="" if self.as_json else "\n", flush=True)


def read_passage(file: str) -> str:
    """A passage from a text file, or from standard input for ``-``.

    Raises:
        InputError: no such file, no text, or nothing in it.
    """
    if file != "-":
        return _checked(file, read_text(file))
    raw = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    if len(raw) > _LONGEST_INPUT:
        raise InputError(f"standard input: has more than {LONGEST_TEXT:,} characters; cut it")
    try:
        return _checked("standard input", raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"standard input: not UTF-8 text (byte {error.start})") from None


def check_pair(source: Source, has_pair: bool, how: str = "the second with --text_pair") -> None:
    """Hold texts to what the model was trained on, where its checkpoint says that.

    Raises:
        InputError: one text for a model of pairs, or the other way round.
    """
    if source.rules.takes_pairs and not has_pair:
        raise InputError(f"{source.folder}: was trained on pairs of texts; give {how}")
    if source.rules.takes_pairs is False and has_pair:
        raise InputError(f"{source.folder}: was trained on single texts; leave the second one out")


def _checked(name: str, text: str) -> str:
    check_text(f"{name}:", text)
    if "\0" in text:
        raise InputError(f"{name}: holds zero bytes, so it is no text file")
    if not text.strip():
        raise InputError(f"{name}: is empty; expected a passage")
    return text


def _print_json(document: dict[str, Any]) -> None:
    print(json_line(document), end="", flush=True)
