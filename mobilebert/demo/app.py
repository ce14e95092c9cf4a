"""The web application: the page's files, four addresses under ``/api`` and ``/healthz`` that speak JSON.

Offsets in answers count code points of the text that was sent, as Python does; the page translates them to JavaScript's
UTF-16 units.
"""

import asyncio
import logging
import mimetypes
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mobilebert import web
from mobilebert.base.errors import InputError, QuestionTooLongError
from mobilebert.demo.connections import STOPPING
from mobilebert.demo.guard import Guard
from mobilebert.demo.models import Model
from mobilebert.demo.pool import AbandonedError, BusyError, Job, OverdueError, Pool
from mobilebert.inference.predictor import Predictor

MAX_QUESTION = 1_000  # characters
MAX_TEXT = 10_000  # characters of a text to classify; the model reads its first tokens only
TOP_K = 4  # answers shown

_PAGE = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

_Work = Callable[[Predictor], dict]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, in characters.

    Attributes:
        passage: of a passage to be read, or of a text with entities.
        question: of a question.
        text: of a text to be classified.
    """

    passage: int = 100_000
    question: int = MAX_QUESTION
    text: int = MAX_TEXT

    @property
    def body_bytes(self) -> int:
        """A body that holds the longest texts, each character as the longest JSON escape, and the names."""
        return 12 * max(self.passage + self.question, 2 * self.text) + 10_000


class RefusedError(Exception):
    """Something for the user to correct; ``field`` names the form's field that it is about."""

    def __init__(self, message: str, field: str | None = None, status: int = 400):
        super().__init__(message)
        self.field, self.status = field, status


def make_app(models: Sequence[Model], pool: Pool, names: set[str], limits: Limits) -> Starlette:
    """The application.

    Args:
        models: what may be asked; not empty.
        pool: where the work is done.
        names: host names that the server goes by.
        limits: of requests.
    """
    by_name = {model.name: model for model in models}

    async def list_models(request: Request) -> Response:
        return JSONResponse({"models": [model.describe() for model in models], "limits": vars(limits)})

    async def tell_health(request: Request) -> Response:
        loaded = sum(model.is_loaded for model in models)
        return JSONResponse(
            {"status": "ok", "models": len(models), "loaded": loaded, "at_work": pool.at_work, "queue": pool.queue}
        )

    async def answer(request: Request) -> Response:
        return await _respond(request, pool, by_name, partial(_prepare_answer, limits=limits))

    async def classify(request: Request) -> Response:
        return await _respond(request, pool, by_name, partial(_prepare_classification, limits=limits))

    async def find_entities(request: Request) -> Response:
        return await _respond(request, pool, by_name, partial(_prepare_entities, limits=limits))

    files = [Route(path, _content_of(web.FOLDER / name)) for path, name in _PAGE.items()]
    routes = [
        *files,
        Route("/healthz", tell_health),
        Route("/api/models", list_models),
        Route("/api/answer", answer, methods=["POST"]),
        Route("/api/classify", classify, methods=["POST"]),
        Route("/api/entities", find_entities, methods=["POST"]),
    ]
    guard = Middleware(Guard, names=names, max_bytes=limits.body_bytes, is_stopping=lambda: pool.is_stopping)
    return Starlette(routes=routes, middleware=[guard])


def _content_of(path: Path) -> Callable[[Request], Awaitable[Response]]:
    """Answers with a file, read once: no request opens one, however many there are."""
    content, (kind, _) = path.read_bytes(), mimetypes.guess_type(path.name)

    async def send(request: Request) -> Response:
        return Response(content, media_type=kind)

    return send


async def _respond(
    request: Request, pool: Pool, models: dict[str, Model], prepare: Callable[[Model, dict], _Work]
) -> Response:
    """Check a request, do its work in the pool, and say in JSON how it went."""
    try:
        values = await _read_object(request)
        model = models.get(values.get("model"))
        if model is None:
            raise RefusedError("There is no such model here; reload the page.", "model")
        work = partial(_timed, pool, model, prepare(model, values))
        return JSONResponse(await _result(request, pool.submit(work)))
    except RefusedError as error:
        return JSONResponse({"error": str(error), "field": error.field}, error.status)
    except InputError as error:
        return JSONResponse({"error": str(error)}, 400)
    except BusyError:
        message = f"Too many requests at once: {pool.queue} are already being read. Try again in a moment."
        return JSONResponse({"error": message}, 503, headers={"Retry-After": "1"})
    except OverdueError:
        message = f"This took longer than {pool.timeout_s:g} seconds and was stopped. Try a shorter text."
        return JSONResponse({"error": message}, 504)
    except AbandonedError:
        return JSONResponse({"error": STOPPING}, 503, headers={"Retry-After": "1", "Connection": "close"})
    except Exception:
        _log.exception("a request failed")
        return JSONResponse({"error": "Something went wrong; the terminal of the demo says what."}, 500)


async def _read_object(request: Request) -> dict[str, Any]:
    try:
        values = await request.json()
    except (ValueError, RecursionError):
        raise RefusedError("The request is not JSON.") from None
    if not isinstance(values, dict) or not isinstance(values.get("model"), str):
        raise RefusedError('Expected a JSON object with "model".')
    return values


async def _result(request: Request, job: Job) -> dict:
    """Wait for a job; stop it where the browser went away."""
    result = asyncio.wrap_future(job.future)
    gone = asyncio.ensure_future(request.receive())  # the body is read: what comes is the end
    try:
        await asyncio.wait({result, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            job.abandon()
        return await result
    finally:
        gone.cancel()
        del job, result  # as in Pool._work


def _timed(pool: Pool, model: Model, work: _Work, job: Job) -> dict:
    """Do the work and add how long it took, without loading the model and without waiting for others."""
    try:
        predictor = model.predictor
    except InputError as error:  # not the user's to correct
        raise RefusedError(f"The model cannot be loaded: {error}", "model", 500) from None
    begin = time.monotonic()
    with pool.turn():
        result = work(predictor)
    seconds = time.monotonic() - begin - job.waited_s
    return {**result, "latency_ms": 1e3 * seconds, "waited_ms": 1e3 * job.waited_s}


def _prepare_answer(model: Model, values: dict, limits: Limits) -> _Work:
    _require_task(model, "question-answering")
    question = _text(values, "question", limits.question, "Ask a question first.")
    passage = _text(values, "passage", limits.passage, "Give a passage to read first.")
    allow_no_answer = values.get("allow_no_answer")
    if not (allow_no_answer is None or isinstance(allow_no_answer, bool)):
        raise RefusedError('Expected true, false or null for "allow_no_answer".')

    def work(predictor: Predictor) -> dict:
        try:
            reading = predictor.read(question, passage, top_k=TOP_K, allow_no_answer=allow_no_answer, whole_words=True)
        except QuestionTooLongError:
            tokens = predictor.rules.max_seq_length
            raise RefusedError(
                f"The question is too long: this model reads {tokens} tokens at once, passage included.", "question"
            ) from None
        return {
            "answers": [vars(answer) for answer in reading.answers],
            "null_odds": reading.null_odds,
            "windows": reading.windows,
        }

    return work


def _prepare_classification(model: Model, values: dict, limits: Limits) -> _Work:
    _require_task(model, "sequence-classification")
    text = _text(values, "text", limits.text, "Write a text first.")
    pair = None
    if values.get("pair") not in (None, ""):
        pair = _text(values, "pair", limits.text, "Write a second text first.")

    def work(predictor: Predictor) -> dict:
        found = predictor.classify(text, pair)
        return {
            "label": found.label,
            "chosen": found.chosen,
            "scores": [{"label": label, "score": score} for label, score in found.scores.items()],
            "is_regression": predictor.is_regression,
        }

    return work


def _prepare_entities(model: Model, values: dict, limits: Limits) -> _Work:
    _require_task(model, "token-classification")
    document = _text(values, "document", limits.passage, "Write a text first.")

    def work(predictor: Predictor) -> dict:
        return {"entities": [vars(entity) for entity in predictor.entities(document)]}

    return work


def _require_task(model: Model, task: str) -> None:
    if model.source.manifest.head != task:
        raise RefusedError(f"{model.name} is for {model.source.manifest.head}.", "model")


def _text(values: dict, field: str, limit: int, message_if_empty: str) -> str:
    text = values.get(field)
    if text is not None and not isinstance(text, str):
        raise RefusedError(f'Expected a text for "{field}".', field)
    if not (text or "").strip():
        raise RefusedError(message_if_empty, field)
    if len(text) > limit:
        raise RefusedError(f"The {field} has {len(text):,} characters; at most {limit:,} are read.", field)
    return _LONE_SURROGATE.sub("\ufffd", text)  # half a character, which no tokenizer takes; one for one
