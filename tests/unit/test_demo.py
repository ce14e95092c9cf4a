"""The demo without a browser: its pool, what stands before its application, what it says of bad requests."""

import json
import threading
import time

import pytest
from support.demo_server import PASSAGE, SECONDS, Server
from support.table_models import save_classifier, save_reader, save_tagger

from mobilebert.base.errors import InputError
from mobilebert.demo.app import Limits
from mobilebert.demo.models import find, load
from mobilebert.demo.pool import AbandonedError, BusyError, OverdueError, Pool
from mobilebert.demo.serve import is_loopback, listen


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    votes = {"sleeps": "entailment", "awake": "contradiction"}
    return [
        save_reader(folder / "ada", "ada", "lovelace"),
        save_reader(folder / "when", "1843", "1843", "int8"),
        save_classifier(folder / "nli", ["entailment", "neutral", "contradiction"], votes),
    ]


@pytest.mark.parametrize("examples", [7, [{"passage": "a", "question": 1, "answer": "a"}], [{"passage": "a"}]])
def test_examples_that_are_none_are_refused_in_one_line(tmp_path, examples):
    folder = save_reader(tmp_path / "reader", "ada", "lovelace")
    config = json.loads((folder / "config.json").read_text())
    config["task_specific_params"] = {"question-answering": {"examples": examples}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json: \$\.examples.*; correct it, or take the examples out$"):
        load([folder], None, 1)


@pytest.fixture(scope="module")
def server(folders):
    with Server(folders) as running:
        yield running


# ---------------------------------------------------------------- pool


def test_jobs_take_turns_batch_by_batch():
    pool, order, gate = Pool(1, 8, SECONDS), [], threading.Event()

    def work(name, batches):
        def run(job):
            for _ in range(batches):
                with pool.turn():
                    assert gate.wait(SECONDS)
                    order.append(name)

        return run

    jobs = [pool.submit(work("long", 5))]
    while pool._free:
        time.sleep(0.001)
    jobs.append(pool.submit(work("short", 1)))
    while not pool._waiting:
        time.sleep(0.001)
    gate.set()
    for job in jobs:
        job.future.result(SECONDS)
    assert order == ["long", "short", "long", "long", "long", "long"]
    assert jobs[1].waited_s > 0 and pool._free == 1
    pool.close()


def test_the_queue_is_bounded_and_empties():
    pool, gate = Pool(1, 2, SECONDS), threading.Event()
    jobs = [pool.submit(lambda job: gate.wait(SECONDS)) for _ in range(2)]
    with pytest.raises(BusyError):
        pool.submit(lambda job: None)
    gate.set()
    assert [job.future.result(SECONDS) for job in jobs] == [True, True]
    assert pool.submit(lambda job: 7).future.result(SECONDS) == 7
    pool.close()


def test_deadlines_and_abandoned_jobs_free_their_turn():
    pool, gate = Pool(1, 4, 0.2), threading.Event()

    def hold(job):
        with pool.turn():
            gate.wait(SECONDS)

    def wait(job):
        with pool.turn():
            return "computed"

    holder = pool.submit(hold)
    while pool._free:
        time.sleep(0.001)
    late = pool.submit(wait)
    with pytest.raises(OverdueError):
        late.future.result(SECONDS)
    abandoned = pool.submit(wait)
    while not pool._waiting:
        time.sleep(0.001)
    abandoned.abandon()
    gate.set()
    with pytest.raises(AbandonedError):
        abandoned.future.result(SECONDS)
    holder.future.result(SECONDS)
    assert pool.submit(wait).future.result(SECONDS) == "computed"
    pool.take_turns()  # outside of a job, as when a model is tried at the start
    assert pool._free == 1 and not pool._waiting
    pool.close()


# ---------------------------------------------------------------- answers


def test_answers_with_places_scores_windows_and_time(server):
    status, result = server.ask()
    assert status == 200
    first = result["answers"][0]
    assert (first["text"], first["start"], first["end"]) == ("Ada Lovelace", 25, 37)
    assert first["score"] == 20 and first["probability"] > 0.99
    assert result["windows"] == [[0, len(PASSAGE)]]
    assert result["latency_ms"] > 0
    assert server.ask(model=server.models[1].name)[1]["answers"][0]["text"] == "1843"


def test_offsets_count_code_points_and_half_characters_are_replaced(server):
    before = "\U0001f642 \U0001f469\u200d\U0001f467 e\u0301 \ud83d "
    _, result = server.ask(passage=before + PASSAGE)
    first = result["answers"][0]
    assert (first["start"], first["end"]) == (len(before) + 25, len(before) + 37)


def test_classes_of_one_text_and_of_a_pair(server):
    def classify(text, pair):
        values = {"model": server.models[2].name, "text": text, "pair": pair}
        return server.request("POST", "/api/classify", json.dumps(values))

    status, result = classify("A man sleeps.", "")
    assert status == 200 and result["label"] == "entailment" and not result["is_regression"]
    assert result["chosen"] is None
    assert [entry["label"] for entry in result["scores"]] == ["entailment", "neutral", "contradiction"]
    assert sum(entry["score"] for entry in result["scores"]) == pytest.approx(1)
    assert classify("A man.", "Nobody is awake.")[1]["label"] == "contradiction"
    assert classify(" ", "Nobody is awake.") == (400, {"error": "Write a text first.", "field": "text"})


def test_several_labels_of_a_text(tmp_path):
    votes = {"sleeps": "a", "awake": "c"}
    with Server([save_classifier(tmp_path / "tagger", ["a", "b", "c"], votes, "multi_label_classification")]) as server:
        for text, chosen in (("A man sleeps, awake.", ["a", "c"]), ("A man.", [])):
            values = {"model": server.models[0].name, "text": text, "pair": ""}
            status, result = server.request("POST", "/api/classify", json.dumps(values))
            assert status == 200 and result["chosen"] == chosen


def test_entities_of_a_text(tmp_path):
    with Server([save_tagger(tmp_path / "ner", {"ada": "B-PER", "lovelace": "I-PER"})]) as server:

        def find_in(document, address="/api/entities"):
            values = {"model": server.models[0].name, "document": document, "text": document}
            return server.request("POST", address, json.dumps(values))

        status, result = find_in("\U0001f642 Ada Lovel\u00e1ce wrote it.")
        (entity,) = result["entities"]
        score = entity.pop("score")
        assert status == 200 and 0.99 < score < 1
        assert entity == {"text": "Ada Lovel\u00e1ce", "start": 2, "end": 14, "type": "PER"}
        assert find_in("who wrote it")[1]["entities"] == []
        assert find_in(" ") == (400, {"error": "Write a text first.", "field": "document"})
        assert "at most 100,000 are read" in find_in("a" * 100_001)[1]["error"]
        assert find_in("Ada", "/api/classify")[0] == 400


@pytest.mark.parametrize(
    ("changes", "status", "message", "field"),
    [
        ({"question": "  "}, 400, "Ask a question first.", "question"),
        ({"question": None}, 400, "Ask a question first.", "question"),
        ({"passage": "\n"}, 400, "Give a passage to read first.", "passage"),
        ({"question": 3}, 400, 'Expected a text for "question".', "question"),
        ({"question": "?" * 1001}, 400, "The question has 1,001 characters; at most 1,000 are read.", "question"),
        ({"passage": "a" * 100001}, 400, "The passage has 100,001 characters; at most 100,000 are read.", "passage"),
        ({"question": "who " * 40, "passage": PASSAGE * 9}, 400, "The question is too long: this model reads 32 tokens",
         "question"),
        ({"model": "no such"}, 400, "There is no such model here; reload the page.", "model"),
        ({"allow_no_answer": "yes"}, 400, 'Expected true, false or null for "allow_no_answer".', None),
    ],
)  # fmt: skip
def test_bad_requests_are_told_so(server, changes, status, message, field):
    got, result = server.ask(**changes)
    assert got == status and result["error"].startswith(message) and result["field"] == field


def test_the_wrong_task_and_broken_json(server):
    status, result = server.ask(model=server.models[2].name)
    assert status == 400 and result["error"].endswith("is for sequence-classification.")
    assert server.request("POST", "/api/answer", "{")[0] == 400
    assert server.request("POST", "/api/answer", "[" * 50_000)[0] == 400
    assert server.request("POST", "/api/answer", b"\xff")[0] == 400
    assert server.request("GET", "/api/nothing")[0] == 404


def test_a_damaged_model_is_told_to_the_page(folders, tmp_path):
    damaged = save_reader(tmp_path / "damaged", "ada", "lovelace")
    (damaged / "model.onnx").write_bytes(b"no model")
    with Server([folders[0], damaged]) as server:
        status, result = server.ask(model=server.models[1].name)
        assert status == 500 and result["error"].startswith("The model cannot be loaded: ")
        assert server.ask()[0] == 200


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_outputs_that_are_no_numbers_are_no_answer(folders, value):
    with Server([folders[0]]) as server:
        engine = server.models[0].predictor.engine._engine
        run = engine.run
        engine.run = lambda batch: [output * 0 + value for output in run(batch)]
        status, result = server.ask()
        assert status == 400 and set(result) == {"error"} and "its outputs are not numbers" in result["error"]
        engine.run = run
        assert server.ask()[0] == 200


# ---------------------------------------------------------------- protection


@pytest.mark.parametrize(
    "host", ["localhost:80", "127.0.0.1", "[::1]:9", "192.168.1.7:80", "MY.machine", "my.machine:1"]
)
def test_own_names(server, host):
    assert server.request("GET", "/api/models", headers={"Host": host})[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[", "a@b"]
)
def test_other_names_are_refused(server, host):
    status, result = server.request("GET", "/", headers={"Host": host})
    assert status == 421 and "Host header" in result["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_requests_of_other_pages_are_refused(server, headers, status):
    body = json.dumps({"question": "Who?", "passage": PASSAGE, "model": server.models[0].name})
    assert server.request("POST", "/api/answer", body, headers)[0] == status
    assert server.request("POST", "/api/answer", body, {"Origin": f"http://{server.host}"})[0] == 200


def test_everything_has_the_safe_headers(server):
    for path, status in (("/", 200), ("/page.js", 200), ("/page.css", 200), ("/icon.svg", 200), ("/none", 404)):
        assert server.request("GET", path)[0] == status
        assert "default-src 'none'" in server.headers["content-security-policy"]
        assert server.headers["x-content-type-options"] == "nosniff"
    assert server.request("DELETE", "/")[0] == 405
    assert "content-security-policy" in server.headers


def test_large_and_endless_bodies_are_refused(folders):
    with Server(folders, limits=Limits(passage=10, question=10, text=10)) as server:
        size = Limits(passage=10, question=10, text=10).body_bytes
        status, result = server.request("POST", "/api/answer", b" " * (size + 1))
        assert status == 413 and "too large" in result["error"]
        # Without a Content-Length the bytes are counted as they come.
        with server.connect() as raw:
            raw.sendall(f"POST /api/answer HTTP/1.1\r\nHost: {server.host}\r\n".encode())
            raw.sendall(b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            chunk = b"400\r\n" + b" " * 0x400 + b"\r\n"
            raw.sendall(chunk * (size // 0x400 + 1))
            assert b" 413 " in raw.recv(4096).split(b"\r\n")[0]
        assert server.ask(question="Who?", passage="Ada")[0] == 200


def test_a_body_that_does_not_come_is_given_up(folders, monkeypatch):
    monkeypatch.setattr("mobilebert.demo.guard.BODY_TIMEOUT_S", 0.1)
    with Server(folders) as server, server.connect() as raw:
        raw.sendall(f"POST /api/answer HTTP/1.1\r\nHost: {server.host}\r\n".encode())
        raw.sendall(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in raw.recv(4096).split(b"\r\n")[0]


# ---------------------------------------------------------------- load


def test_the_surplus_is_told_to_come_back(folders):
    with Server(folders[:1], queue=2) as server:
        held = server.hold()
        results = []
        asking = [threading.Thread(target=lambda: results.append(server.ask())) for _ in range(2)]
        for thread in asking:
            thread.start()
        assert held.entered.acquire(timeout=SECONDS)
        while len(server.pool._admitted) < 2:
            time.sleep(0.001)
        status, result = server.ask()
        assert status == 503 and server.headers["retry-after"] == "1"
        assert result["error"] == "Too many requests at once: 2 are already being read. Try again in a moment."
        held.release.set()
        for thread in asking:
            thread.join(SECONDS)
        assert [status for status, _ in results] == [200, 200]
        assert server.ask()[0] == 200


def test_a_request_that_takes_too_long_is_stopped(folders):
    with Server(folders[:1], timeout_s=0.2) as server:
        held = server.hold()
        first = threading.Thread(target=server.ask)
        first.start()
        assert held.entered.acquire(timeout=SECONDS)
        status, result = server.ask()
        assert status == 504
        assert result["error"] == "This took longer than 0.2 seconds and was stopped. Try a shorter text."
        held.release.set()
        first.join(SECONDS)
        assert server.ask()[0] == 200


def test_nothing_is_computed_for_a_browser_that_went_away(folders):
    with Server(folders[:1]) as server:
        held = server.hold()
        first = threading.Thread(target=server.ask)
        first.start()
        assert held.entered.acquire(timeout=SECONDS)
        body = json.dumps({"question": "Who?", "passage": PASSAGE, "model": server.models[0].name}).encode()
        with server.connect() as raw:
            raw.sendall(f"POST /api/answer HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: {len(body)}\r\n".encode())
            raw.sendall(b"Content-Type: application/json\r\n\r\n" + body)
            while not server.pool._waiting:
                time.sleep(0.001)
        while server.pool.at_work == 2:
            time.sleep(0.001)
        held.release.set()
        first.join(SECONDS)
        assert server.ask()[0] == 200
        assert held.runs == 2


# ---------------------------------------------------------------- start


def test_what_is_found(tmp_path):
    save_reader(tmp_path / "task" / "squadv1", "ada", "lovelace")
    save_reader(tmp_path / "outputs" / "quickstart" / "int8", "ada", "lovelace", "int8")
    save_reader(tmp_path / "outputs" / "benchmark" / "ours", "ada", "lovelace")
    save_reader(tmp_path / "outputs" / ".hidden", "ada", "lovelace")
    best = save_reader(tmp_path / "outputs" / "run" / "best", "ada", "lovelace")
    (best / "export.json").unlink()
    config = json.loads((best / "config.json").read_text())
    config["architectures"] = ["MobileBertForQuestionAnswering"]
    (best / "config.json").write_text(json.dumps(config))
    (tmp_path / "outputs" / "run" / "checkpoints" / "step").mkdir(parents=True)
    (tmp_path / "task" / "broken").mkdir()
    (tmp_path / "task" / "broken" / "config.json").write_text("{")
    found = find(tmp_path)
    names = ["task/squadv1", "outputs/quickstart/int8", "outputs/run/best"]
    assert [str(path.relative_to(tmp_path)) for path in found] == names
    models = load([*found, found[0]], Pool(1, 1, 1), 1)
    assert [model.name for model in models] == ["squadv1", "quickstart/int8", "run"]
    assert [model.describe()["kind"] for model in models] == ["exported", "exported", "checkpoint"]
    assert models[1].describe()["precision"] == "int8" and models[1].describe()["bytes"] > 100
    assert find(tmp_path / "empty") == []


def test_models_of_one_name_are_told_apart(tmp_path):
    paths = [save_reader(tmp_path / side / "x" / "m", "ada", "lovelace") for side in "ab"]
    names = [model.name for model in load(paths, Pool(1, 1, 1), 1)]
    assert names == ["a/x/m", "b/x/m"]


def test_addresses_that_cannot_be_had():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        message = f"port {port} of 127.0.0.1 is in use; choose another with `port`, or `port=0` for any free one"
        with pytest.raises(InputError, match=message):
            listen("127.0.0.1", port)
    with pytest.raises(InputError, match=r"`host=192\.0\.2\.1`: cannot listen there"):
        listen("192.0.2.1", 0)
    with pytest.raises(InputError, match="`host=no such host`: no such address"):
        listen("no such host", 0)


def test_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.7", "my.machine", "")))
