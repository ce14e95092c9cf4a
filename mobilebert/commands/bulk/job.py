"""What is to be done with every block of rows, and the doing of one: all that a worker needs, without Ray."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert import __version__
from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_path, write_text
from mobilebert.commands.bulk import tables
from mobilebert.commands.predict.batch import answer_rows, classify_rows, digest_of, find_rows, id_of, model_files
from mobilebert.commands.predict.output import ERROR, json_line
from mobilebert.data import slices
from mobilebert.data.classify.examples import Examples
from mobilebert.data.qa.squad_json import SquadExample
from mobilebert.data.slices import Slice
from mobilebert.data.tables import Table
from mobilebert.inference.predictor import Predictor

FORMATS = ("jsonl", "parquet")
TRIES = ".tries"  # a byte for each time that a block was begun; hidden, and gone when it is finished
_MOST_TRIES = 5
FAILED = "_failed"  # the folder of the rows without a result; readers of a folder pass over such names
# Rows that the model is given together: some hundred sort well by length, and their texts and outputs stay small.
_CALL_ROWS = 256
_CALL_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class Block:
    """A slice of an input file, and the name of what is made of it.

    Attributes:
        piece: the slice.
        file: the name of its file below the input's folder.
        name: of the output, without its suffix.
    """

    piece: Slice
    file: str
    name: str


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        task: ``"qa"``, ``"classify"`` or ``"ner"``.
        folder: of the model, the same on every machine.
        engine: as of ``Predictor``.
        options: of ``Predictor``'s method.
        columns: question and context; a text; or a pair.
        id_column: names each row; None: its file and its number.
        output: the folder.
        format: one of ``FORMATS``.
        model: ``model_digest`` of the folder.
        version: of this package.
    """

    task: str
    folder: str
    engine: str
    options: dict[str, Any]
    columns: tuple[str, ...]
    id_column: str | None
    output: str
    format: str
    model: str
    version: str = __version__

    def target(self, block: Block) -> Path:
        """The file of a block's results: where it is, the block is finished."""
        return Path(self.output, f"{block.name}.{self.format}")

    def failures(self, block: Block) -> Path:
        """The file of a block's rows without a result; only where there are any."""
        return Path(self.output, FAILED, f"{block.name}.jsonl")

    def load(self, threads: int | None = None, verify: bool = False) -> Predictor:
        """The model, which answers a text of one letter first, so that what is wrong with a setting is said.

        Raises:
            InputError: as of ``Predictor`` and its methods; another version of this package, or another model.
        """
        if self.version != __version__:
            raise InputError(f"mobilebert-paddle {__version__} is installed here, the run is of {self.version}")
        if model_digest(self.folder) != self.model:
            raise InputError(f"{self.folder}: is another model here than where the run began")
        predictor = Predictor(self.folder, self.engine, threads, verify=verify)
        self._compute(predictor, ["0"], [["a"] * len(self.columns)])
        return predictor

    def answer(self, predictor: Predictor, block: Block) -> int:
        """Do a block: its rows with a result become one file, the others another.

        A block that is finished is left as it is: Ray asks again where the machine with the reply was lost.

        Returns:
            How many rows have no result.
        """
        target, failures = self.target(block), self.failures(block)
        if target.exists():
            return count_lines(failures)
        with self._counted(block):
            return self._answer(predictor, block, target, failures)

    @contextmanager
    def _counted(self, block: Block) -> Iterator[None]:
        """Count how often a block is begun: Ray (2.60) begins one again for ever whose workers die of it."""
        path = Path(self.output, f".{block.name}{TRIES}")
        try:
            tries = path.stat().st_size
        except FileNotFoundError:
            tries = 0
        if tries >= _MOST_TRIES:  # more where two workers had the block at a time
            first, last = block.piece.first, block.piece.first + block.piece.rows - 1
            raise InputError(
                f"{block.piece.path}: rows {first} to {last}: {tries} workers died over them; is there too little "
                "memory? fewer `workers` or `block_rows` need less"
            )
        with open(path, "ab") as handle:
            handle.write(b".")
        yield
        path.unlink(missing_ok=True)

    def _answer(self, predictor: Predictor, block: Block, target: Path, failures: Path) -> int:
        rows, failed = self._read(block)
        results: dict[int, dict[str, Any]] = {}
        for part in _by_length(rows):
            names, cells = zip(*(rows[number] for number in part), strict=True)
            for number, document in zip(part, self._results(predictor, names, cells), strict=True):
                if ERROR in document:
                    failed[number] = rows[number][0], document[ERROR]
                else:
                    results[number] = {"id": rows[number][0], **document}
        # The results come last: while they are missing the block is not finished.
        if failed:
            lines = (
                {"id": failed[at][0], "file": block.file, "row": at, "reason": failed[at][1]} for at in sorted(failed)
            )
            write_text(failures, "".join(map(json_line, lines)))
        else:
            failures.unlink(missing_ok=True)
        documents = [results[number] for number in sorted(results)]
        with atomic_path(target) as temporary:
            if self.format == "parquet":
                tables.write(temporary, documents, tables.schema(self.task, predictor, len(self.columns)))
            else:
                with open(temporary, "w", encoding="utf-8") as handle:
                    handle.writelines(map(json_line, documents))
        return len(failed)

    def _read(self, block: Block) -> tuple[dict[int, tuple[str, list[str]]], dict[int, tuple[str | None, str]]]:
        """By its number in the file: name and texts of each row; of the others the name, and what is wrong."""
        columns = [*self.columns, *([self.id_column] if self.id_column else [])]
        table = Table(block.piece.path, tuple(columns), iter(()))
        rows: dict[int, tuple[str, list[str]]] = {}
        failed: dict[int, tuple[str | None, str]] = {}
        for number, (place, row) in enumerate(slices.read(block.piece, columns), start=block.piece.first):
            name = None if self.id_column else f"{block.file}:{number}"
            where = f"{block.piece.path}:{place}: {self.id_column!r}"
            try:
                if isinstance(row, slices.IncompleteRow) and self.id_column in row.cells:
                    with suppress(InputError):  # the row's own is said
                        name = id_of(where, row.cells[self.id_column])
                if isinstance(row, InputError):
                    raise row
                name = name or id_of(where, row.pop())
                for at in range(len(self.columns)):
                    table.check_text(place, row, at)
                if self.task == "qa" and not row[1].strip():
                    raise InputError(f"{block.piece.path}:{place}: {self.columns[1]} is empty")
                rows[number] = name, row
            except InputError as error:
                failed[number] = name, str(error)
        return rows, failed

    def _results(self, predictor: Predictor, names: Sequence[str], rows: Sequence[list[str]]) -> list[dict[str, Any]]:
        """The documents of some rows; where together they cannot be computed, one by one."""
        try:
            return self._compute(predictor, names, rows)
        except InputError as error:
            if len(rows) == 1:
                return [{ERROR: str(error)}]
        pairs = zip(names, rows, strict=True)
        return [document for name, row in pairs for document in self._results(predictor, [name], [row])]

    def _compute(self, predictor: Predictor, names: Sequence[str], rows: Sequence[list[str]]) -> list[dict[str, Any]]:
        if self.task == "qa":
            questions = [SquadExample(name, row[0], row[1], (), ()) for name, row in zip(names, rows, strict=True)]
            return answer_rows(predictor, questions, self.options)
        texts = [list(column) for column in zip(*rows, strict=True)]
        examples = Examples("", list(names), texts[0], texts[1] if len(texts) == 2 else None, None)
        return (classify_rows if self.task == "classify" else find_rows)(predictor, examples, self.options)


class Worker:
    """A model in a process of its own, which does blocks; a mistake of the user's comes back as a text.

    Args:
        job: what to do.
        threads: of the model.
    """

    def __init__(self, job: Job, threads: int):
        self.job, self.error = job, ""
        os.environ["MOBILEBERT_QUIET"] = "1"
        try:
            self.predictor = job.load(threads)
        except (InputError, OSError) as error:
            self.error = str(error)

    def __call__(self, block: Block) -> tuple[int, str]:
        """Do a block. -> how many of its rows have no result, and what went wrong."""
        if self.error:
            return 0, self.error
        try:
            return self.job.answer(self.predictor, block), ""
        except (InputError, OSError) as error:
            return 0, str(error)


def model_digest(folder: str) -> str:
    """A checksum of a model's files."""
    return digest_of(model_files(Path(folder), Path(os.devnull)))


def count_lines(path: Path) -> int:
    """The lines of a file of rows without a result; 0 where there is none."""
    if not path.exists():
        return 0
    with open(path, "rb") as handle:
        return sum(1 for _ in handle)


def _by_length(rows: dict[int, tuple[str, list[str]]]) -> Iterator[list[int]]:
    """The numbers of rows in the order of their length, the longest first, as many as the model is given together."""
    lengths = {number: sum(map(len, row)) for number, (_, row) in rows.items()}
    part: list[int] = []
    characters = 0
    for number in sorted(rows, key=lambda number: -lengths[number]):
        if part and (len(part) == _CALL_ROWS or characters + lengths[number] > _CALL_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(number)
        characters += lengths[number]
    if part:
        yield part
