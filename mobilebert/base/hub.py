"""Models by name: a folder on disk as it is, anything else through a Hugging Face hub.

``HF_ENDPOINT`` (a mirror), ``HF_HOME`` (the cache), ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what they mean to
huggingface_hub.
"""

import errno
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mobilebert.base import cli, extras
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import MOST_BYTES, file_digest
from mobilebert.base.transfer import Transfer, megabytes

DEADLINE_SECONDS = 10.0  # for the first answer, name look-up included, which no socket timeout covers
CONFIG_FILES = ("config.json",)
ADAPTER_CONFIG = "adapter_config.json"
TOKENIZER_FILES = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
WEIGHT_FILES = (
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model-*.bin",
    "pytorch_model.bin.index.json",
)

_PICKLES = "pytorch_model*"
# How to come to the folders that commands read unless told otherwise.
_MAKE = {
    "weight/torch": "bash scripts/download_weights.sh fetches it",
    "weight/paddle": "bash scripts/download_weights.sh, then python convert.py, make it",
}
# How people call their folders, and nobody on a hub: a path was meant, though nothing is there (yet).
_FOLDER = re.compile(
    r"(output\w*|models?|checkpoints?|weights?|tasks?|runs?|results?|exports?|exported|experiments?|saved|tmp|data)/.*"
    r"|.*/(best|final|last|latest|training|evaluation|checkpoint.*|(step|epoch)[-_]?\d+)",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class _UnreachableError(InputError):
    """The hub gave no usable answer."""


def resolve(folder_or_name: str | os.PathLike, patterns: Sequence[str]) -> Path:
    """Find the folder that holds a model's files.

    Args:
        folder_or_name: a local folder, or a model's name on the hub (``google/mobilebert-uncased``).
        patterns: shell patterns of the files wanted; read only for a name.

    Returns:
        The local folder, or the folder in the hub's cache after a download.

    Raises:
        InputError: no such folder, no such model, a PEFT adapter, or no network and nothing in the cache.
    """
    folder = Path(folder_or_name).expanduser()
    if folder.is_dir():
        _refuse_adapter(folder, [ADAPTER_CONFIG] if (folder / ADAPTER_CONFIG).exists() else [], patterns)
        return folder
    name = os.fspath(folder_or_name)
    if folder.exists():
        raise InputError(f"{name}: a file, but a folder is expected; give the folder that holds it")
    # "weight/paddle" has the form of a hub name too; where weight/ exists, a path was meant.
    is_path = "/" in name and (folder.parent.is_dir() or _FOLDER.fullmatch(name))
    if not _NAME.fullmatch(name) or is_path:
        raise InputError(
            f"{name}: no such folder; {_MAKE.get(name, 'check the path, or convert or train the model first')}"
        )
    endpoint = _endpoint()
    try:
        _, sizes = _list_files(name, patterns, endpoint)
    except _UnreachableError:
        if cached := _cached(name, patterns):
            return cached
        raise
    from huggingface_hub import snapshot_download

    if not _cached(name, list(sizes)):
        _announce(name, sizes, "huggingface_hub's cache")
    with _broken_off(name):
        return Path(snapshot_download(name, allow_patterns=list(sizes), endpoint=endpoint))


def fetch_repo(name: str, patterns: Sequence[str], folder: str | os.PathLike) -> list[Path]:
    """Download a model's files into a folder; a second call fetches only what is missing or has changed.

    An interrupted download goes on where it stopped, and a file appears under its name only when it is complete.

    Args:
        name: the model's name on the hub.
        patterns: shell patterns of the files wanted. Where both safetensors and PyTorch pickles match, the
            pickles are left out: they hold the same tensors.
        folder: where to; left as it was if the hub cannot be reached.

    Returns:
        The files, in the order of their names.

    Raises:
        InputError: no such model, no such files, no network, or the download broke off.
    """
    folder = Path(folder)
    endpoint = _endpoint()
    commit, sizes = _list_files(name, patterns, endpoint, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _announce(name, {file: size for file, size in sizes.items() if not (folder / file).exists()}, str(folder))
    # The configuration last: a folder without one is not taken for a whole model.
    for file in sorted(sizes, key=lambda file: (file in CONFIG_FILES, file)):
        with _broken_off(name):
            _fetch_file(name, commit, file, folder, endpoint)
    return [folder / file for file in sorted(sizes)]


def _announce(name: str, sizes: Mapping[str, int | None], place: str) -> None:
    """Say what will come, and how much it is, before it comes."""
    if sizes:
        known = [size for size in sizes.values() if size is not None]
        amount = f", {megabytes(sum(known))}" if len(known) == len(sizes) else ""
        cli.remark(f"fetching {len(sizes)} files of {name}{amount}, into {place}")


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def _list_files(
    name: str, patterns: Sequence[str], endpoint: str, folder: Path | None = None
) -> tuple[str, dict[str, int | None]]:
    """The commit, and the files wanted with their bytes (None: not told).

    Args:
        name, patterns, endpoint: which, of what, where.
        folder: where a user could put them; None where the name could have been a folder's.
    """
    extras.silence("huggingface_hub")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, RepositoryNotFoundError
    from huggingface_hub.utils import HFValidationError

    api = HfApi(endpoint=endpoint)
    try:
        info = _within(
            DEADLINE_SECONDS, lambda: api.model_info(name, timeout=DEADLINE_SECONDS / 2, files_metadata=True)
        )
    except HFValidationError as error:
        raise InputError(f"{name}: not a model's name ({first_line(error)})") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{name}: no such folder here and no such model on {endpoint}; check the name (or set HF_TOKEN: private)"
        ) from None
    except (HTTPError, OSError, ValueError) as error:
        tried, by_hand = ("", folder) if folder else ("no such folder here, and ", "a folder, and give that folder")
        raise _UnreachableError(
            f"{name}: {tried}cannot be fetched from {endpoint} ({first_line(error)}); name a mirror with HF_ENDPOINT, "
            f"or put config.json, vocab.txt and model.safetensors (or pytorch_model.bin) by hand into {by_hand}"
        ) from None

    sizes = {file.rfilename: file.size for file in info.siblings or []}
    names = [file for file in sizes if "/" not in file and file.isprintable()]
    _refuse_adapter(name, names, patterns)
    wanted = [file for file in names if any(fnmatch(file, pattern) for pattern in patterns)]
    if any(file.endswith(".safetensors") for file in wanted):
        wanted = [file for file in wanted if not fnmatch(file, _PICKLES)]
    if not wanted:
        raise InputError(f"{name}: has none of {', '.join(patterns)} on {endpoint}; is it a MobileBERT model?")
    return info.sha, {file: sizes[file] for file in wanted}


def _refuse_adapter(name: str | os.PathLike, files: Sequence[str], patterns: Sequence[str]) -> None:
    """A PEFT adapter is no model, even beside one: its folder says that it is to be applied. Its tokenizer is one."""
    if ADAPTER_CONFIG in files and any(file in patterns for file in CONFIG_FILES):
        raise InputError(
            f"{name}: a PEFT adapter, no whole model ({ADAPTER_CONFIG}); merge the adapter first (merge_and_unload) "
            "and save the result into a folder of its own"
        )


def _fetch_file(name: str, commit: str, file: str, folder: Path, endpoint: str) -> None:
    """Download one file by way of a ``.part`` file, which a later call continues; nothing if it is there already."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    # huggingface_hub's own download to a folder starts a new partial file in every process, so it cannot go on.
    url = hf_hub_url(name, file, revision=commit, endpoint=endpoint)
    remote = get_hf_file_metadata(url, timeout=DEADLINE_SECONDS, endpoint=endpoint)
    if _same_content(folder / file, remote.etag, remote.size):
        return
    headers = build_hf_headers()
    if urlsplit(remote.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # the token is for the hub, not for where it stores its files
    part = folder / f".{file}.{(remote.etag or commit)[:12]}.part"
    for stale in set(folder.glob(f".{file}.*.part")) - {part}:
        stale.unlink()
    with open(part, "ab") as handle:
        http_get(
            remote.location,
            handle,
            resume_size=handle.tell(),
            headers=headers,
            expected_size=remote.size,
            displayed_filename=file,
        )
    if not _same_content(part, remote.etag, remote.size):
        part.unlink()
        raise OSError(f"{file} does not have its checksum")
    os.replace(part, folder / file)


def _same_content(path: Path, etag: str | None, size: int | None) -> bool:
    """Whether the file has the size and the checksum that the hub names: sha256, or for small files git's sha1."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    if re.fullmatch(r"[0-9a-f]{64}", etag or ""):
        return file_digest(path) == etag
    if re.fullmatch(r"[0-9a-f]{40}", etag or ""):
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == etag
    return True


@contextmanager
def _broken_off(name: str) -> Iterator[None]:
    """Turn what goes wrong in the middle of a download into one line; what comes too slowly goes wrong."""
    from huggingface_hub import get_session
    from huggingface_hub.errors import HTTPError

    session = get_session()
    hooks = session.event_hooks
    session.event_hooks = {**hooks, "response": [*hooks["response"], _watch]}
    try:
        yield
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{name}: the download broke off ({first_line(error)}); run again, it goes on where it stopped"
        ) from None
    finally:
        session.event_hooks = hooks


def _watch(response: Any) -> None:
    """Hold the body of an answer, as it arrives, to what ``Transfer`` allows; called by huggingface_hub's client."""
    transfer = Transfer(int(response.headers.get("Content-Length") or MOST_BYTES))
    stream = response.stream

    class Watched(type(stream)):  # type: ignore[misc]  # the client's library is huggingface_hub's choice
        def __init__(self):
            pass

        def __iter__(self):
            for chunk in stream:
                transfer.add(len(chunk))
                yield chunk

        def close(self):
            stream.close()

    response.stream = Watched()


def _cached(name: str, patterns: Sequence[str]) -> Path | None:
    """The folder of an earlier download, if it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(name, allow_patterns=list(patterns), ignore_patterns=[_PICKLES], local_files_only=True)
        )
    except LocalEntryNotFoundError:
        return None
    # Pickles are ignored because beside safetensors none was fetched; where there is nothing else they are the weights.
    others = (*CONFIG_FILES, *TOKENIZER_FILES)
    weights = [pattern for pattern in patterns if pattern not in others and not pattern.endswith(".json")]
    return folder if not weights or any(any(folder.glob(pattern)) for pattern in weights) else None


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return ``call()``, or raise ``TimeoutError`` after ``seconds``; a call that hangs is left behind."""
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:  # handed to the caller's thread
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} s")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def main() -> None:
    """``python -m mobilebert.base.hub NAME FOLDER``: fetch a checkpoint, its configuration and its tokenizer."""
    parser = cli.ArgumentParser(
        "Fetch a checkpoint with its configuration and tokenizer from a Hugging Face hub.",
        "  %(prog)s google/mobilebert-uncased weight/torch",
    )
    parser.add_argument("name", help="the model's name on the hub")
    parser.add_argument("folder", help="where to")
    arguments = parser.parse_args()
    for path in fetch_repo(arguments.name, CONFIG_FILES + TOKENIZER_FILES + WEIGHT_FILES, arguments.folder):
        print(f"{path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    cli.run(main)
