"""Packed rows kept on disk under a key made from everything that went into them."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mobilebert.data.packed import PackedRows
from mobilebert.text.tokenizer import MobileBertTokenizer

DEFAULT_FOLDER = ".cache"

# Raise it whenever code changes what the same input gives: it is part of every key.
_FORMAT = 3

_log = logging.getLogger(__name__)


def cached_rows(
    name: str,
    ingredients: Mapping[str, str | int | float | bool | None],
    build: Callable[[], PackedRows],
    folder: str | os.PathLike | None = DEFAULT_FOLDER,
) -> PackedRows:
    """Return what ``build`` gives, from the cache where it is there.

    A damaged file is built anew. Processes that build the same at once each write their own file and rename it, so
    none sees a part of another's. A folder that cannot be written to costs the cache, not the run.

    Args:
        name: begins the file's name, for people (``squad-train``).
        ingredients: all that the rows depend on: contents as digests, settings as they are.
        build: makes the rows.
        folder: where the cache lives; ``None`` for no cache.
    """
    if folder is None:
        return build()
    recipe = json.dumps({"format": _FORMAT, **ingredients}, sort_keys=True)
    path = Path(folder) / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:32]}.safetensors"
    try:
        return PackedRows.load(path)
    except FileNotFoundError:
        pass
    except ValueError as error:
        _log.warning("cache is damaged and is built anew (%s)", error)
    rows = build()
    try:
        rows.save(path)
        return PackedRows.load(path)  # mapped: what was built can leave the memory
    except OSError as error:
        _log.warning("%s: cannot be written (%s); going on without a cache", path, error.strerror or error)
        return rows


def tokenizer_digest(tokenizer: MobileBertTokenizer) -> str:
    """Digest of a tokenizer's vocabulary and all its rules."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
