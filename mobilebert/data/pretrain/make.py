"""The run that makes a folder of rows: blocks of the text to workers, a file a block, and a table of all at the end.

Which rows there are follows from the text, the settings and the vocabulary; not from the number of workers or machines,
nor from how often the run was stopped.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mobilebert.base import extras, outputs
from mobilebert.base.digests import Facts
from mobilebert.base.errors import InputError
from mobilebert.base.files import file_digest
from mobilebert.base.workers import Task, Workers
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
        with Workers(workers, _begin_worker, tokenizer, settings) as pool:
            digests, made = _make_blocks(corpus, folder, settings.block_bytes, recipe, shard, pool)
            paths = [folder / _name(index) for index in range(len(digests))]
            missing = sum(not path.exists() for path in paths)
            if further := sorted(set(folder.glob(_FILES)) - set(paths)):
                raise InputError(f"{further[0]}: is of other text; choose another `out`, or give `overwrite`")
            if missing:
                return Outcome(len(paths), made, missing, None)
            for path, digest in zip(paths, digests, strict=True):
                _check_recipe(path, digest)
            contents = dict(pool.run((path, file_digest, (path,)) for path in paths))
        done = _describe(contents, tokenizer, settings)
        done.write(folder)
    return Outcome(len(paths), made, 0, done)


def _make_blocks(
    corpus: Corpus, folder: Path, block_bytes: int, recipe: str, shard: tuple[int, int], pool: Workers
) -> tuple[list[str], int]:
    """Make the blocks that are this machine's and not there yet.

    Returns:
        Of all blocks, what they are made of; and how many were made.
    """
    digests: list[str] = []
    made = 0
    with tqdm(total=corpus.size, unit="B", unit_scale=True, desc="text", disable=None) as bar:

        def tasks() -> Iterator[Task[int]]:
            """Blocks to be made, named by the bytes on disk that the progress moves on by."""
            counted = 0
            for block in cut_blocks(corpus, block_bytes):
                digests.append(hashlib.sha256(f"{recipe} {block.digest}".encode()).hexdigest())
                size, counted = corpus.bytes_read - counted, corpus.bytes_read
                path = folder / _name(block.index)
                if path.exists():
                    _check_recipe(path, digests[-1])
                elif block.index % shard[1] == shard[0]:
                    yield size, _make_block, (block, path, digests[-1])
                    continue
                bar.update(size)

        for size, _ in pool.run(tasks()):
            bar.update(size)
            made += 1
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


def _describe(digests: Mapping[Path, str], tokenizer: MobileBertTokenizer, settings: Settings) -> Manifest:
    """The manifest of all blocks, whose files have these digests."""
    paths = sorted(digests)
    files = {path.name: Facts(path.stat().st_size, digests[path]) for path in paths}
    counts: dict[str, int] = {}
    for path in paths:
        for name, count in notes_of(path)["counts"].items():
            counts[name] = counts.get(name, 0) + count
    ingredients = json.dumps([_recipe(tokenizer, settings), [digests[path] for path in paths]])
    return Manifest(
        format=manifest.FORMAT,
        digest=hashlib.sha256(ingredients.encode()).hexdigest(),
        vocab_digest=tokenizer_digest(tokenizer),
        settings=settings,
        vocabulary=note_vocabulary(Vocabulary.of(tokenizer)),
        counts=counts,
        files=files,
    )


# -- in a worker

_state: list[Any] = []  # tokenizer, settings, vocabulary


def _begin_worker(tokenizer: MobileBertTokenizer, settings: Settings) -> None:
    _state[:] = tokenizer, settings, Vocabulary.of(tokenizer)


def _make_block(block: Block, path: Path, recipe: str) -> None:
    tokenizer, settings, vocabulary = _state
    with extras.environment(TOKENIZERS_PARALLELISM="false"):  # each worker has a core
        shard, counts = make_shard(block, tokenizer, settings, vocabulary)
    counts |= {
        "tokens": len(shard.tokens),
        "rows": len(shard),
        "row_tokens": int(shard.lengths.sum()),
        "random_next": int(shard.is_random.sum()),
    }
    shard.save(path, {"recipe": recipe, "counts": counts})
