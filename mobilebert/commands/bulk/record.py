"""The output folder: what a run was begun with, which of its blocks are finished, and whose files are in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.base.records import read_record
from mobilebert.commands.bulk.job import FAILED, FORMATS, TRIES, Block, Job, count_lines
from mobilebert.data.slices import Slice

RECORD = "_bulk.json"  # readers of a folder pass over such names
BLOCK_ROWS = 512  # at a full-size model half a minute of one core
_NUMBER = 8 * "[0-9]"


@dataclass(frozen=True)
class Record:
    """The content of ``RECORD``.

    Attributes:
        settings: of the job, all that its results depend on, and how rows are cut into blocks.
        files: name -> bytes, and the time of the last change in ns.
    """

    settings: dict[str, Any]
    files: dict[str, list[int]]


def open_folder(job: Job, files: Mapping[str, Path], block_rows: int | None, overwrite: bool) -> int:
    """Prepare the output folder of a run, or go on with it; to be called while it is locked.

    Args:
        job: what is to be done.
        files: name -> input file. New ones may have come since the run began.
        block_rows: rows of a block; None takes what the run was begun with.
        overwrite: begin it anew.

    Returns:
        The rows of a block.

    Raises:
        InputError: other people's files are in the way, the run was begun with something else, or nobody knows with
            what, or a file has changed.
    """
    folder = Path(job.output)
    ours = [RECORD, f"*-{_NUMBER}.{job.format}", f"{FAILED}/*-{_NUMBER}.jsonl"]
    outputs.check(folder, [entry.split("/")[0] for entry in ours])
    if overwrite:
        results = {entry.split("/")[0] for entry in outputs.recorded(folder)} - {RECORD}
        outputs.remove(folder, results)
        outputs.remove(folder)  # the record last: what a killed run leaves of the results is known by it
    path = folder / RECORD
    old = read_record(path, Record, "not the record of a bulk run; choose another `output`") if path.exists() else None
    if old is None and any(any(folder.glob(f"*-{_NUMBER}.{suffix}")) for suffix in FORMATS):
        raise InputError(
            f"{folder}: has results but no {RECORD}, which says of what; choose another `output`, or `overwrite` to "
            "begin it anew"
        )
    rows = block_rows or (old.settings.get("block_rows") if old else None) or BLOCK_ROWS
    if not isinstance(rows, int) or rows < 1:
        raise InputError(f"`block_rows={rows}`: expected at least 1")
    new = Record(_settings(job, rows), {name: _facts(file) for name, file in files.items()})
    if old is not None:
        _compare(folder, old, new)
    for tries in folder.glob(f".*{TRIES}"):
        tries.unlink()
    if old != new:
        outputs.record(folder, ours)
        write_json(path, asdict(new))
    return rows


def name_blocks(slices: Mapping[str, Sequence[Slice]]) -> list[Block]:
    """Blocks with names of their own.

    Args:
        slices: by the file's name.

    Raises:
        InputError: two files would have the same.
    """
    stems: dict[str, str] = {}
    for name in slices:
        stem = name.replace("/", "--").lstrip("._")  # which readers of a folder pass over
        if (other := stems.setdefault(stem, name)) != name:
            raise InputError(f"{other} and {name}: their outputs would have the same name; rename one")
    return [Block(piece, name, f"{stem}-{piece.number:08d}") for stem, name in stems.items() for piece in slices[name]]


def unfinished(job: Job, blocks: Iterable[Block]) -> list[Block]:
    """The blocks whose results are not there."""
    there = {path.name for path in Path(job.output).glob(f"*.{job.format}")}
    return [block for block in blocks if job.target(block).name not in there]


def count_failed(job: Job, blocks: Iterable[Block]) -> int:
    """How many rows of all blocks have no result."""
    there = {path.name for path in Path(job.output, FAILED).glob("*.jsonl")}
    return sum(count_lines(job.failures(block)) for block in blocks if job.failures(block).name in there)


def _settings(job: Job, block_rows: int) -> dict[str, Any]:
    """What must be the same when a run goes on: not how many machines and threads there are."""
    return {
        "version": job.version,
        "task": job.task,
        "model": job.model,
        "engine": job.engine,
        "options": {name: value for name, value in job.options.items() if value is not None},
        "columns": list(job.columns),
        "id": job.id_column,
        "format": job.format,
        "block_rows": block_rows,
    }


def _compare(folder: Path, old: Record, new: Record) -> None:
    for name, value in new.settings.items():
        if (before := old.settings.get(name)) != value:
            raise InputError(
                f"{folder}: was begun with another {name} ({before}, now {value}); choose another `output`, or "
                "`overwrite` to begin it anew"
            )
    for name, facts in old.files.items():
        if new.files.get(name) != facts:
            what = "has changed since the run began" if name in new.files else "was read by this run and is not given"
            raise InputError(f"{folder}: {name} {what}; choose another `output`, or `overwrite` to begin it anew")


def _facts(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
