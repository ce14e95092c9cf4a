"""A real run in VisualDL's page, seen by a browser: curves, hyper-parameters, the graph. Keeps the README's picture.

``KEEP_SCREENSHOT=docs/images/visualdl.png`` writes the picture of the README anew.
"""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from support.texts import write_squad, write_vocabulary

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--no-first-run",
)  # fmt: skip
SHAPE = {
    "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_feedforward_networks": 2, "max_position_embeddings": 48,
    "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1, "normalization_type": "layer_norm",
}  # fmt: skip
STEPS = 120
RUN_COLOR = np.array([0x29, 0x32, 0xE1]) / 255  # of the first run
LIMIT_MS = 20_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The folder above one trained run and one that never began."""
    folder = tmp_path_factory.mktemp("runs")
    size = len(write_vocabulary(folder / "vocab.txt").read_text().splitlines())
    (folder / "shape.json").write_text(json.dumps({**SHAPE, "vocab_size": size}))
    write_squad(folder / "train.json", 60)
    write_squad(folder / "dev.json", 10, seed=1)
    command = [
        sys.executable, "run_squad.py", "--do_train", "--do_eval", "--config_name", folder / "shape.json",
        "--tokenizer_name", folder / "vocab.txt", "--train_file", folder / "train.json",
        "--dev_file", folder / "dev.json", "--output_dir", folder / "output_squadv1", "--max_seq_length", "48",
        "--doc_stride", "8", "--batch_size", "8", "--learning_rate", "3e-3", "--max_steps", str(STEPS),
        "--eval_steps", "10", "--save_steps", "0", "--log_steps", "1", "--cache_dir", "",
    ]  # fmt: skip
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def page(request, logs):
    """A browser's page and the address of VisualDL on the folder that the test names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = Path(sys.executable).parent / "visualdl"
    command = [str(binary), "--logdir", request.param, "--host", "127.0.0.1", "--port", str(port), "--language", "en"]
    server = subprocess.Popen(command, cwd=logs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/alive")
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1240, "height": 860}, locale="en-US")
            page.set_default_timeout(LIMIT_MS)
            yield page, f"http://127.0.0.1:{port}/app"
            browser.close()
    finally:
        server.terminate()
        server.wait(10)


def wait_for(address, seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(address, timeout=1)
        except OSError:
            assert time.monotonic() < end, f"{address}: VisualDL does not answer"
            time.sleep(0.1)


def curve_pixels(chart):
    """How many pixels of a chart have the run's color: what is drawn on the canvas is in no text."""
    from matplotlib import image

    pixels = image.imread(io.BytesIO(chart.screenshot()), format="png")[..., :3]
    return int((np.abs(pixels - RUN_COLOR).max(axis=-1) < 0.1).sum())


def drawn_charts(page, count):
    """The canvases, when ``count`` of them show a curve."""
    end = time.monotonic() + LIMIT_MS / 1000
    while True:
        charts = page.query_selector_all("canvas")
        pixels = [curve_pixels(chart) for chart in charts]
        if sum(number > 100 for number in pixels) >= count:
            return pixels
        assert time.monotonic() < end, f"curves in {pixels}, expected {count}"
        page.wait_for_timeout(200)


@pytest.mark.parametrize("page", ["output_squadv1/logs"], indirect=True)
def test_curves_hyper_parameters_and_graph_are_in_the_page(page):
    page, address = page
    page.goto(f"{address}/scalar")
    page.get_by_text("eval", exact=True).wait_for()
    page.get_by_placeholder("Search tags in RegExp").fill("exact_match|f1|loss|lr$")
    page.get_by_text("train", exact=True).wait_for(state="detached")  # the groups give way to what was found
    pixels = drawn_charts(page, count=4)
    print(f"pixels of the curves: {pixels}")
    assert len(pixels) == 4
    if keep := os.environ.get("KEEP_SCREENSHOT"):
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=keep)
        print(f"picture: {keep}")
    smoothing = page.get_by_role("slider")  # README names the default, and how it is switched off
    assert float(smoothing.get_attribute("aria-valuenow")) == 0.6
    smoothing.drag_to(page.locator(".input-range__track--background"), target_position={"x": 0, "y": 2}, force=True)
    assert float(smoothing.get_attribute("aria-valuenow")) == 0.0
    page.goto(f"{address}/hyper-parameter")
    for text in ("learning_rate", "batch_size", "train/loss", "eval/f1"):
        page.get_by_text(text, exact=True).first.wait_for(state="attached")
    page.goto(f"{address}/graph/dynamic_graph")
    frame = page.frame_locator("iframe")
    frame.get_by_text("MobileBertForQuestionAnswering").first.wait_for()
    frame.get_by_text("+", exact=True).first.click()  # open the layer
    frame.get_by_text("MobileBertModel").first.wait_for()


@pytest.mark.parametrize("page", ["empty"], indirect=True)
def test_an_empty_folder_shows_no_curve(page):
    """Negative control."""
    page, address = page
    page.goto(f"{address}/index")
    page.get_by_text("VisualDL").first.wait_for()
    page.wait_for_timeout(3000)  # a run's curves are there after one
    assert [curve_pixels(chart) for chart in page.query_selector_all("canvas")] == []
    assert page.get_by_text("train", exact=True).count() == 0
