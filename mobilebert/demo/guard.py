"""What stands before the application: requests of other web pages, too large, too slow or too late; and safe headers.

The server listens on this machine only, but any web page open in the same browser can send requests to it. Such a page
gives itself away: by a Host header with its own name (DNS rebinding), or by its Origin.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilebert.demo.connections import STOPPING

BODY_TIMEOUT_S = 10
_DRAIN_S, _DRAIN_BYTES = 5, 1 << 26  # of a refused body, read and thrown away
_HEADERS = {
    # Scripts, styles and pictures of this server, nothing in line, nothing from elsewhere, no frame around the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware.

    Args:
        app: what it protects.
        names: host names that the server goes by, besides localhost and any address written in numbers.
        max_bytes: of a request's body.
        is_stopping: whether the server is about to end.
    """

    def __init__(self, app: ASGIApp, names: set[str], max_bytes: int, is_stopping: Callable[[], bool]):
        self.app, self.names, self.max_bytes = app, {name.lower() for name in names}, max_bytes
        self.is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused; pass on the rest, its body read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        if refusal := self._refusal(headers, scope["method"]):
            await _refuse(*refusal, receive, send_safely, drain="expect" not in headers)
            return
        collected = bytearray()
        try:
            async for part in _body(receive, BODY_TIMEOUT_S):
                collected += part
                if len(collected) > self.max_bytes:
                    await _refuse(413, self._too_large, receive, send_safely)
                    return
        except asyncio.TimeoutError:  # not the builtin's name before Python 3.11
            await _refuse(408, "The text did not arrive in time.", receive, send_safely)
            return
        except ConnectionError:
            return
        body: bytes | None = bytes(collected)

        async def receive_whole() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            whole, body = body, None
            return {"type": "http.request", "body": whole, "more_body": False}

        await self.app(scope, receive_whole, send_safely)

    def _refusal(self, headers: Headers, method: str) -> tuple[int, str] | None:
        """Status and message for a request that is refused unread."""
        if not self._is_own_name(headers.get("host", "")):
            return 421, "This server does not go by the name in the request's Host header."
        if self.is_stopping():
            return 503, STOPPING
        if method not in ("POST", "GET", "HEAD"):
            return 405, f"{method} is not for this server."
        if method == "POST":
            if _is_foreign(headers) or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "Requests from other web pages are refused."
            if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
                return 415, "Expected a body of application/json."
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.max_bytes:
            return 413, self._too_large
        return None

    def _is_own_name(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self.names:
            return True
        try:  # a number cannot be rebound to another machine
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    @property
    def _too_large(self) -> str:
        return f"The texts are too large: at most {self.max_bytes:,} bytes in all."


def _is_foreign(headers: Headers) -> bool:
    if "origin" not in headers:
        return False
    try:
        return urlsplit(headers["origin"]).netloc != headers.get("host")
    except ValueError:
        return True


async def _body(receive: Receive, seconds: float) -> AsyncIterator[bytes]:
    """The body's parts, all of them within that time.

    Raises:
        asyncio.TimeoutError: it is not whole by then.
        ConnectionError: the client is gone.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    more = True
    while more:
        message = await asyncio.wait_for(receive(), end - loop.time())
        if message["type"] == "http.disconnect":
            raise ConnectionError
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _refuse(status: int, message: str, receive: Receive, send: Send, drain: bool = True) -> None:
    """Answer and close, but not while the client is still sending: that would destroy the answer on its way."""
    headers = {"Connection": "close", **({"Retry-After": "1"} if status == 503 else {})}
    response = JSONResponse({"error": message}, status, headers)
    await send({"type": "http.response.start", "status": status, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    if drain:
        size = 0
        with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
            async for part in _body(receive, _DRAIN_S):
                size += len(part)
                if size > _DRAIN_BYTES:
                    break
    await send({"type": "http.response.body", "body": b""})
