"""Downloads against a real HTTP server on the loopback interface."""

import contextlib
import hashlib
import http.server
import re
import threading
import time
import zipfile

import pytest

from mobilebert.base import transfer
from mobilebert.base.errors import InputError
from mobilebert.data import download
from mobilebert.data.download import MIRROR_VARIABLE, SQUAD_FILES, RemoteFile, extract, fetch

CONTENT = bytes(range(256)) * 3000
SIZE = len(CONTENT)
DIGEST = "md5:" + hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """Base address of a server with a few ways to go wrong; ``requests`` lists the paths asked for."""
    stop = threading.Event()
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            kind = self.path.split("/")[1]
            if kind == "silent":
                stop.wait(30)
                return
            if kind == "slow":
                time.sleep(0.3)
            if kind == "gone":
                self.send_error(404)
                return
            self.send_response(200)
            if kind != "endless":
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            if kind in ("good", "slow"):
                self.wfile.write(CONTENT)
            elif kind == "wrong":
                self.wfile.write(b"\0" * len(CONTENT))
            elif kind in ("truncated", "stalled"):
                self.wfile.write(CONTENT[:1000])
                if kind == "stalled":
                    stop.wait(30)
            elif kind in ("dripping", "endless"):
                with contextlib.suppress(OSError):
                    while not stop.wait(0.02 if kind == "dripping" else 0):
                        self.wfile.write(b"\0" * (1 if kind == "dripping" else 1 << 20))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        running.base, running.requests = f"http://127.0.0.1:{running.server_port}", asked
        yield running
        stop.set()
        running.shutdown()


def remote(server, *kinds, digest=DIGEST, size=SIZE):
    return RemoteFile("data.bin", tuple(f"{server.base}/{kind}/data.bin" for kind in kinds), digest, size)


def test_good_file_is_fetched_once(server, tmp_path, capsys, caplog):
    with caplog.at_level("INFO"):
        path = fetch(remote(server, "good"), tmp_path / "new")
    assert caplog.messages[0] == f"fetching data.bin, {SIZE / 1e6:,.1f} MB, into {tmp_path / 'new'}"
    assert path == tmp_path / "new" / "data.bin" and path.read_bytes() == CONTENT
    assert "data.bin" in capsys.readouterr().err  # the progress bar
    assert fetch(remote(server, "good"), tmp_path / "new", progress=False) == path
    assert len(server.requests) == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["data.bin"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("gone", "HTTP 404"),
        ("wrong", "md5 is "),
        ("truncated", f"broke off after 1000 of {len(CONTENT)} bytes"),
        ("silent", "no answer within"),
        ("stalled", "broke off (timed out)"),
        ("dripping", "broke off (too slow, "),
        ("endless", f"broke off (sends more than {SIZE} bytes)"),
    ],
)
def test_each_failure_is_named_and_the_mirror_takes_over(server, tmp_path, monkeypatch, kind, reason):
    monkeypatch.setattr(download, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(download, "_STALL_SECONDS", 0.5)
    monkeypatch.setattr(transfer, "WINDOW_SECONDS", 0.3)
    with pytest.raises(InputError) as raised:
        fetch(remote(server, kind), tmp_path, progress=False)
    message = str(raised.value)
    address = f"{server.base}/{kind}/data.bin"
    # A busy machine may notice the silence by the socket first.
    assert f"{address}: {reason}" in message or (kind == "silent" and f"{address}: timed out" in message)
    assert f"by hand: fetch it from {address} and save it as {tmp_path / 'data.bin'}" in message
    assert MIRROR_VARIABLE in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []  # nothing half written

    path = fetch(remote(server, kind, "good"), tmp_path, progress=False)
    assert path.read_bytes() == CONTENT


def test_time_lost_in_a_body_is_not_taken_from_the_mirror(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(download, "_STALL_SECONDS", 1.1)
    assert fetch(remote(server, "stalled", "slow"), tmp_path, progress=False).read_bytes() == CONTENT


def test_size_is_verified_where_there_is_no_checksum(server, tmp_path):
    with pytest.raises(InputError, match="sends more than 5 bytes"):
        fetch(remote(server, "good", digest=None, size=5), tmp_path, progress=False)
    assert fetch(remote(server, "wrong", digest=None), tmp_path, progress=False).exists()


def test_every_checksum_is_verified(server, tmp_path):
    sha256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert fetch(remote(server, "good", digest=f"{sha256} {DIGEST}"), tmp_path / "a", progress=False).exists()
    for digest, wrong in ((f"sha256:{'0' * 64} {DIGEST}", "sha256"), (f"{sha256} md5:{'0' * 32}", "md5")):
        with pytest.raises(InputError, match=f"{wrong} is "):
            fetch(remote(server, "good", digest=digest), tmp_path / "b", progress=False)


def test_own_mirror_is_asked_first(server, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, f"{server.base}/good/")
    fetch(remote(server, "wrong"), tmp_path, progress=False)
    assert server.requests == ["/good/data.bin"]


def test_wrong_file_in_place_is_not_overwritten(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"has 4 bytes, expected .*delete it"):
        fetch(remote(server, "good"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == b"mine" and server.requests == []


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(remote(server, "good"), tmp_path / "file" / "folder", progress=False)


def test_hanging_addresses_share_one_deadline(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_ANSWER_SECONDS", 1.5)
    started = time.monotonic()
    with pytest.raises(InputError):
        fetch(remote(server, "silent", "silent", "silent"), tmp_path, progress=False)
    assert 1.0 < time.monotonic() - started < 4
    assert len(server.requests) == 3


def test_hanging_name_lookup_does_not_hang_us(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_ANSWER_SECONDS", 0.6)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(20))
    started = time.monotonic()
    with pytest.raises(InputError, match="no answer within"):
        fetch(SQUAD_FILES["dev-v1.1.json"], tmp_path, progress=False)
    assert time.monotonic() - started < 4


def test_without_a_network_it_ends_in_time():
    assert download._ANSWER_SECONDS < 14


def test_squad_files_are_complete():
    assert sorted(SQUAD_FILES) == ["dev-v1.1.json", "dev-v2.0.json", "train-v1.1.json", "train-v2.0.json"]
    for name, file in SQUAD_FILES.items():
        assert re.fullmatch(r"sha256:[0-9a-f]{64} md5:[0-9a-f]{32}", file.digest) and file.size > 4_000_000
        assert len(file.urls) == 3 and all(url.startswith("https://") and url.endswith(name) for url in file.urls)


def test_extract(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("folder/x.tsv", "content")
    assert extract(archive, "folder/x.tsv", tmp_path / "out" / "x.tsv").read_text() == "content"
    with pytest.raises(InputError, match="has no member y"):
        extract(archive, "y", tmp_path / "y")
    archive.write_bytes(archive.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(InputError, match="broken zip archive"):
        extract(archive, "folder/x.tsv", tmp_path / "z")
    assert not (tmp_path / "y").exists() and not (tmp_path / "z").exists()
