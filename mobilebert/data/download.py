"""Fetching known data files: official address, then mirrors, sizes and checksums verified, nothing half written."""

import http.client
import logging
import os
import queue
import shutil
import threading
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from mobilebert.base.errors import InputError
from mobilebert.base.files import MOST_BYTES, atomic_path, check_zip, file_digest
from mobilebert.base.transfer import Transfer, megabytes

MIRROR_VARIABLE = "MOBILEBERT_MIRROR"  # base address that is tried before all others: {base}/{file name}

_ANSWER_SECONDS = 12.0  # for all addresses together, until one of them answers
_STALL_SECONDS = 8.0  # without a byte, once an address has answered
_CHUNK_BYTES = 1 << 18

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched.

    Attributes:
        name: file name, also under ``MOBILEBERT_MIRROR``.
        urls: official address first, then mirrors.
        digest: ``"sha256:..."`` or any other algorithm of hashlib, several with a space between; ``None`` where none is
            published.
        size: in bytes; ``None`` where unknown.
    """

    name: str
    urls: tuple[str, ...]
    digest: str | None = None
    size: int | None = None


def _squad(name: str, size: int, sha256: str, md5: str) -> RemoteFile:
    bases = (
        "https://rajpurkar.github.io/SQuAD-explorer/dataset",
        "https://raw.githubusercontent.com/rajpurkar/SQuAD-explorer/master/dataset",
        "https://bj.bcebos.com/paddlenlp/datasets/squad",
    )
    return RemoteFile(name, tuple(f"{base}/{name}" for base in bases), f"sha256:{sha256} md5:{md5}", size)


# As published by ParlAI (SHA-256) and by PaddleNLP and torchtext (MD5).
SQUAD_FILES = {
    file.name: file
    for file in (
        _squad(
            "train-v1.1.json", 30288272, "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
            "981b29407e0affa3b1b156f72073b945",
        ),
        _squad(
            "dev-v1.1.json", 4854279, "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
            "3e85deb501d4e538b6bc56f786231552",
        ),
        _squad(
            "train-v2.0.json", 42123633, "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
            "62108c273c268d70893182d5cf8df740",
        ),
        _squad(
            "dev-v2.0.json", 4370528, "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
            "246adae8b7002f8679c027697b0b7cf8",
        ),
    )
}  # fmt: skip


def fetch(file: RemoteFile, folder: str | os.PathLike, *, progress: bool = True) -> Path:
    """Return the path of ``file`` in ``folder``, downloading it if it is not there.

    A file that is there is verified, not downloaded, and never overwritten. Without a network this fails within 15 s.

    Args:
        file: what to fetch.
        folder: where it goes; made if needed.
        progress: show a bar on standard error.

    Raises:
        InputError: the file there is not the right one, or no address gave it; the message says what to do by hand.
    """
    path = Path(folder) / file.name
    if path.exists():
        if problem := _problem(path, file):
            raise InputError(f"{path}: {problem}; delete it to download it again, or put the right file there")
        return path
    mirror = os.environ.get(MIRROR_VARIABLE)
    urls = ((f"{mirror.rstrip('/')}/{file.name}",) if mirror else ()) + file.urls
    failures = []
    left = _ANSWER_SECONDS
    _log.info("fetching %s%s, into %s", file.name, f", {megabytes(file.size)}" if file.size else "", folder)
    for position, url in enumerate(urls):
        response = None
        started = time.monotonic()
        try:
            # A dead address may not use up the time of those behind it.
            response = _open(url, max(left / (len(urls) - position), 0.1))
            with response, atomic_path(path) as temporary:
                _save(response, temporary, file, progress)
            return path
        except _AddressFailed as error:
            if response is None:  # only waiting in vain counts
                left -= time.monotonic() - started
            failures.append(f"{url}: {error}")
            _log.info("%s", failures[-1])
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    raise InputError(
        f"{file.name} could not be downloaded ({'; '.join(failures)}); by hand: fetch it from {file.urls[0]}"
        f" and save it as {path}, or name a reachable copy's folder in {MIRROR_VARIABLE}"
    )


def extract(archive: str | os.PathLike, member: str, path: str | os.PathLike) -> Path:
    """Write one member of a zip archive to ``path``, atomically; its CRC is verified.

    Raises:
        InputError: the archive is broken, has no such member, or is one that ``files.check_zip`` refuses.
    """
    try:
        check_zip(archive)
        with (
            zipfile.ZipFile(archive) as opened,
            opened.open(member) as source,
            atomic_path(path) as temporary,
            open(temporary, "wb") as target,
        ):
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
    except KeyError:
        raise InputError(f"{archive}: has no member {member}") from None
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError) as error:
        raise InputError(f"{archive}: broken zip archive ({error}); delete it to download it again") from None
    return Path(path)


class _AddressFailed(Exception):
    """One address did not give the file; the message says why."""


def _open(url: str, seconds: float) -> http.client.HTTPResponse:
    """Open ``url``, giving up after ``seconds`` whatever hangs.

    In a thread of its own, because no timeout reaches the name look-up of the operating system, which alone can take
    half a minute without a network.
    """
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "mobilebert-paddle"})
            answer.put(urllib.request.urlopen(request, timeout=max(seconds, _STALL_SECONDS)))
        except Exception as error:  # handed to the caller, who knows what to do with it
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        result = answer.get(timeout=seconds)
    except queue.Empty:
        raise _AddressFailed(f"no answer within {seconds:.1f} s") from None
    if isinstance(result, urllib.error.HTTPError):
        raise _AddressFailed(f"HTTP {result.code}")
    if isinstance(result, Exception):
        raise _AddressFailed(str(getattr(result, "reason", result)))
    return result


def _save(response: http.client.HTTPResponse, temporary: Path, file: RemoteFile, progress: bool) -> None:
    """Write the body to ``temporary`` and verify it.

    Raises:
        _AddressFailed: the body broke off or is not the file.
        OSError: ``temporary`` cannot be written.
    """
    announced = int(response.headers.get("Content-Length") or 0)
    transfer = Transfer(file.size or announced or MOST_BYTES)
    with (
        open(temporary, "wb") as target,
        tqdm(total=announced or file.size, unit="B", unit_scale=True, desc=file.name, disable=not progress) as bar,
    ):
        while chunk := _read(response, transfer):
            target.write(chunk)
            bar.update(len(chunk))
        received = target.tell()
    if announced and received != announced:
        raise _AddressFailed(f"broke off after {received} of {announced} bytes")
    if problem := _problem(temporary, file):
        raise _AddressFailed(problem)


def _read(response: http.client.HTTPResponse, transfer: Transfer) -> bytes:
    """What has arrived, at most a chunk; empty at the end."""
    try:
        chunk = response.read1(_CHUNK_BYTES)
        transfer.add(len(chunk))
        return chunk
    except (OSError, http.client.HTTPException) as error:
        raise _AddressFailed(f"broke off ({error})") from None


def _problem(path: Path, file: RemoteFile) -> str | None:
    """What is wrong with the bytes at ``path``; ``None`` where nothing is."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"has {size} bytes, expected {file.size}"
    for digest in (file.digest or "").split():
        algorithm, expected = digest.split(":", 1)
        if (found := file_digest(path, algorithm)) != expected:
            return f"{algorithm} is {found}, expected {expected}"
    return None
