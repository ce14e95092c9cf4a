"""The demo as a person uses it: started from the command line, its page in a real browser; and under load.

The models are tables of known behaviour (tests/table_models.py), so every answer is known. Chromium is the system's
(Debian, Ubuntu: apt-get install chromium). ``DEMO_SCREENSHOTS=FOLDER`` keeps the pictures, to be looked at.
``DEMO_MODELS="outputs/quickstart/fp32 outputs/quickstart/int8"`` asks trained models their own examples too;
``KEEP_SCREENSHOTS=docs/images`` with it writes the pictures of the README anew.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.models import save_checkpoint
from support.table_models import save_classifier, save_reader, save_tagger

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "mobilebert.commands.demo"]
SECONDS = 60  # a busy machine
PASSAGE = "The first program was by Ada Lovelace in 1843. The first <b>program</b> in A was by Grace Hopper in 1952."
HOSTILE = (
    "<img src=/x.png onerror=alert(1)> <script>document.title='broken'</script> </div> by Ada Lovelace & <b>in 1843"
)
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Demo:
    """The demo in a process of its own."""

    def __init__(self, *arguments):
        command = [*COMMAND, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as in a terminal
        )  # fmt: skip
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"http://\S+", line):
                self.address = found[0]
                self.host = urlsplit(self.address).netloc
                return
        raise AssertionError(self.said)

    def ask(self, model, passage=PASSAGE):
        body = json.dumps({"model": model, "question": "Who wrote it?", "passage": passage})
        with contextlib.closing(http.client.HTTPConnection(self.host, timeout=SECONDS)) as connection:
            connection.request("POST", "/api/answer", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def resident_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, rest

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    votes = {"sleeps": "entailment", "awake": "contradiction"}
    return [
        save_reader(folder / "fp32", "ada", "lovelace"),
        save_reader(folder / "int8", "grace", "hopper", "int8"),
        save_classifier(folder / "nli", ["entailment", "neutral", "contradiction"], votes),
        save_tagger(folder / "ner", {"ada": "B-PER", "lovelace": "I-PER", "grace": "B-PER", "garden": "B-LOC"}),
    ]


@pytest.fixture(scope="module")
def demo(folders):
    with Demo(*folders, "--port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser, demo):
    """Open the page as one more user; at the end nothing was asked of other hosts and nothing went wrong in it."""
    contexts, hosts, wrong = [], set(), []

    def open_one(size=DESKTOP, **options):
        context = browser.new_context(viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(demo.address)
        page.wait_for_selector("#models input")
        page.wrong = wrong
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert hosts == {demo.host}
    assert wrong == []


def ask(page, passage, question="Who wrote it?"):
    page.fill("#passage", passage)
    page.fill("#question", question)
    with page.expect_response("**/api/answer"):
        page.click("#submit")
    page.wait_for_selector("#submit[aria-busy=false]")


def picture(page, name, full_page=True):
    folder = os.environ.get("DEMO_SCREENSHOTS")
    shot = page.screenshot(full_page=full_page, path=f"{folder}/{name}.png" if folder else None)
    assert len(shot) > 10_000
    return shot


def scrolls_sideways(page):
    return page.evaluate("() => document.documentElement.scrollWidth > document.documentElement.clientWidth")


# ---------------------------------------------------------------- in the browser


def test_a_question_is_answered_in_its_place(open_page):
    page = open_page()
    before = picture(page, "start")
    ask(page, PASSAGE)
    assert page.inner_text("#answers li:first-child .text") == "Ada Lovelace"
    assert page.inner_text("#answers li:first-child .share") == "99.9 %"
    assert page.inner_text("#shown mark.chosen") == "Ada Lovelace"
    assert page.inner_text("#shown") == PASSAGE
    assert re.search(r"fp32\) took [\d.]+ m?s\.", page.inner_text("#timing"))
    assert page.inner_text("#status") == "Ada Lovelace, 99.9 %"
    assert picture(page, "answer") != before


def test_another_model_gives_its_own_answer_and_both_are_compared(open_page):
    page = open_page()
    ask(page, PASSAGE)
    assert not page.is_visible("#compared")
    with page.expect_response("**/api/answer"):
        page.check("#models input[value$='int8']")
    page.wait_for_selector("#compared", state="visible")
    assert page.inner_text("#shown mark.chosen") == "Grace Hopper"
    rows = [row.inner_text().split("\t") for row in page.query_selector_all("#compared tbody tr")]
    assert [row[1] for row in rows] == ["Ada Lovelace", "Grace Hopper"]
    assert "int8" in page.inner_text("#timing") and "int8" in page.inner_text("#models label:has(:checked) small")
    ask(page, PASSAGE + " b")
    assert not page.is_visible("#compared")  # another text, nothing to compare with


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_long_passage_is_read_in_windows(open_page, demo, size):
    page = open_page(size)
    filler = "The man sleeps. Nobody is awake. "
    passage = filler * 400 + "The program was by Ada Lovelace. " + filler * 250
    assert len(passage) > 20_000
    ask(page, passage)
    assert page.inner_text("#shown mark.chosen") == "Ada Lovelace"
    box, mark = page.query_selector("#shown").bounding_box(), page.query_selector("mark.chosen").bounding_box()
    assert box["y"] <= mark["y"] and mark["y"] + mark["height"] <= box["y"] + box["height"]
    _, result = demo.ask(page.input_value("#models input >> nth=0"), passage)
    windows = result["windows"]
    assert len(windows) > 100
    assert page.inner_text("#windows-note").startswith(f"{len(windows)} of up to 32 tokens")
    assert len(page.query_selector_all("#strip div:not(.place)")) == len(windows)
    page.focus("#window")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#window-name") == f"window 3 of {len(windows)}"
    start, end = windows[2]
    assert "".join(piece.inner_text() for piece in page.query_selector_all("#shown .read")) == passage[start:end]
    picture(page, f"long-{size['width']}")
    assert not scrolls_sideways(page)


def test_an_empty_question_is_asked_for(open_page):
    page = open_page()
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.fill("#question", "  ")
    page.click("#submit")
    assert page.inner_text("#message") == "Ask a question first."
    assert page.get_attribute("#message", "role") == "alert"
    assert page.evaluate("() => document.activeElement.id") == "question"
    assert page.get_attribute("#question", "aria-invalid") == "true"
    picture(page, "empty-question")
    page.fill("#passage", "")
    page.click("#submit")
    assert page.inner_text("#message") == "Give a passage to read first."
    assert sent == []
    ask(page, PASSAGE)
    assert page.inner_text("#message") == "" and page.get_attribute("#question", "aria-invalid") is None


def test_too_much_text_is_told_before_it_is_sent(open_page):
    page = open_page()
    page.fill("#passage", "a" * 100_001)
    page.click("#submit")
    assert page.inner_text("#message") == "The passage has 100,001 characters; at most 100,000 are read."
    page.fill("#passage", PASSAGE)
    page.fill("#question", "who " * 100)
    with page.expect_response("**/api/answer"):
        page.click("#submit")
    page.wait_for_selector("#submit[aria-busy=false]")
    assert page.inner_text("#message").startswith("The question is too long: this model reads 32 tokens at once")
    # The browser itself notes the refused request; nothing else went wrong.
    assert ["400" in line for line in page.wrong] == [True]
    page.wrong.clear()


def test_html_is_shown_as_text(open_page):
    page = open_page()
    ask(page, HOSTILE, "<i>Who</i> wrote it?")
    assert page.inner_text("#shown") == HOSTILE
    assert page.inner_text("#shown mark.chosen") == "Ada Lovelace"
    assert page.query_selector_all("#result img, #result script, #shown b") == []
    assert page.title() == "Ask MobileBERT"
    picture(page, "html")


def test_the_answer_is_marked_behind_an_emoji(open_page):
    page = open_page()
    before, behind = "\U0001f642\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001d49c e\u0301", "\U0001f389 in 1843"
    passage = f"{before} it was by Ada Lovelace {behind}"
    ask(page, passage)
    assert page.inner_text("#shown mark.chosen") == "Ada Lovelace"
    assert page.inner_text("#answers .text") == "Ada Lovelace"
    assert page.inner_text("#shown") == passage


def test_two_users_at_once(open_page):
    one, other = open_page(), open_page(PHONE)
    other.check("#models input[value$='int8']")
    for number in range(3):
        texts = [f"{number} was by Ada Lovelace. Grace Hopper was in it." for _ in range(2)]
        for page, text in zip((one, other), texts, strict=True):
            page.fill("#passage", text)
            page.fill("#question", "Who?")
        with one.expect_response("**/api/answer"), other.expect_response("**/api/answer"):
            one.click("#submit")
            other.click("#submit")
        for page in (one, other):
            page.wait_for_selector("#submit[aria-busy=false]")
        marked = [page.inner_text("#shown mark.chosen") for page in (one, other)]
        assert marked == ["Ada Lovelace", "Grace Hopper"]
        assert one.inner_text("#shown") == texts[0] and other.inner_text("#shown") == texts[1]


def test_classes_are_shown_as_bars(open_page):
    page = open_page()
    page.click("#tasks [data-task=sequence-classification]")
    assert not page.is_visible("#question")
    for text, pair, best in (("A man sleeps.", "", "entailment"), ("A man.", "Nobody is awake.", "contradiction")):
        page.fill("#text", text)
        page.fill("#pair", pair)
        with page.expect_response("**/api/classify"):
            page.click("#submit")
        page.wait_for_selector("#submit[aria-busy=false]")
        rows = [row.inner_text().split("\n") for row in page.query_selector_all("#classes .class")]
        assert rows[0] == [best, "78.7 %"] and [row[1] for row in rows[1:]] == ["10.7 %", "10.7 %"]
        widths = [bar.bounding_box()["width"] for bar in page.query_selector_all("#classes .bar > div")]
        assert widths[0] / widths[1] == pytest.approx(78.7 / 10.7, rel=0.02)
    picture(page, "classes")
    page.click("#tasks [data-task=question-answering]")
    assert page.is_visible("#question") and not page.is_visible("#classes")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_entities_are_marked_in_their_text(open_page, size):
    page = open_page(size)
    page.click("#tasks [data-task=token-classification]")
    assert page.inner_text("#submit") == "Find" and not page.is_visible("#question") and not page.is_visible("#text")
    page.fill("#document", " ")
    page.click("#submit")
    assert page.inner_text("#message") == "Write a text first."
    filler = "The man sleeps in the \U0001f642 <b>garden</b>. " * 20
    text = f"{filler}Ada Lovel\u00e1ce, and Grace. {filler}"
    page.fill("#document", text)
    with page.expect_response("**/api/entities"):
        page.click("#submit")
    page.wait_for_selector("#submit[aria-busy=false]")
    assert page.inner_text("#marked") == text
    marks = [(mark.inner_text(), mark.get_attribute("data-type")) for mark in page.query_selector_all("#marked mark")]
    garden = [("garden", "LOC")] * 20
    assert marks == [*garden, ("Ada Lovel\u00e1ce", "PER"), ("Grace", "PER"), *garden]
    assert page.inner_text("#legend").split() == ["LOC", "40", "PER", "2"]
    colour_of = "element => getComputedStyle(element).backgroundColor"
    location, person = (span.evaluate(colour_of) for span in page.query_selector_all("#legend span"))
    assert location != person and page.query_selector("#marked mark").evaluate(colour_of) == location
    assert page.inner_text("#status").startswith("42 entities")
    assert not scrolls_sideways(page)
    picture(page, f"entities-{size['width']}")
    page.click("#tasks [data-task=sequence-classification]")
    assert not page.is_visible("#entities") and page.is_visible("#text")


def is_in_sight(page, selector):
    box, height = page.query_selector(selector).bounding_box(), page.viewport_size["height"]
    return box["y"] >= 0 and box["y"] + box["height"] <= height


@pytest.mark.parametrize("touch", [True, False])
def test_on_a_phone_the_first_click_shows_the_answer_beside_the_question(open_page, touch):
    page = open_page(PHONE, has_touch=touch, is_mobile=touch)
    page.fill("#passage", PASSAGE * 8)
    page.fill("#question", "Who wrote it?")
    with page.expect_response("**/api/answer"):
        page.click("#submit")
    page.wait_for_selector("#answers li")
    page.wait_for_selector("#submit[aria-busy=false]")
    for selector in ("#question", "#submit", "#answers li:first-child", "#answers li:first-child .text"):
        assert is_in_sight(page, selector), selector
    picture(page, f"phone-{touch}", full_page=False)
    page.focus("#passage")  # to be read and changed it has its size again
    assert page.query_selector("#passage").bounding_box()["height"] > 150
    with page.expect_response("**/api/answer"):
        page.check("#models input[value$='int8']")
    page.wait_for_selector("#compared", state="visible")
    assert is_in_sight(page, "#answers li:first-child")


def test_a_class_is_in_sight_on_a_phone(open_page):
    page = open_page(PHONE)
    page.click("#tasks [data-task=sequence-classification]")
    page.fill("#text", "A man sleeps. " * 40)
    with page.expect_response("**/api/classify"):
        page.click("#submit")
    page.wait_for_selector("#classes .best")
    assert is_in_sight(page, "#classes")


def test_a_model_offers_its_own_examples_and_answers_the_first_at_once(browser, folders, tmp_path):
    """As the quickstart's: on the page from the start, a button each; a model without any offers what fits it."""
    examples = [
        {"passage": "The notes was by Ada Lovelace .", "question": "Who wrote it?", "answer": "Ada Lovelace"},
        {"passage": "It was a program by Ada Lovelace in 1843 .", "question": "Who?", "answer": "Ada Lovelace"},
    ]
    own = save_reader(tmp_path / "own", "ada", "lovelace")
    config = json.loads((own / "config.json").read_text())
    config["task_specific_params"] = {"question-answering": {"examples": examples}}
    (own / "config.json").write_text(json.dumps(config))
    topics = save_classifier(tmp_path / "topics", ["film", "music"], {"film": "film"})
    with Demo(own, folders[0], folders[2], topics, "--port", "0") as demo:
        page = browser.new_page(viewport=PHONE)
        page.goto(demo.address)
        page.wait_for_selector("#models input")
        assert page.input_value("#passage") == examples[0]["passage"]
        buttons = page.locator(".examples[data-for=question-answering] button")
        for number, example in enumerate(examples):
            buttons.nth(number).click()
            with page.expect_response("**/api/answer"):
                page.click("#submit")
            page.wait_for_selector("#submit[aria-busy=false]")
            assert page.input_value("#question") == example["question"]
            assert page.inner_text("#shown") == example["passage"]
            assert page.inner_text("#answers li:first-child .text") == example["answer"]
            assert is_in_sight(page, "#answers li:first-child .text")
        page.check("#models input[value$='fp32']")
        assert buttons.all_inner_texts() == ["a model"]
        page.click("#tasks [data-task=sequence-classification]")
        buttons = page.locator(".examples[data-for=sequence-classification] button")
        assert buttons.all_inner_texts() == ["a pair"]
        page.check("#models input[value$='topics']")
        assert buttons.count() == 0
        page.close()


@pytest.mark.skipif("DEMO_MODELS" not in os.environ, reason="no trained models: DEMO_MODELS is not set")
def test_every_example_of_trained_models_is_answered_right(browser):
    with Demo(*os.environ["DEMO_MODELS"].split(), "--port", "0") as demo:
        page = browser.new_page(viewport=PHONE)
        page.goto(demo.address)
        page.wait_for_selector("#models input")
        models, keep = page.evaluate("() => models"), os.environ.get("KEEP_SCREENSHOTS")
        for model in models:
            if model != models[0]:
                with page.expect_response("**/api/answer"):  # the last question again
                    page.check(f"#models input[value='{model['name']}']")
                page.wait_for_selector("#submit[aria-busy=false]")
            for number, example in enumerate(model["examples"]):
                page.click(f".examples[data-for=question-answering] button >> nth={number}")
                with page.expect_response("**/api/answer"):
                    page.click("#submit")
                page.wait_for_selector("#submit[aria-busy=false]")
                assert page.inner_text("#shown") == example["passage"]
                assert page.inner_text("#answers li:first-child .text") == example["answer"], (model["name"], example)
                assert is_in_sight(page, "#answers li:first-child")
                if keep and number == 0 and model == models[0]:
                    page.mouse.move(0, 0)
                    page.screenshot(path=f"{keep}/demo-phone.png")
        assert all(len(model["examples"]) > 1 for model in models)
        if keep:
            page.set_viewport_size({"width": 1180, "height": 900})
            ask(page, " ".join(example["passage"] for example in model["examples"]), model["examples"][0]["question"])
            page.check(f"#models input[value='{models[1]['name']}']")
            page.wait_for_selector("#compared", state="visible")
            page.focus("#window")
            page.keyboard.press("ArrowRight")
            page.screenshot(path=f"{keep}/demo.png", full_page=True)
        page.close()


def test_by_keyboard_on_a_phone_in_the_dark(open_page):
    page = open_page(PHONE, color_scheme="dark")
    page.focus("#passage")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(PASSAGE)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "question"
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("Who wrote it?")
    with page.expect_response("**/api/answer"):
        page.keyboard.press("Enter")
    page.wait_for_selector("mark.chosen")
    assert page.query_selector("#answers").bounding_box()["y"] < PHONE["height"]  # brought into sight
    assert not scrolls_sideways(page)
    picture(page, "phone-dark")


def test_every_control_has_a_name(open_page):
    page = open_page()
    ask(page, PASSAGE * 20)
    unnamed = page.evaluate(
        "() => [...document.querySelectorAll('input, textarea, button')]"
        ".filter((control) => !control.labels?.length && !control.textContent.trim())"
        ".map((control) => control.outerHTML)"
    )
    assert unnamed == []


def test_the_page_says_when_the_demo_is_gone(browser, folders):
    with Demo(folders[0], "--port", "0") as demo:
        page = browser.new_page()
        page.goto(demo.address)
        ask(page, PASSAGE)
        assert demo.stop()[0] == 128 + signal.SIGTERM
        page.fill("#passage", PASSAGE * 2)
        page.click("#submit")
        page.wait_for_selector("#message:not(:empty)")
        assert page.inner_text("#message") == "The demo does not answer. Is it still running in its terminal?"
        page.close()


# ---------------------------------------------------------------- without a browser


def test_the_page_says_why_it_cannot_start(browser, demo):
    page = browser.new_page()
    page.route("**/api/models", lambda route: route.fulfill(status=503, json={"error": "Too many at once."}))
    page.goto(demo.address)
    page.wait_for_function("document.getElementById('message').textContent === 'Too many at once.'")
    page.close()


def test_a_checkpoint_behind_an_export_is_loaded_when_it_is_asked_and_the_demo_still_ends_as_told(folders, tmp_path):
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "question-answering")
    with Demo(folders[0], checkpoint, "--port", "0") as demo:
        name = "/".join(checkpoint.parts[-2:])
        assert [demo.ask(model)[0] for model in ("models0/fp32", name)] == [200, 200]
        assert demo.stop() == (128 + signal.SIGTERM, "interrupted (SIGTERM)\n")


def test_fifty_at_once_wave_after_wave(demo, folders):
    """With default settings all fifty are answered, each with its own text; memory does not grow."""
    models = ["/".join(folder.parts[-2:]) for folder in folders[:2]]
    passages = [f"{'it was ' * number} by Ada Lovelace, or Grace Hopper" for number in range(50)]
    expected = [("Ada Lovelace", "Grace Hopper")[number % 2] for number in range(50)]

    def wave():
        with ThreadPoolExecutor(50) as users:
            results = list(users.map(demo.ask, (models[number % 2] for number in range(50)), passages))
        assert [status for status, _ in results] == [200] * 50
        for (_, result), passage, text in zip(results, passages, expected, strict=True):
            first = result["answers"][0]
            assert first["text"] == text == passage[first["start"] : first["end"]]

    for _ in range(3):
        wave()
    warm = demo.resident_mb()
    for _ in range(6):
        wave()
    assert demo.resident_mb() < warm + 10


def test_start_and_stop(folders):
    with Demo(folders[0], "--port", "0") as demo:
        assert demo.address.startswith("http://127.0.0.1:")
        assert "fp32: question-answering, fp32" in demo.said
        port = demo.host.split(":")[1]
        second = subprocess.run([*COMMAND, folders[0], "--port", port], cwd=ROOT, capture_output=True, text=True)
        assert second.returncode == 2 and second.stdout == ""
        assert second.stderr == (
            f"error: port {port} of 127.0.0.1 is in use; choose another with --port, or --port 0 for any free one\n"
        )
        assert demo.stop(signal.SIGINT) == (130, "interrupted (SIGINT)\n")


def test_hanging_up_stops_it_whatever_the_clients_are_doing(folders):
    with Demo(folders[0], "--port", "0") as demo, contextlib.ExitStack() as stack:
        address = urlsplit(demo.address)
        for sent in (b"", b"GET / HT", b"POST /api/answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"):
            raw = stack.enter_context(socket.create_connection((address.hostname, address.port)))
            raw.sendall(sent)
        assert demo.ask("/".join(folders[0].parts[-2:]))[0] == 200
        assert demo.stop(signal.SIGHUP) == (128 + signal.SIGHUP, "interrupted (SIGHUP)\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/folder"], "error: no/such/folder"),
        (["--port", "70000"], "error: --port 70000: expected 0 to 65535"),
        (["--queue", "0"], "error: --queue 0: expected more than 0"),
        (["--prot", "1"], "error: unknown argument --prot; did you mean --port?"),
        ([""], "error: a model's name is empty"),
    ],
)
def test_bad_arguments(arguments, message):
    result = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith(message) and result.stderr.count("\n") == 1


def test_nothing_to_show(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == (
        "error: no fine-tuned model in task/ or outputs/; name one, or make a small one: bash scripts/quickstart.sh\n"
    )
    listed = subprocess.run([*COMMAND, "--list"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (listed.returncode, listed.stdout) == (0, "")
