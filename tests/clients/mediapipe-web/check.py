"""MediaPipe Tasks in Chromium: the page of docs/phones.md, served from this machine, with all else cut off.

Runs in this repository's ``.venv``, which has playwright.
"""

import functools
import http.server
import json
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

import common

ROOT = Path(__file__).parents[3]
PACKAGE = Path(__file__).parent / "node_modules" / "@mediapipe" / "tasks-text"
CLOSE = 1e-5  # of float32's probabilities
LEAST_INT8 = 0.97  # of the labels
LONG = " ".join(f"word{number}" for number in range(1000, 1126))  # 128 tokens of the big classifier
METRICS = "https://odml.pa.googleapis.com/v1/log"  # to which the library reports once a minute, where it may
SECONDS = 180  # a busy machine
CLASSIFY = "(texts) => texts.map((text) => classify(text).map((one) => [one.categoryName, one.score]))"
TIME = "(text) => { const start = performance.now(); classify(text); return performance.now() - start; }"
# The same text to BERT's tokenizer, see tests/clients/mediapipe.
DECORATED = str.maketrans({"e": "e\u0301", "o": "\u00f6", "A": "\u00c0", "a": "a\u00ad\u200b"})


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on a server of files."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def snippet() -> str:
    """The page of docs/phones.md."""
    return re.search(r"```html\n(.*?)```", (ROOT / "docs" / "phones.md").read_text(encoding="utf-8"), re.DOTALL)[1]


@contextmanager
def opened(model: Path, html: str, fast: bool = False) -> Iterator[tuple[Page, list[str]]]:
    """A page with a model, and the addresses elsewhere that it asks for; ``fast``: its clock can be put forward."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        (folder / "index.html").write_text(html, encoding="utf-8")
        (folder / "tasks-text").symlink_to(PACKAGE)
        (folder / "model.tflite").symlink_to(model)
        browser = playwright.chromium.launch(executable_path=common.CHROMIUM, args=common.CHROMIUM_FLAGS)
        with served(folder) as address:
            page = browser.new_page()
            if fast:
                page.clock.install()
            said: list[str] = []
            page.on("pageerror", lambda error: said.append(str(error)))
            elsewhere: list[str] = []
            here = (address, "data:", "blob:")
            page.on("request", lambda one: None if one.url.startswith(here) else elsewhere.append(one.url))
            page.goto(address)
            try:
                page.wait_for_function("globalThis.classify !== undefined", timeout=SECONDS * 1000)
            except Exception as error:
                sys.exit(f"the page does not load: {said or error}")
            yield page, elsewhere
        browser.close()


def sent_after_a_minute(model: Path, html: str) -> list[str]:
    """What a page asks for elsewhere, one text and more than a minute after it was opened."""
    with opened(model, html, fast=True) as (page, elsewhere):
        page.evaluate(CLASSIFY, ["A fine room."])
        page.clock.run_for(61_000)
        page.wait_for_timeout(500)
        return elsewhere


def equal_to(reference: list[dict], found: list[list], close: float | None = None) -> int:
    """How many have the label of the reference, and, with ``close``, its probabilities."""
    return sum(
        got[0][0] == row["label"]
        and (close is None or all(abs(score - row["scores"][label]) < close for label, score in got))
        for row, got in zip(reference, found, strict=True)
    )


def main() -> None:
    work = Path(sys.argv[1]).resolve()
    rows, exports = common.read(work, "classifier"), work / "exports"
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    html, failed = snippet(), []
    sent = sent_after_a_minute(exports / "classifier-litert" / "model.tflite", html)
    unguarded = re.sub(r"<meta http-equiv.*?>\n", "", html)
    control = sent_after_a_minute(exports / "classifier-litert" / "model.tflite", unguarded)
    if sent or control != [METRICS]:
        failed.append(f"asked for {sent}, without the page's policy for {control}")
    for title, name in (("float32", "classifier-litert"), ("dynamic int8", "classifier-litert-int8")):
        print(f"{name}: {len(rows)} texts", file=sys.stderr)
        with opened(exports / name / "model.tflite", html) as (page, elsewhere):
            found = page.evaluate(CLASSIFY, [row["text"] for row in rows])
            equal, close = equal_to(rows, found), equal_to(rows, found, CLOSE)
            cleaned = equal_to(rows, page.evaluate(CLASSIFY, [row["text"].translate(DECORATED) for row in rows]))
        # The control: what float32 gets all of, int8 must not, or nothing is compared.
        if (close == len(rows)) != (title == "float32") or equal < (1 if title == "float32" else LEAST_INT8) * len(
            rows
        ):
            failed.append(f"{title}: {equal} labels and {close} probabilities of {len(rows)} are equal")
        if cleaned != equal:
            failed.append(f"{title}: {equal} labels are equal, {cleaned} with accents and soft hyphens")
        if elsewhere:
            failed.append(f"{title}: asked for {', '.join(elsewhere)}")
        with opened(exports / f"big-{name}" / "model.tflite", html) as (page, _):
            ratio = common.ratio(lambda page=page: page.evaluate(TIME, LONG), work, "big-classifier", float)
        common.report(
            "MediaPipe Tasks (Chromium)", version, f"text classifier, {title}", equal, len(rows), ratio=ratio,
            megabytes=(exports / f"big-{name}" / "model.tflite").stat().st_size / 1e6,
        )  # fmt: skip
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
