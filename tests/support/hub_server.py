"""A server on loopback that answers as a Hugging Face hub does."""

import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(monkeypatch, cache: Path, models: dict[str, dict[str, bytes]]) -> Iterator["Hub"]:
    """Serve models, and have them fetched from here into ``cache``."""
    served = Hub(models)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    try:
        yield served
    finally:
        served.shutdown()
        served.server_close()


class Hub(ThreadingHTTPServer):
    """Serves models: name -> file -> content, which may be changed; ``files`` are the first one's.

    ``cut_once`` names a file whose first answer breaks off, ``dripping`` one that comes byte by byte after its half.
    """

    daemon_threads = True

    def __init__(self, models):
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: dict[str, dict[str, bytes]] = models
        self.files = next(iter(models.values()))
        self.cut_once: str | None = None
        self.dripping: str | None = None
        self.requests: list[tuple[str, str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def bodies_sent(self) -> list[str]:
        return [path.rpartition("/")[2] for verb, path, _ in self.requests if verb == "GET" and "/resolve/" in path]

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        self.server.requests.append((self.command, self.path, self.headers.get("Range", "")))
        path = self.path.split("?")[0]
        model = "/".join(path.removeprefix("/api/models").split("/")[1:3])
        files = self.server.models.get(model, {})
        if files and path in (f"/api/models/{model}", f"/api/models/{model}/revision/main"):
            siblings = [{"rfilename": name, "size": len(body)} for name, body in files.items()]
            self.send(json.dumps({"id": model, "sha": COMMIT, "siblings": siblings}).encode())
        elif files and path.startswith(f"/api/models/{model}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in files.items()
            ]
            self.send(json.dumps(tree).encode())
        elif path.startswith(f"/{model}/resolve/") and (name := path.rpartition("/")[2]) in files:
            self.send_file(name, files[name])
        else:
            self.send(b'{"error": "Repository not found"}', 404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def send_file(self, name: str, body: bytes) -> None:
        large = len(body) > 1000  # as on the hub, where large files go by sha256 and small ones by git's sha1
        digest = hashlib.sha256(body) if large else hashlib.sha1(b"blob %d\0" % len(body) + body)
        headers = {"ETag": f'"{digest.hexdigest()}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if self.command == "GET" and self.server.cut_once == name:
            self.server.cut_once = None
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if self.command == "GET" and self.server.dripping == name:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            with contextlib.suppress(OSError):
                for byte in body[len(body) // 2 :]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.02)
            self.close_connection = True
            return
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.send(body[start:], 206 if start else 200, **headers)
