"""The demo under mixed load: good users beside idle, slow, broken, malicious and unfaithful clients.

Starts the demo as a user does and asks it for the given minutes. Good users ask about once a second and check that the
answer stands in the passage where it is said to; 503 with Retry-After is an honest answer, anything else but 200 is an
error. Meanwhile: connections that say nothing, headers and bodies of one byte a second, answers that are not read,
requests that are broken or meant to be (none may get a 5xx but 503 and 504), and passages of 100,000 characters whose
askers leave. Exit code 1 where a good user got something else, the server said more than its last line, did not end
with 143 after SIGTERM, or kept more than 20 % more memory than it had under good users alone.

    python tests/campaigns/attack_demo.py                             (30 minutes, a small model made for it)
    python tests/campaigns/attack_demo.py --minutes 1 --users 10 outputs/squad
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

WORDS = ["the", "a", "notes", "program", "engine", "was", "wrote", "by", "ada", "lovelace", "in", "1843", "film", "it"]
LONG = 100_000  # characters
IDLE, SLOW_HEADERS, SLOW_BODIES, UNREAD = 150, 100, 40, 5  # connections at a time, opened again when they are dropped
PATIENCE_S = 90
TOLERANCE = 1.2
STARTS = [
    "GET /%00 HTTP/1.1", "GET /../../etc/passwd HTTP/1.1", "GET /%2e%2e/%zz HTTP/1.1", "HEAD / HTTP/1.1",
    "OPTIONS * HTTP/1.1", "CONNECT evil.example:80 HTTP/1.1", "GET / HTTP/1.0", "GET / HTTP/9.9", "nonsense", "",
    "GET http://evil.example/ HTTP/1.1", "PRI * HTTP/2.0", "GET /" + "a" * 100_000 + " HTTP/1.1",
]  # fmt: skip
HEADERS = [
    "Origin: http://[", "Origin: null", "Sec-Fetch-Site: cross-site", "Content-Type: ;", "Content-Length: -1",
    "Content-Length: " + "9" * 5000, "Content-Length: 99999999999", "Transfer-Encoding: gzip", "Host: evil.example",
    "Transfer-Encoding: chunked\r\nContent-Length: 3", "Expect: 100-continue", "Upgrade: h2c\r\nConnection: Upgrade",
    "X: " + "x" * 100_000, "a: b\r\n" * 5_000 + "c: d", " folded", "no colon",
]  # fmt: skip
VALUES = ["1" * 5000, "1e308", "1e999", "NaN", '"\\ud800"', "null", "[]", "{}", "true", "[" * 20_000, '"' + "a" * LONG]


class Campaign:
    """What the clients share.

    Args:
        address: of the demo.
        model: its name on the page.
        seed: of what is asked when.
    """

    def __init__(self, address: tuple[str, int], model: str, seed: int):
        self.address, self.model, self.rng = address, model, random.Random(seed)
        self.answers: Counter[tuple[str, str]] = Counter()
        self.seconds: list[float] = []  # of the good users' answers
        self.errors: list[str] = []

    async def run(self, users: int, seconds: float, attacked: bool) -> None:
        """Good users, and the others if ``attacked``, for some time."""
        clients: list[Callable[[], Awaitable[None]]] = [self.good_user] * users
        if attacked:
            clients += [self.idle] * IDLE + [self.slow_header] * SLOW_HEADERS + [self.slow_body] * SLOW_BODIES
            clients += [self.unread] * UNREAD + [self.unfaithful] * 2 + [self.broken] * 2 + [self.odd_values]
            clients += [self.health]
        tasks = [asyncio.create_task(self.again(client, time.monotonic() + seconds)) for client in clients]
        await asyncio.gather(*tasks)

    async def long_passages(self, count: int) -> None:
        """Asked by somebody who waits for the answers, one after the other."""
        for _ in range(count):
            async with self.connect() as (reader, writer):
                writer.write(self.question(LONG)[1])
                assert (await read_answer(reader))[0] == 200

    async def again(self, client: Callable[[], Awaitable[None]], end: float) -> None:
        await asyncio.sleep(self.rng.uniform(0, 2))
        while time.monotonic() < end:
            try:
                await asyncio.wait_for(client(), PATIENCE_S)
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                name = client.__name__
                self.answers[name, type(error).__name__] += 1
                if client in (self.good_user, self.health):
                    self.errors.append(f"{name}: {error!r}")

    @contextlib.asynccontextmanager
    async def connect(self):
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, start: str = "POST /api/answer HTTP/1.1", *more: str) -> bytes:
        host, port = self.address
        own = [] if any(line.startswith("Host:") for line in more) else [f"Host: {host}:{port}"]
        return "\r\n".join([start, *own, "Content-Type: application/json", *more, "", ""]).encode("latin-1")

    def question(self, characters: int) -> tuple[str, bytes]:
        """A passage, and the request that asks about it."""
        words = self.rng.choices(WORDS, k=characters // 4)
        passage = " ".join(words)[:characters]
        body = json.dumps({"model": self.model, "question": "who wrote the notes ?", "passage": passage}).encode()
        return passage, self.head("POST /api/answer HTTP/1.1", f"Content-Length: {len(body)}") + body

    # ------------------------------------------------------------ clients

    async def good_user(self) -> None:
        """Some questions over one connection, as a browser keeps it."""
        async with self.connect() as (reader, writer):
            for asked in range(self.rng.randint(1, 5)):
                passage, request = self.question(self.rng.randint(100, 1_000))
                began = time.monotonic()
                try:
                    writer.write(request)
                    status, headers, body = await read_answer(reader)
                except (OSError, EOFError):
                    if not asked:
                        raise
                    self.answers["good_user", "kept connection closed"] += 1  # a browser opens another
                    return
                self.answers["good_user", str(status)] += 1
                if status == 200:
                    self.seconds.append(time.monotonic() - began)
                    for answer in json.loads(body)["answers"]:
                        if answer["text"] != passage[answer["start"] : answer["end"]]:
                            self.errors.append(f"good_user: {answer} of {passage!r}")
                elif status != 503 or "retry-after" not in headers:
                    self.errors.append(f"good_user: {status} {body!r}")
                await asyncio.sleep(self.rng.uniform(0.5, 1.5))

    async def health(self) -> None:
        async with self.connect() as (reader, writer):
            writer.write(self.head("GET /healthz HTTP/1.1"))
            status, _, body = await read_answer(reader)
        self.answers["health", str(status)] += 1
        if status != 200:
            self.errors.append(f"health: {status} {body!r}")
        await asyncio.sleep(2)

    async def idle(self) -> None:
        async with self.connect() as (reader, _):
            self.count("idle", await reader.read(1 << 16))

    async def slow_header(self) -> None:
        await self.trickle("slow_header", b"", self.head("GET / HTTP/1.1"))

    async def slow_body(self) -> None:
        await self.trickle("slow_body", self.head("POST /api/answer HTTP/1.1", "Content-Length: 99"), b" " * 99)

    async def trickle(self, name: str, at_once: bytes, slowly: bytes) -> None:
        async with self.connect() as (reader, writer):
            writer.write(at_once)
            answer = asyncio.ensure_future(reader.read(1 << 16))
            for byte in slowly:
                writer.write(bytes([byte]))
                await asyncio.wait([answer], timeout=1)
                if answer.done():
                    break
            self.count(name, await answer)

    async def unread(self) -> None:
        async with self.connect() as (reader, writer):
            writer.transport.pause_reading()
            writer.write(self.head("GET /page.js HTTP/1.1") * 500)
            await asyncio.sleep(30)
            writer.transport.resume_reading()
            while await reader.read(1 << 20):
                pass
            self.count("unread", b"")

    async def unfaithful(self) -> None:
        """A long passage; its asker leaves, now by closing, now by a reset."""
        async with self.connect() as (reader, writer):
            _, request = self.question(LONG)
            writer.write(request)
            await writer.drain()
            with contextlib.suppress(asyncio.TimeoutError):
                self.count("unfaithful", await asyncio.wait_for(reader.read(1 << 16), self.rng.uniform(0, 2)))
                return
            if self.rng.random() < 0.5:
                writer.close()
            self.answers["unfaithful", "left"] += 1
        await asyncio.sleep(self.rng.uniform(0, 2))

    async def broken(self) -> None:
        body = self.rng.choice([b"", b"{", b"\xff" * 9, b"zz\r\n\r\n", b" " * (4 << 20)])
        request = self.head(self.rng.choice([*STARTS, *["POST /api/answer HTTP/1.1"] * 9]), self.rng.choice(HEADERS))
        await self.send("broken", request + body, half_close=self.rng.random() < 0.3)

    async def odd_values(self) -> None:
        values = {"model": json.dumps(self.model), "question": '"who ?"', "passage": '"ada lovelace"'}
        values[self.rng.choice([*values, "allow_no_answer"])] = self.rng.choice(VALUES)
        body = ("{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}").encode()
        request = self.head("POST /api/answer HTTP/1.1", f"Content-Length: {len(body)}", "Connection: close") + body
        await self.send("odd_values", request, half_close=self.rng.random() < 0.3)

    async def send(self, name: str, request: bytes, half_close: bool) -> None:
        async with self.connect() as (reader, writer):
            writer.write(request)
            if half_close:
                writer.write_eof()
            answer = await reader.read(1 << 16)
            while answer.endswith(b" 100 Continue\r\n\r\n"):
                answer += await reader.read(1 << 16)
            self.count(name, answer)
        await asyncio.sleep(self.rng.uniform(0, 0.2))

    def count(self, name: str, answer: bytes) -> None:
        found = [status for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer) if status != b"100"]
        told = found[0].decode() if found else "closed"
        self.answers[name, told] += 1
        if told.startswith("5") and told not in ("503", "504"):
            self.errors.append(f"{name}: {answer!r}")


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def make_model(folder: Path) -> Path:
    """An exported MobileBERT of two layers with random weights."""
    from support.models import save_checkpoint

    save_checkpoint(folder / "checkpoint", "question-answering")
    command = [sys.executable, "export.py", "--model", folder / "checkpoint", "--out", folder / "exported"]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / "exported"


def resident_mb(pid: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


async def settled_mb(pid: int) -> float:
    """The median of some seconds, after those in which freed memory is given back."""
    await asyncio.sleep(12)
    samples = []
    for _ in range(10):
        samples.append(resident_mb(pid))
        await asyncio.sleep(0.5)
    return statistics.median(samples)


async def attack(campaign: Campaign, pid: int, users: int, minutes: float) -> tuple[float, float, float]:
    """Good users alone, all, nobody; the memory at the start, the most of it, and that at the end, MB."""
    await campaign.long_passages(3)
    await campaign.run(users, min(30, 20 * minutes), attacked=False)
    before = await settled_mb(pid)
    campaign.answers.clear()
    campaign.seconds.clear()
    peak = before

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident_mb(pid))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    await campaign.run(users, 60 * minutes, attacked=True)
    watching.cancel()
    return before, peak, await settled_mb(pid)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="exported or fine-tuned for questions; else one is made")
    parser.add_argument("--minutes", type=float, default=30, help="under attack; one more before and after")
    parser.add_argument("--users", type=int, default=50, help="good ones, each asking about once a second")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked when")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="attack_demo_") as folder:
        model = args.model or make_model(Path(folder))
        command = [sys.executable, "-m", "mobilebert.commands.demo", str(model), "--port", "0"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
            try:
                name = demo.stdout.readline().strip().rpartition(": ")[0]
                found = re.search(r"http://([\d.]+):(\d+)", demo.stdout.readline())
                campaign = Campaign((found[1], int(found[2])), name, args.seed)
                memory = asyncio.run(attack(campaign, demo.pid, args.users, args.minutes))
                demo.send_signal(signal.SIGTERM)
                said, _ = demo.communicate(timeout=PATIENCE_S)
            finally:
                demo.kill()
    return report(campaign, memory, said, demo.returncode)


def report(campaign: Campaign, memory: tuple[float, float, float], said: str, code: int) -> int:
    """Print everything; the exit code."""
    for (name, told), count in sorted(campaign.answers.items()):
        print(f"{name:12} {told:24} {count:7,}")
    cuts = statistics.quantiles(campaign.seconds, n=100)
    print(f"requests and connections: {campaign.answers.total():,}")
    print(f"good users' answers: p50 {cuts[49]:.3f} s, p95 {cuts[94]:.3f} s, p99 {cuts[98]:.3f} s")
    before, peak, after = memory
    print(
        f"memory: {before:.0f} MB under good users, {peak:.0f} at most, {after:.0f} at the end ({after / before:.2f})"
    )
    print(f"errors: {len(campaign.errors)}; the server's last words: {said[-500:]!r}; its exit code: {code}")
    for error in campaign.errors[:20]:
        print(f"  {error[:300]}")
    failed = bool(
        campaign.errors
        or said != "interrupted (SIGTERM)\n"
        or code != 128 + signal.SIGTERM
        or after > TOLERANCE * before
    )
    print("failed" if failed else "passed")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
