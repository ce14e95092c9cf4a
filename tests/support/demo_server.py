"""The demo's application on a real server in a thread of this process."""

import contextlib
import http.client
import json
import socket
import threading

from mobilebert.demo.app import Limits, make_app
from mobilebert.demo.connections import Bounds
from mobilebert.demo.models import load
from mobilebert.demo.pool import Pool, TurnTakingEngine
from mobilebert.demo.serve import Server as WebServer
from mobilebert.demo.serve import listen
from mobilebert.inference.engines import Engine

PASSAGE = "The first program was by Ada Lovelace in 1843."
SECONDS = 20  # more than anything here takes


class HeldEngine(Engine):
    """Waits in every run until it is released."""

    def __init__(self, engine):
        self.outputs, self.engine = engine.outputs, engine
        self.entered, self.release = threading.Semaphore(0), threading.Event()
        self.runs = 0

    def run(self, batch):
        self.runs += 1
        self.entered.release()
        assert self.release.wait(SECONDS)
        return self.engine.run(batch)


class Server:
    """The application in a thread of this process."""

    def __init__(self, folders, queue=64, timeout_s=SECONDS, limits=Limits(), bounds=Bounds(), stop_s=0):  # noqa: B008
        self.pool = Pool(1, queue, timeout_s)
        self.models = load(folders, self.pool, 1)
        self.listener = listen("127.0.0.1", 0)
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        app = make_app(self.models, self.pool, {"my.machine"}, limits)
        self.server = WebServer(app, self.pool, bounds, stop_s)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})

    def hold(self):
        predictor = self.models[0].predictor
        held = HeldEngine(predictor.engine._engine)
        predictor.engine = TurnTakingEngine(held, self.pool)
        return held

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.host, timeout=SECONDS)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
            self.headers = response.headers
            is_json = response.headers["content-type"] == "application/json"
            return response.status, json.loads(content) if is_json else content

    def connect(self):
        return socket.create_connection(self.listener.getsockname(), SECONDS)

    def ask(self, question="Who wrote it?", passage=PASSAGE, model=None, **more):
        values = {"question": question, "passage": passage, "model": model or self.models[0].name, **more}
        return self.request("POST", "/api/answer", json.dumps(values))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.server.should_exit = True
        self.pool.close()
        self.thread.join(SECONDS)
        self.listener.close()
