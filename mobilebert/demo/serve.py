"""From model folders to a server that runs until it is told to stop."""

import ctypes
import errno
import ipaddress
import os
import platform
import signal
import socket
import sys
from collections.abc import Sequence

import uvicorn

from mobilebert import process
from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.demo.app import Limits, make_app
from mobilebert.demo.models import load
from mobilebert.demo.pool import Pool

_THREADS = 4  # of one run: more make one batch of short rows hardly faster
_CONNECTIONS = 400
_STOP_SECONDS = 5
_ARENA_MAX = -8  # mallopt's M_ARENA_MAX


def serve(
    folders: Sequence[str | os.PathLike],
    host: str,
    port: int,
    queue: int,
    timeout_s: float,
    limits: Limits,
) -> None:
    """Serve until SIGINT (raises KeyboardInterrupt) or SIGTERM (raises SystemExit with 143).

    Args:
        folders: models, the first loaded at once, the others when they are asked.
        host, port: where to listen; port 0 is any free one.
        queue, timeout_s: see ``Pool``.
        limits: of requests.

    Raises:
        InputError: no model there, or the address cannot be had.
    """
    if platform.libc_ver()[0] == "glibc":
        # Left alone, malloc keeps freed memory apart for up to eight threads a core: half as much again under load.
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)
    cores = process.setup().threads
    threads = min(cores, _THREADS)
    pool = Pool(max(1, cores // threads), queue, timeout_s)
    models = load(folders, pool, threads)
    names = {host} if is_loopback(host) else {host, socket.gethostname()}
    with listen(host, port) as listener:
        _ = models[0].predictor  # what is wrong with it is said now
        app = make_app(models, pool, names, limits)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        signal.signal(signal.SIGTERM, _terminate)
        for model in models:
            described = model.describe()
            cli.say(f"  {model.name}: {described['task']}, {described['precision']}")
        if not is_loopback(host):
            print("warning: whoever can reach this machine can use this page; leave out --host to prevent it")
        print(f"Open {_address(listener)} in a browser; Ctrl-C stops it.", flush=True)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            pool.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: the host is not this machine's, or the port is taken or forbidden.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise InputError(f"`host={host}`: no such address; 127.0.0.1 is this machine alone") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is in use; choose another with `port`, or `port=0` for any free one"
            ) from None
        if error.errno == errno.EACCES:
            raise InputError(f"port {port} is reserved for the administrator; choose one above 1023") from None
        raise InputError(f"`host={host}`: cannot listen there ({error.strerror})") from None
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _terminate(number: int, frame: object) -> None:
    sys.exit(128 + number)
