"""A file of questions or texts in, JSON lines out."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilebert import __version__
from mobilebert.base import digests
from mobilebert.base.errors import InputError, QuestionTooLongError
from mobilebert.commands.predict import view as view
from mobilebert.commands.predict.output import ERROR, errors_in, is_output, write_rows
from mobilebert.commands.predict.session import Model, check_pair
from mobilebert.data.classify.columns import Columns, find_text_columns, header_of
from mobilebert.data.classify.examples import Examples, FileRules, read_examples, read_lines
from mobilebert.data.qa.squad_json import SquadExample, id_text, is_empty, read_squad
from mobilebert.data.tables import JsonValue, bare, open_table
from mobilebert.data.texts import check_text
from mobilebert.inference import engines
from mobilebert.inference.predictor import Predictor, Reading


def answer_file(model: Model, path: Path, output: Path, overwrite: bool, options: dict[str, Any]) -> str:
    """Answer every question of a file.

    Args:
        model: which, and what runs it.
        path: see ``read_questions``.
        output: JSON lines: the keys of ``predict_view.reading_document``, ``id`` and ``fingerprint``; of a question
            that is empty or too long ``id``, ``error`` and ``fingerprint``.
        overwrite: begin ``output`` anew.
        options: of ``Predictor.read_batch``.

    Returns:
        What was done, in one line.

    Raises:
        InputError: bad input, or an ``output`` that is of another run; or, when all is written, questions that are
            empty or too long.
    """
    _check_paths(model, path, output)
    questions = read_questions(path)
    run = _run_digest(model, options, output)
    prints = [_row_digest(run, question.question, question.context) for question in questions]

    def make_compute():
        predictor = model.load()
        return lambda rows: answer_rows(predictor, questions[rows], options)

    ids = [question.id for question in questions]
    done = write_rows(output, ids, prints, make_compute, overwrite, "answering")
    failed = errors_in(output)
    if failed:
        raise InputError(
            f"{output}: {len(failed)} of {len(ids)} questions are not answered, their lines hold the error "
            f"(first: {failed[0]}); all others are answered"
        )
    return _summary(output, len(ids), done, "answers")


def classify_file(
    model: Model,
    path: Path,
    output: Path,
    overwrite: bool,
    columns: Sequence[str] | None,
    options: dict[str, Any],
) -> str:
    """Classify every text or pair of a file; arguments and result as of ``answer_file``.

    Args:
        model, path, output, overwrite: as there.
        columns: of the file; None looks for those that the model was trained on, then for well-known names.
        options: of ``Predictor.classify_batch``.

    Raises:
        InputError: bad input, or an ``output`` that is of another run; or, when all is written, texts that are empty.
    """
    _check_paths(model, path, output)
    examples = read_texts(path, columns, model.source.rules.columns)
    check_pair(model.source, examples.pairs is not None, "two columns (--text_column)")
    pairs = examples.pairs or [None] * len(examples)
    # What is None is left out: a file that an earlier version has begun goes on.
    said = {name: value for name, value in options.items() if value is not None or name == "max_seq_length"}
    run = _run_digest(model, said, output)
    prints = [_row_digest(run, text, pair) for text, pair in zip(examples.texts, pairs, strict=True)]

    def make_compute():
        predictor = model.load()
        return lambda rows: classify_rows(predictor, examples.take(range(len(examples))[rows]), options)

    done = write_rows(output, examples.ids, prints, make_compute, overwrite, "classifying")
    failed = errors_in(output)
    if failed:
        raise InputError(
            f"{output}: {len(failed)} of {len(examples)} texts are not classified, their lines hold the error "
            f"(first: {failed[0]}); all others are classified"
        )
    return _summary(output, len(examples), done, "texts")


def entities_file(
    model: Model, path: Path, output: Path, overwrite: bool, column: str | None, options: dict[str, Any]
) -> str:
    """Find the entities of every text of a file; arguments, result and errors as of ``classify_file``.

    Args:
        model, path, output, overwrite: as there.
        column: of the file; None looks for ``sentence`` and ``text``.
        options: of ``Predictor.entities_batch``.
    """
    _check_paths(model, path, output)
    examples = read_texts(path, (column,) if column else None, pairs=False)
    run = _run_digest(model, options, output)
    prints = [_row_digest(run, text, None) for text in examples.texts]

    def make_compute():
        predictor = model.load()
        return lambda rows: find_rows(predictor, examples.take(range(len(examples))[rows]), options)

    done = write_rows(output, examples.ids, prints, make_compute, overwrite, "finding entities")
    return _summary(output, len(examples), done, "texts")


def answer_rows(
    predictor: Predictor, questions: Sequence[SquadExample], options: dict[str, Any]
) -> list[dict[str, Any]]:
    """The objects of questions that are answered together; of one that is empty or too long, its ``error``."""
    readings = _read(predictor, questions, options)
    return [
        {ERROR: reading} if isinstance(reading, str) else view.reading_document(row.question, row.context, reading)
        for row, reading in zip(questions, readings, strict=True)
    ]


def classify_rows(predictor: Predictor, examples: Examples, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of texts that are classified together; of one that is empty, its ``error``."""
    pairs = examples.pairs or [None] * len(examples)
    # Of a pair, one of the two may be empty, as in QQP's files.
    asked = [row for row in range(len(examples)) if bare(examples.texts[row]) or bare(pairs[row] or "")]
    seconds = None if examples.pairs is None else [examples.pairs[row] for row in asked]
    results = predictor.classify_batch([examples.texts[row] for row in asked], seconds, **options)
    found = dict(zip(asked, results, strict=True))
    return [
        view.classification_document(examples.texts[row], pairs[row], found[row])
        if row in found
        else {ERROR: f"text {examples.ids[row]} is empty"}
        for row in range(len(examples))
    ]


def find_rows(predictor: Predictor, examples: Examples, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of texts whose entities are found together."""
    found = predictor.entities_batch(examples.texts, **options)
    return [view.entities_document(text, one) for text, one in zip(examples.texts, found, strict=True)]


def _read(predictor: Predictor, questions: Sequence[SquadExample], options: dict[str, Any]) -> list[Reading | str]:
    """Answer questions together; of one that is empty or too long, what is wrong with it."""
    wrong = {number: f"question {row.id} is empty" for number, row in enumerate(questions) if is_empty(row)}

    def ask() -> tuple[list[int], list[Reading]]:
        asked = [number for number in range(len(questions)) if number not in wrong]
        texts = [[getattr(questions[number], name) for number in asked] for name in ("question", "context", "id")]
        try:
            return asked, predictor.read_batch(texts[0], texts[1], ids=texts[2], **options)
        except QuestionTooLongError as error:
            wrong.update({asked[place]: message for place, message in error.messages.items()})
            return ask()

    readings = dict(zip(*ask(), strict=True))
    return [wrong[number] if number in wrong else readings[number] for number in range(len(questions))]


def read_questions(path: Path) -> list[SquadExample]:
    """Questions with their contexts; a question may be empty.

    Args:
        path: SQuAD's JSON (``.json``), or a table (``.jsonl``, ``.tsv``, ``.csv``) with the columns ``question`` and
            ``context``, and ``id`` or else the rows counted from 0; each may end in ``.gz``.

    Raises:
        InputError: a file of another format, or a row without a context, or whose question is no text; the line is
            named.
    """
    if _suffix(path) == ".json":
        return read_squad(path, purpose="answer", may_be_empty=True)[0]
    if _suffix(path) not in (".jsonl", ".tsv", ".csv"):
        raise InputError(f"{path}: expected SQuAD's .json, or .jsonl, .tsv or .csv with columns question and context")
    table = open_table(path, wanted=("question", "context"))  # others may be lacking: answers, titles
    question_at, context_at = table.positions(["question", "context"])
    id_at = table.positions(["id"])[0] if "id" in table.header else None
    questions = []
    for number, (line, row) in enumerate(table.rows):
        if len(row) != len(table.header):
            raise InputError(f"{path}:{line}: {len(row)} columns, expected {len(table.header)}")
        for at in (question_at, context_at):
            table.check_text(line, row, at)
        if not row[context_at].strip():
            raise InputError(f"{path}:{line}: context is empty")
        name = str(number) if id_at is None else id_of(f"{path}:{line}: id", row[id_at])
        questions.append(SquadExample(name, row[question_at], row[context_at], (), ()))
    if not questions:
        raise InputError(f"{path}: has no question")
    names = {question.id for question in questions}
    if len(names) < len(questions):
        raise InputError(f"{path}: only {len(names)} different ids for {len(questions)} questions; ids must be unique")
    return questions


def id_of(where: str, cell: str) -> str:
    """An id of a table, as an id of SQuAD's JSON is read; ``where`` begins the message."""
    if getattr(cell, "kind", None) == "absent":
        raise InputError(f"{where} is missing, which the first line has")
    value: Any = cell if not isinstance(cell, JsonValue) else json.loads(cell) if cell else None
    text = id_text(where, value)
    check_text(where, text)
    return text


def read_texts(path: Path, columns: Sequence[str] | None, noted: Columns | None = None, pairs: bool = True) -> Examples:
    """Texts or pairs of texts; they may be empty.

    Args:
        path: a table (``.tsv``, ``.csv``, ``.jsonl``, ``.json``) with named columns, or ``.txt`` with one text a line;
            each may end in ``.gz``.
        columns: one, or two for pairs; None looks for those in ``noted``, then for well-known names.
        noted: columns of the table that the model was trained on.
        pairs: whether to look for two.

    Raises:
        InputError: a file of another format, without such columns, or without text.
    """
    if _suffix(path) == ".txt":
        if columns is not None:
            raise InputError(f"--text_column: {path} is lines of text without columns; name it .tsv if it has some")
        return read_lines(path)
    return read_examples(path, columns or _text_columns(path, noted, pairs), None, None, FileRules(may_be_empty=True))


def _text_columns(path: Path, noted: Columns | None, pairs: bool) -> Sequence[str]:
    return text_columns(path, header_of(path), noted, pairs)


def text_columns(path: Path, header: Sequence[str], noted: Columns | None, pairs: bool) -> Sequence[str]:
    """The text column of a table, or the two of pairs; arguments as of ``read_texts``.

    Raises:
        InputError: it cannot be told from the header.
    """
    found = noted.texts if noted is not None and set(noted.texts) <= set(header) else find_text_columns(header, pairs)
    if found is None:
        raise InputError(f"{path}: which of its columns is the text? --text_column {'|'.join(header)}")
    return found


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _check_paths(model: Model, path: Path, output: Path) -> None:
    if output.is_dir():
        raise InputError(f"{output}: a folder, but `output` is a file of JSON lines")
    if output.exists() and not output.is_file():
        raise InputError(f"{output}: a device or pipe, but `output` is a file that a later run can go on with")
    if output.exists() and path.exists() and output.samefile(path):
        raise InputError(f"{output}: is `input`; choose another `output`")
    if output.exists() and output.resolve().parent == model.source.folder.resolve() and not is_output(output):
        raise InputError(f"{output}: is a file of the model; choose another `output`")


def _run_digest(model: Model, options: dict[str, Any], output: Path) -> str:
    """A checksum of all that a result depends on but its texts."""
    engine = model.engine or engines.best_engine(model.source)
    return digest_of([__version__, model_files(model.source.folder, output), engine, model.threads, options])


def model_files(folder: Path, output: Path) -> dict[str, str]:
    """The digests of a model's files, which may have an output among them."""
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and file.suffix != ".md"
        and not file.name.startswith(".")
        and file.resolve() != output.resolve()
    ]
    return {file.name: digests.digest(file) for file in files}


def _row_digest(run: str, first: str, second: str | None) -> str:
    return digest_of([run, first, second])[:16]


def digest_of(value: Any) -> str:
    """A checksum of a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _summary(output: Path, count: int, done: int, what: str) -> str:
    there = f", {done} of them were there already" if done else ""
    return f"{output}: {count} {what}{there}"
