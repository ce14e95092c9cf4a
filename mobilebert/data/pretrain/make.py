"""The run that makes a folder of rows: blocks of the text to workers, a file a block, and a table of all at the end.

Which rows there are follows from the text, the settings and the vocabulary; not from the number of workers or machines,
nor from how often the run was stopped.
"""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any
from unittest import mock

from tqdm import tqdm

from mobilebert.base import extras, outputs
from mobilebert.base.digests import Facts
from mobilebert.base.errors import InputError
from mobilebert.base.files import file_digest
from mobilebert.data.cache import tokenizer_digest
from mobilebert.data.pretrain import manifest
from mobilebert.data.pretrain.blocks import Block, cut_blocks, make_shard
from mobilebert.data.pretrain.manifest import Manifest, note_vocabulary
from mobilebert.data.pretrain.settings import Settings, Vocabulary
from mobilebert.data.pretrain.shards import notes_of
from mobilebert.data.pretrain.sources import Corpus
from mobilebert.text.tokenizer import MobileBertTokenizer

_FILES = "block-*.safetensors"


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        blocks: how many the text has.
        made: how many of them this run made.
        missing: those that other machines have to make.
        manifest: of the folder; None where blocks are missing.
    """

    blocks: int
    made: int
    missing: int
    manifest: Manifest | None


def make(
    corpus: Corpus,
    tokenizer: MobileBertTokenizer,
    folder: Path,
    settings: Settings,
    *,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    overwrite: bool = False,
) -> Outcome:
    """Make a folder of rows, or go on with one.

    Args:
        corpus: the text.
        tokenizer: whose tokens the rows have.
        folder: made where it is missing. Blocks that are there, of the same text and settings, are kept.
        settings: how rows are made.
        shard: (i, n): make block i, i + n, i + 2n ... only. Who finds all blocks there at the end writes the manifest.
        workers: processes.
        overwrite: remove first what an earlier run wrote; not with a shard, whose neighbours write there too.

    Raises:
        InputError: bad text; or the folder has blocks of other text or settings, or what is not a run's.
    """
    number, count = shard
    if overwrite and count > 1:
        raise InputError("`overwrite` would remove what the other shards write; remove the folder by hand, once")
    with outputs.lock(folder / f".shard-{number + 1}-of-{count}.lock", folder):
        outputs.check(folder, [_FILES, manifest.NAME])
        if overwrite:
            outputs.remove(folder, [_FILES, manifest.NAME])
        outputs.record(folder, [_FILES, manifest.NAME])
        recipe = _recipe(tokenizer, settings)
        with _pool(workers, tokenizer, settings) as submit:
            digests, made = _make_blocks(corpus, folder, settings.block_bytes, recipe, shard, submit, workers)
            paths = [folder / _name(index) for index in range(len(digests))]
            missing = sum(not path.exists() for path in paths)
            if further := sorted(set(folder.glob(_FILES)) - set(paths)):
                raise InputError(f"{further[0]}: is of other text; choose another `out`, or give `overwrite`")
            if missing:
                return Outcome(len(paths), made, missing, None)
            for path, digest in zip(paths, digests, strict=True):
                _check_recipe(path, digest)
            contents = [future.result() for future in [submit(file_digest, path) for path in paths]]
        done = _describe(paths, contents, tokenizer, settings)
        done.write(folder)
    return Outcome(len(paths), made, 0, done)


def _make_blocks(
    corpus: Corpus, folder: Path, block_bytes: int, recipe: str, shard: tuple[int, int], submit: "_Submit", workers: int
) -> tuple[list[str], int]:
    """Make the blocks that are this machine's and not there yet.

    Returns:
        Of all blocks, what they are made of; and how many were made.
    """
    digests: list[str] = []
    running: dict[Future, int] = {}  # -> bytes on disk that its block takes the progress on by
    made = 0
    with tqdm(total=corpus.size, unit="B", unit_scale=True, desc="text", disable=None) as bar:

        def collect(most: int) -> None:
            """Wait until not more than ``most`` blocks are being made."""
            while len(running) > most:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    bar.update(running.pop(future))

        counted = 0
        for block in cut_blocks(corpus, block_bytes):
            digests.append(hashlib.sha256(f"{recipe} {block.digest}".encode()).hexdigest())
            size, counted = corpus.bytes_read - counted, corpus.bytes_read
            path = folder / _name(block.index)
            if path.exists():
                _check_recipe(path, digests[-1])
            elif block.index % shard[1] == shard[0]:
                running[submit(_make_block, block, path, digests[-1])] = size
                made += 1
                collect(workers)
                continue
            bar.update(size)
        collect(0)
    return digests, made


def _name(block: int) -> str:
    return f"block-{block:06d}.safetensors"


def _recipe(tokenizer: MobileBertTokenizer, settings: Settings) -> str:
    """All that rows are made of, but for the text."""
    ingredients = {"format": manifest.FORMAT, "vocabulary": tokenizer_digest(tokenizer), **asdict(settings)}
    if settings.language:
        from importlib.metadata import version

        extras.load("sentencex")
        ingredients["sentencex"] = version("sentencex")
    return json.dumps(ingredients, sort_keys=True)


def _check_recipe(path: Path, digest: str) -> None:
    if notes_of(path)["recipe"] != digest:
        raise InputError(
            f"{path}: was made of other text, with other settings or another vocabulary; choose another `out`, or give "
            "`overwrite`"
        )


def _describe(
    paths: Sequence[Path], digests: Sequence[str], tokenizer: MobileBertTokenizer, settings: Settings
) -> Manifest:
    """The manifest of all blocks, whose files have these digests."""
    files = {p.name: Facts(p.stat().st_size, digest) for p, digest in zip(paths, digests, strict=True)}
    counts: dict[str, int] = {}
    for path in paths:
        for name, count in notes_of(path)["counts"].items():
            counts[name] = counts.get(name, 0) + count
    ingredients = json.dumps([_recipe(tokenizer, settings), digests])
    return Manifest(
        format=manifest.FORMAT,
        digest=hashlib.sha256(ingredients.encode()).hexdigest(),
        vocab_digest=tokenizer_digest(tokenizer),
        settings=settings,
        vocabulary=note_vocabulary(Vocabulary.of(tokenizer)),
        counts=counts,
        files=files,
    )


# -- processes

_Submit = Callable[..., Future]
_state: list[Any] = []  # of a worker: tokenizer, settings, vocabulary


@contextmanager
def _pool(workers: int, tokenizer: MobileBertTokenizer, settings: Settings) -> Iterator[_Submit]:
    """What runs a function in a worker; with one worker, at once and here."""
    if workers == 1:
        _state[:] = tokenizer, settings, Vocabulary.of(tokenizer)
        with mock.patch.dict(os.environ, TOKENIZERS_PARALLELISM="false"):
            yield _run_here
        return
    # Not forked: this process may have threads.
    executor = ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker, (tokenizer, settings))
    try:
        yield executor.submit
    except BrokenProcessPool:
        raise InputError(
            "a worker was killed, for want of memory? run again to go on where this ended, with fewer `workers`"
        ) from None
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _run_here(function: Callable[..., Any], *arguments: Any) -> Future:
    future: Future = Future()
    future.set_result(function(*arguments))
    return future


def _begin_worker(tokenizer: MobileBertTokenizer, settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's goes to all processes; the first one answers it
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _state[:] = tokenizer, settings, Vocabulary.of(tokenizer)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's workers would wait for ever for a process that was killed."""
    connection.wait([parent_process().sentinel])
    os._exit(1)


def _make_block(block: Block, path: Path, recipe: str) -> None:
    tokenizer, settings, vocabulary = _state
    shard, counts = make_shard(block, tokenizer, settings, vocabulary)
    counts |= {
        "tokens": len(shard.tokens),
        "rows": len(shard),
        "row_tokens": int(shard.lengths.sum()),
        "random_next": int(shard.is_random.sum()),
    }
    shard.save(path, {"recipe": recipe, "counts": counts})
