"""Connections: how many there may be, how long one may keep the server waiting, and how it ends.

uvicorn sets no time for a request's header, for a body that nobody reads, or for an answer that is not taken; takes a
half-closed connection for a lost one; and closes so abruptly that an answer may be destroyed on its way.
"""

import asyncio
import contextlib
import fcntl
import ipaddress
import json
import resource
import termios
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mobilebert.base.errors import InputError

STOPPING = "The demo is being stopped."
_PROBE_S = 0.5
_OTHER_FILES = 64  # descriptors for all but connections: models that are loaded, libraries
_FEWEST = 16  # for connections


@dataclass(frozen=True)
class Bounds:
    """Of connections.

    Attributes:
        total: at the same time. One more takes the place of the one that has kept us waiting longest.
        per_address: the same, of one IPv4 address or one IPv6 network of 64 bits: fifty browsers behind one proxy have
            six connections each.
        silence_s: seconds that a client may take for a request's header, or for reading an answer.
        backlog: accepted in one turn of the loop.
        linger_s: seconds for what is still coming from a client that was refused, so that the answer reaches it.
    """

    total: int = 800
    per_address: int = 400
    silence_s: float = 10
    linger_s: float = 2
    backlog: int = 64

    @property
    def protocol(self) -> Callable[..., "Connection"]:
        """For ``uvicorn.Config(http=...)``."""
        return partial(Connection, bounds=self)


def bounds_for(queue: int) -> Bounds:
    """Room for every request that may be at work, and no more connections than there are file descriptors.

    Args:
        queue: see ``Pool``.

    Raises:
        InputError: too few descriptors.
    """
    bounds = Bounds(total=max(Bounds.total, 4 * queue), per_address=max(Bounds.per_address, 2 * queue))
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return bounds
    free = descriptors - _OTHER_FILES
    if free < _FEWEST:
        raise InputError(f"only {descriptors} files may be open: the demo needs {_OTHER_FILES + _FEWEST} (ulimit -n)")
    # Up to three turns' connections are open without being counted: just accepted, and just dropped.
    backlog = min(bounds.backlog, free // _FEWEST)
    return replace(bounds, total=min(bounds.total, free - 4 * backlog), backlog=backlog)


class Connection(H11Protocol):
    """uvicorn's connection, bounded.

    Args:
        bounds: see there.
        arguments: of uvicorn.
    """

    def __init__(self, *arguments: Any, bounds: Bounds, **more: Any):
        super().__init__(*arguments, **more)
        self.bounds, self.network, self.since = bounds, "", 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False

    @property
    def is_at_work(self) -> bool:
        """Whether a whole request is here and its answer is not complete."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    @property
    def has_unread(self) -> bool:
        """Whether the system has received what this loop, when it is late, has not read."""
        unread = bytearray(4)
        fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, unread)
        return any(unread)

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        self.network, self.since = _network(self.client), self.loop.time()
        self._watch()
        for count, crowd in (
            (self.bounds.per_address, {other for other in self.connections if other.network == self.network}),
            (self.bounds.total, self.connections),
        ):
            if len(crowd) > count:
                self._make_room(crowd)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if not self._refused:
            super().data_received(data)
            self._watch()

    def eof_received(self) -> bool:
        """Called by asyncio: the client sends no more, but it may wait for its answer, unless it is gone."""
        if self.is_at_work:
            self.cycle.keep_alive = False
            self.loop.call_later(_PROBE_S, self._probe)
        return self.is_at_work

    def pause_writing(self) -> None:
        """Called by asyncio: the client does not read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        super().resume_writing()
        self._watch()

    def on_response_complete(self) -> None:
        """Called by uvicorn; with requests in a pipeline it begins the next."""
        self.since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is not HTTP."""
        self.refuse(400, msg)

    def shutdown(self) -> None:
        """Called by uvicorn when the server ends."""
        if self._has_begun():
            self.refuse(503, STOPPING)
        else:
            super().shutdown()
            self._arm(self.bounds.linger_s)

    def refuse(self, status: int, message: str) -> None:
        """Answer in place of the application and close; what still comes is thrown away for a moment."""
        if self._refused:
            return
        self._refused = True
        if self.cycle is not None:  # the application may wait for the rest of a body
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_answer(status, message))
            with contextlib.suppress(OSError):  # it was reset meanwhile
                self.transport.write_eof()
        else:  # it has begun to answer
            self.transport.close()
        self._arm(self.bounds.linger_s)

    def _has_begun(self) -> bool:
        """Whether a part of a request is here."""
        return self.conn.their_state is h11.SEND_BODY or (
            self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] != b""
        )

    def _make_room(self, crowd: set["Connection"]) -> None:
        """Drop the one that keeps us waiting longest, of those that never sent a request if there are."""
        waiting = [other for other in crowd - {self} if not other.is_at_work or other.flow.write_paused]
        dropped = min(waiting, key=lambda other: (other.has_unread, other.cycle is not None, other.since), default=self)
        if dropped is self:
            self.refuse(503, "Too many connections at once. Try again in a moment.")
        else:
            dropped.transport.abort()
        self.connections.discard(dropped)  # it is lost only in the loop's next turn, and counts no more

    def _watch(self) -> None:
        """Time runs while the next step is the client's; a body's time is the guard's, an answer's the pool's."""
        if self._refused:
            return
        if self.cycle is not None and not self.cycle.response_complete and not self.flow.write_paused:
            self._disarm()
        elif self._timer is None:
            self._arm(self.bounds.silence_s)

    def _overdue(self) -> None:
        if self._has_begun() and not (self._refused or self.transport.is_closing()):
            self.refuse(408, "The request did not arrive in time.")
        else:
            self.transport.abort()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._overdue)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _probe(self) -> None:
        """Send what every client skips; where nobody is left, the next write fails, which ends the work."""
        if self.transport.is_closing() or not self.is_at_work:
            return
        if self.conn.our_state is h11.SEND_RESPONSE and self.conn.their_http_version == b"1.1":
            event = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self.transport.write(self.conn.send(event))
        self.loop.call_later(_PROBE_S, self._probe)


def _network(client: tuple[str, int] | None) -> str:
    """What counts as one address: of IPv6 its first half, which one household has to itself."""
    address = ipaddress.ip_address(client[0].partition("%")[0]) if client else None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _answer(status: int, message: str) -> bytes:
    content = json.dumps({"error": message}).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(["Retry-After: 1"] if status == 503 else []),
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + content
