"""Chromium: pages of ``export.py --format web`` from a server of files, and the hub's layout, with all else cut off.

Runs in this repository's ``.venv``, which has playwright. Every request that is not for the local server is refused and
counted; none may be made.
"""

import functools
import http.server
import operator
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))

import common
from int8_answers import answers

from mobilebert.inference.predictor import Predictor

# Of probabilities. Sums in another order round an activation of int8 to its neighbour now and then (2 of 600 answers).
CLOSE = 0.05
CLOSE_FLOAT32 = 1e-5
TIMED = 50  # questions

# In a page of the same server: transformers.js from a page's folder, the module from an export's.
LOAD = """async ({ folder, dtype, threads }) => {
  globalThis.transformers = await import("/reader-web/transformers.min.js");
  const { env } = transformers;
  [env.allowLocalModels, env.allowRemoteModels, env.useBrowserCache, env.useWasmCache] = [true, false, false, false];
  env.localModelPath = "/"; // of an address with its host only the model is found, not its tokenizer
  const runtime = `${location.origin}/reader-web/ort-wasm-simd-threaded`;
  env.backends.onnx.wasm.wasmPaths = { mjs: `${runtime}.mjs`, wasm: `${runtime}.wasm` };
  if (threads) env.backends.onnx.wasm.numThreads = threads;
  const { load } = await import("/reader-hub/mobilebert.mjs");
  globalThis.model = await load(transformers, folder, dtype ? { dtype } : {});
}"""
ANSWER = """async (rows) => {
  const points = (text, place) => (place < 0 ? place : Array.from(text.slice(0, place)).length);
  const found = [];
  for (const { question, context } of rows) {
    const [answer] = await model.answer(question, context);
    found.push({ ...answer, start: points(context, answer.start), end: points(context, answer.end) });
  }
  return found;
}"""
ONE_ROW = """async () => {
  const filled = (value) => ({ dims: [1, 128], data: Array.from({ length: 128 }, (_, place) => value(place)) });
  const [input_ids, attention_mask] = [filled((place) => 1000 + 37 * place), filled(() => 1)];
  const inputs = { input_ids, attention_mask, token_type_ids: filled(() => 0) };
  const begin = performance.now();
  await model.run(inputs);
  return performance.now() - begin;
}"""
CLASSIFY = """async (texts) => {
  const pipe = await transformers.pipeline("text-classification", "classifier-hub");
  const found = [];
  for (const text of texts) found.push((await pipe(text))[0].label);
  return found;
}"""
ASK = """async ({ address, bodies }) => {
  const found = [];
  for (const body of bodies) found.push(await (await fetchHere(address, { body: JSON.stringify(body) })).json());
  return found;
}"""


class Watched:
    """Browser pages that reach one server only.

    Attributes:
        refused: addresses of all that was asked of others.
        fetched: addresses of all that was asked of the server.
    """

    def __init__(self, browser: Browser):
        self.browser = browser
        self.refused: list[str] = []
        self.fetched: list[str] = []

    @contextmanager
    def page(self, address: str) -> Iterator[Page]:
        """A page of its own, with nothing in its cache."""
        context = self.browser.new_context()
        root = "/".join(address.split("/")[:3]) + "/"

        def decide(route) -> None:
            is_own = route.request.url.startswith((root, f"blob:{root}", "data:"))
            (self.fetched if is_own else self.refused).append(route.request.url)
            route.continue_() if is_own else route.abort()

        context.route("**/*", decide)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("pageerror", lambda error: print(f"page: {error}", file=sys.stderr))
        page.goto(address)
        try:
            yield page
        finally:
            context.close()


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """``python -m http.server``, as anyone would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


class _Isolating(http.server.SimpleHTTPRequestHandler):
    """Sends the headers that WebAssembly's threads need."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_) -> None:
        pass


@contextmanager
def isolating_server(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Isolating, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def same(found: dict, expected: dict, close: float) -> bool:
    places = all(found[name] == expected[name] for name in ("text", "start", "end"))
    return places and abs(found["probability"] - expected["probability"]) < close


def ask_page(page: Page, rows: list[dict]) -> list[dict]:
    bodies = [{"question": row["question"], "passage": row["context"], "allow_no_answer": None} for row in rows]
    return page.evaluate(ASK, {"address": "api/answer", "bodies": bodies})


def first_load(watched: Watched, folder: Path, passage: str, question: str) -> str:
    """Seconds from the address to the first answer on the page, and milliseconds a question after that."""
    with plain_server(folder) as address:
        begin = time.perf_counter()
        with watched.page(address) as page:
            page.wait_for_selector("#models input", state="attached")
            page.fill("#passage", passage)
            page.fill("#question", question)
            page.click("#submit")
            page.wait_for_selector("#timing:not(:empty)", state="attached")
            seconds = time.perf_counter() - begin
            found = ask_page(page, [{"question": question, "context": passage}] * TIMED)
    return f"first answer {seconds:.1f} s after the address, then {min(one['latency_ms'] for one in found):.1f} ms"


class Check:
    """The rows of the table, made with one browser."""

    def __init__(self, work: Path, browser: Browser):
        self.work, self.exports = work, work / "exports"
        self.watched = Watched(browser)
        self.version = f"4.3.2, Chromium {browser.version.split('.')[0]}"
        self.rows, self.reviews = common.read(work, "reader"), common.read(work, "classifier")
        self.int8_rows = answers(self.exports / "reader-hub", self.rows)
        self.failures: list[str] = []

    def report(self, client: str, tested: str, equal: int, total: int, **more) -> None:
        common.report(client, self.version, tested, equal, total, **more)
        if equal != total:
            self.failures.append(f"{client}, {tested}")

    def equal_answers(self, found: list[dict], expected: list[dict], close: float) -> int:
        return sum(same(one, other, close) for one, other in zip(found, expected, strict=True))

    def module(self, address: str, dtype: str | None) -> None:
        """mobilebert.mjs on the hub's layout; what asks for no ``dtype`` has to be given int8."""
        with self.watched.page(f"{address}reader-hub/config.json") as page:
            self.watched.fetched.clear()
            page.evaluate(LOAD, {"folder": "reader-hub", "dtype": dtype})
            files = [url.rsplit("/", 1)[1] for url in self.watched.fetched if url.endswith(".onnx")]
            assert files == ["model.onnx" if dtype else "model_quantized.onnx"], files
            found = page.evaluate(ANSWER, self.rows)
            page.evaluate(LOAD, {"folder": "big-reader-hub", "dtype": dtype})
            ratio = common.ratio(lambda: page.evaluate(ONE_ROW), self.work, "big-reader", float)
        expected, close = (self.rows, CLOSE_FLOAT32) if dtype else (self.int8_rows, CLOSE)
        self.report(
            "transformers.js (Chromium)",
            f"mobilebert.mjs, questions, {'float32' if dtype else 'int8'}, one thread",
            self.equal_answers(found, expected, close),
            len(found),
            ratio=ratio,
            megabytes=(self.exports / "big-reader-hub" / "onnx" / files[0]).stat().st_size / 1e6,
        )
        if dtype is None and self.equal_answers(found, self.rows, close) == len(found):
            raise AssertionError("int8 and float32 cannot be told apart")

    def pipeline(self, address: str) -> None:
        """transformers.js' own, without options."""
        with self.watched.page(f"{address}classifier-hub/config.json") as page:
            page.evaluate(LOAD, {"folder": "reader-hub", "dtype": None})
            self.watched.fetched.clear()
            labels = page.evaluate(CLASSIFY, [review["text"] for review in self.reviews])
        files = [url.rsplit("/", 1)[1] for url in self.watched.fetched if url.endswith(".onnx")]
        assert files == ["model_quantized.onnx"], files
        equal = sum(label == review["label"] for label, review in zip(labels, self.reviews, strict=True))
        tested = 'pipeline("text-classification"), int8 by default, against float32'
        self.report("transformers.js (Chromium)", tested, equal, len(labels))

    def threads(self) -> None:
        """Two threads, where the server isolates the page."""
        with isolating_server(self.exports) as address, self.watched.page(f"{address}reader-hub/config.json") as page:
            assert page.evaluate("crossOriginIsolated")
            page.evaluate(LOAD, {"folder": "reader-hub", "dtype": None, "threads": 2})
            found = page.evaluate(ANSWER, self.rows)
            page.evaluate(LOAD, {"folder": "big-reader-hub", "dtype": None, "threads": 2})
            ratio = common.ratio(lambda: page.evaluate(ONE_ROW), self.work, "big-reader", float)
        equal = self.equal_answers(found, self.int8_rows, CLOSE)
        tested = "mobilebert.mjs, questions, int8, two threads"
        self.report("transformers.js (Chromium)", tested, equal, len(found), ratio=ratio)

    def question_page(self) -> None:
        """The page's answers in whole words, with its windows; how long it takes to be there."""
        predictor = Predictor(self.exports / "reader-web")
        readings = [predictor.read(row["question"], row["context"], top_k=4, whole_words=True) for row in self.rows]
        with plain_server(self.exports / "reader-web") as address, self.watched.page(address) as page:
            found = ask_page(page, self.rows)
        equal = sum(
            one["windows"] == [list(bounds) for bounds in other.windows]
            and same(one["answers"][0], vars(other.answers[0]), CLOSE)
            and len(one["answers"]) == len(other.answers)
            for one, other in zip(found, readings, strict=True)
        )
        row, big = self.rows[0], self.exports / "big-reader-web"
        small = first_load(self.watched, self.exports / "reader-web", row["context"], row["question"])
        passage = " ".join(f"word{number}" for number in range(1000, 1118))
        large = first_load(self.watched, big, passage, "word1 word2 word3 word4 word5 word6 word7")
        size = sum(path.stat().st_size for path in big.rglob("*") if path.is_file()) / 1e6
        note = f"full size, 128 tokens: {large} a question; the quickstart's model: {small} a question"
        self.report("export.py --format web", "questions, int8", equal, len(found), megabytes=size, note=note)

    def class_page(self) -> None:
        """The page's classes, from below a server's root."""
        expected = Predictor(self.exports / "classifier-web").classify_batch([one["text"] for one in self.reviews])
        with plain_server(self.exports) as address, self.watched.page(f"{address}classifier-web/") as page:
            bodies = [{"text": review["text"], "pair": ""} for review in self.reviews]
            found = page.evaluate(ASK, {"address": "api/classify", "bodies": bodies})
        labels, wanted = [one["label"] for one in found], [one.label for one in expected]
        equal = sum(map(operator.eq, labels, wanted))
        shifted = sum(map(operator.eq, labels[1:] + labels[:1], wanted))
        assert 2 * shifted <= len(wanted), f"the comparison cannot tell: {shifted} equal to another text's"
        self.report("export.py --format web", "classes, int8", equal, len(found))

    def network(self) -> None:
        """Nothing was asked of others; what is asked of others is refused and counted."""
        assert not self.watched.refused, self.watched.refused
        outside = "fetch('https://example.com/').catch(() => {})"
        with plain_server(self.exports) as address, self.watched.page(f"{address}reader-web/") as page:
            page.wait_for_selector("#models input", state="attached")
            (worker,) = page.workers
            page.evaluate(outside)
            worker.evaluate(outside)
        assert not self.watched.refused, "the page's policy lets requests out"
        with plain_server(self.exports) as address, self.watched.page(f"{address}reader-hub/config.json") as page:
            page.evaluate(outside)
        assert self.watched.refused == ["https://example.com/"], self.watched.refused


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=common.CHROMIUM, args=list(common.CHROMIUM_FLAGS))
        check = Check(Path(sys.argv[1]), browser)
        with plain_server(check.exports) as address:
            check.module(address, "fp32")
            check.module(address, None)
            check.pipeline(address)
        check.threads()
        check.question_page()
        check.class_page()
        check.network()
        browser.close()
    if check.failures:
        sys.exit(f"not equal: {'; '.join(check.failures)}")


if __name__ == "__main__":
    main()
