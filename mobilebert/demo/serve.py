"""From model folders to a server that runs until it is told to stop."""

import asyncio
import contextlib
import ctypes
import errno
import ipaddress
import math
import os
import platform
import socket
import sys
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from mobilebert import process
from mobilebert.base import cli, interrupt
from mobilebert.base.errors import InputError
from mobilebert.demo.app import Limits, make_app
from mobilebert.demo.connections import Bounds, bounds_for
from mobilebert.demo.models import load
from mobilebert.demo.pool import Pool
from mobilebert.inference.engines import ENGINES, best_engine

_THREADS = 4  # of one run: more make one batch of short rows hardly faster
_STOP_SECONDS = 5  # what is at work is answered within
_WAITING = 1024  # connections that the system holds until they are accepted
_TRIM_TICKS = 50  # of 0.1 s
_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ARENA_MAX = -8  # mallopt's M_ARENA_MAX


def serve(
    folders: Sequence[str | os.PathLike],
    host: str,
    port: int,
    queue: int,
    timeout_s: float,
    limits: Limits,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, which are then raised again.

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
        if any(ENGINES[best_engine(model.source)].library == "paddle" for model in models):
            import paddle  # noqa: F401 (here in the main thread, where the signals that it takes are taken back)
        app = make_app(models, pool, names, limits)
        server = Server(app, pool, bounds_for(queue))
        for model in models:
            described = model.describe()
            cli.say(f"  {model.name}: {described['task']}, {described['precision']}")
        if not is_loopback(host):
            print("warning: whoever can reach this machine can use this page; leave out --host to prevent it")
        print(f"Open {_address(listener)} in a browser; Ctrl-C stops it.", flush=True)
        try:
            server.run(sockets=[listener])
        finally:
            pool.close()


class Server(uvicorn.Server):
    """uvicorn's server; at its end what is at work is still answered, and the rest is told so.

    Args:
        app: the application.
        pool: where its work is done.
        bounds: of connections.
        stop_s: seconds for what is at work when the server is told to end.
    """

    def __init__(self, app: ASGIApp, pool: Pool, bounds: Bounds, stop_s: float = _STOP_SECONDS):
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            http=bounds.protocol,
            loop="asyncio",
            backlog=bounds.backlog,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        super().__init__(config)
        self.pool, self.stop_s = pool, stop_s
        self._told = -math.inf  # when, on the loop's clock
        self._trimmed = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Called by uvicorn, which notes SIGINT and SIGTERM and raises them again at the end: so with SIGHUP."""
        with super().capture_signals():
            handlers = interrupt.take_over(self.handle_exit)
            try:
                yield
            finally:
                interrupt.give_back(handlers)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        asyncio.get_running_loop().set_exception_handler(self._report)
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(_WAITING)  # asyncio takes one number for this and for what it accepts in one turn

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn every 0.1 s: from time to time, give back what long passages took."""
        if counter % _TRIM_TICKS == 0 and self.pool.finished > self._trimmed:
            self._trimmed = self.pool.finished
            _trim()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn: finish what is at work, refuse what comes meanwhile on open connections, then close."""
        for server in self.servers:
            server.close()
        self.pool.stop()
        loop = asyncio.get_running_loop()
        end = loop.time() + self.stop_s
        while self.pool.at_work and loop.time() < end and not self.force_exit:
            await asyncio.sleep(0.02)
        self.pool.abandon()
        await super().shutdown(sockets)

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict) -> None:
        """Where nothing can be accepted, asyncio tries again after a second, and says so ``backlog`` times a second."""
        if getattr(context.get("exception"), "errno", None) not in _NO_RESOURCES:
            loop.default_exception_handler(context)
        elif loop.time() > self._told + 60:
            self._told = loop.time()
            print(f"warning: new connections wait: {context['exception'].strerror}", file=sys.stderr)


def _trim() -> None:
    """Give freed memory back: ``process.setup`` has malloc keep it, which suits training."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


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
