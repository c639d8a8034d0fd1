"""The HTTP application: predict, embed, explain, card, health and metrics of one model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from headstart import __version__
from headstart.classifier.predictions import Prediction
from headstart.classifier.rejection import Rejection
from headstart.data.images import BadImage
from headstart.errors import HeadstartError, shown
from headstart.plain import to_plain
from headstart.serving.body import Refusal, read_images
from headstart.serving.guard import Access, Guard, Receive, Scope, Send
from headstart.serving.limits import ServerLimits
from headstart.serving.metrics import Metrics
from headstart.serving.query import check_query
from headstart.serving.served_model import ServedModel
from headstart.serving.shared_counts import SECONDS, SharedCounts
from headstart.serving.unread import Unread

_Answer = TypeVar("_Answer")
_ANSWERED = "POST /v1/predict, /v1/embed and /v1/explain, GET /v1/card, /v1/health, /v1/metrics and /v1/openapi.json"
_SHOWN = 60  # characters of an address or a method
_RETRY = {"retry-after": "1"}  # seconds: an image takes less
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
                    },
                }
            },
        },
    }
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    status: {
        "description": reason,
        "content": {"application/json": {"schema": _ERROR, "example": {"error": example}}},
    }
    for status, reason, example in (
        (400, "empty or broken request, or a foreign Host", "no image in the request"),
        (401, "the token is missing or wrong", "a token is needed: Authorization: Bearer TOKEN"),
        (403, "a foreign Origin", "requests of other web pages are not answered"),
        (408, "the body arrived too slowly", "the request did not arrive within 30 seconds"),
        (413, "too many bytes or images", "a request may have 32,000,000 bytes"),
        (415, "another kind of content", "send the bytes of one image"),
        (422, "the image cannot be used, or an unknown query parameter", "the file is empty (0 bytes)"),
        (503, "too much to do", "busy: 64 images wait"),
    )
}
_PREDICTED = {
    "predictions": [
        {
            "label": "cat",
            "probability": 0.97,
            "probabilities": {"cat": 0.97, "dog": 0.03},
            "damaged": None,
            "error": None,
            "familiar": True,
            "familiarity_percentile": 63.1,
            "nearest_image": "cat/12.jpg",
            "prediction_set": ["cat"],
            "atypical": False,
            "rejected": None,
        }
    ]
}
_PNG: dict[str, Any] = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}


class Workers:
    """Runs a model on images outside the event loop, as many at once as there are threads; the queue is bounded."""

    def __init__(self, limits: ServerLimits, metrics: Metrics, threads: int) -> None:
        self.limits, self.metrics = limits, metrics
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="headstart-serve")
        self._waiting, self._lock = 0, threading.Lock()  # threads leave their place themselves

    async def run(self, work: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The answer for one image.

        Raises:
            Refusal: 503 too many wait; 422 it takes too long. BadImage: the image cannot be used.
        """
        began, outcome = time.perf_counter(), "unreadable"
        if not self._take_place():
            self.metrics.image("turned_away", 0.0)
            raise Refusal(503, f"busy: {self.limits.waiting} images wait")
        job = self.pool.submit(work, *arguments)
        # when the thread is done, and not when the request is: one that takes too long still has its place
        job.add_done_callback(lambda _: self._leave_place())
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(job), self.limits.seconds)
            outcome = "answered"
        except TimeoutError:
            outcome = "too_slow"
            raise Refusal(422, f"the image takes longer than {self.limits.seconds:g} seconds") from None
        finally:
            self.metrics.image(outcome, time.perf_counter() - began)
        return answer

    def _take_place(self) -> bool:
        with self._lock:
            taken = self._waiting < self.limits.waiting
            self._waiting += taken
        return taken

    def _leave_place(self) -> None:
        with self._lock:
            self._waiting -= 1


def make_app(
    model: ServedModel,
    access: Access,
    *,
    limits: ServerLimits | None = None,
    threads: int = 1,
    rejection: Rejection | None = None,
    shared: SharedCounts | None = None,
) -> FastAPI:
    """The application of a model.

    Args:
        access: who may ask. limits: of requests. threads: images computed at once.
        rejection: which answers get no class; None: each keeps its own.
        shared: with the other processes of this server; None: it is alone.
    """
    limits, metrics = limits or ServerLimits(), Metrics(model.training)
    workers = Workers(limits, metrics, threads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        publishing = None if shared is None else asyncio.create_task(_publish(shared, metrics))
        yield
        if publishing is not None:
            publishing.cancel()
        workers.pool.shutdown(wait=True)  # what was accepted is answered

    app = FastAPI(
        title="headstart",
        version=__version__,
        description="Calibrated predictions of one image classifier.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_posts(app, model, workers, rejection=rejection or Rejection())
    _add_gets(app, model, metrics, shared=shared)
    _add_errors(app)

    app.add_middleware(_Counted, metrics=metrics)
    app.add_middleware(Guard, access=access, refused=lambda status: metrics.request("refused", status))
    app.add_middleware(Unread, limits=limits)  # the last is the outermost
    return app


class _Counted:
    """ASGI middleware that counts answers; FastAPI's own form passes each through a task and a stream of its own."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._metrics.request(getattr(scope.get("route"), "path", "other"), message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


async def _publish(shared: SharedCounts, metrics: Metrics) -> None:
    while True:
        await asyncio.to_thread(shared.publish, metrics)
        await asyncio.sleep(SECONDS)


def _add_posts(app: FastAPI, model: ServedModel, workers: Workers, *, rejection: Rejection) -> None:
    limits = workers.limits
    described: dict[str, Any] = {"openapi_extra": _BODY, "dependencies": [Depends(check_query)]}

    @app.post(
        "/v1/predict",
        responses={**_REFUSED, 200: {"content": {"application/json": {"example": _PREDICTED}}}},
        **described,
    )
    async def predict(request: Request) -> JSONResponse:
        """Class and calibrated probabilities of one image, or of each file of a form in its order."""
        images, several = await read_images(request, limits)
        return JSONResponse({"predictions": [await predicted(image, several) for image in images]})

    async def predicted(image: bytes, several: bool) -> dict[str, Any]:
        try:
            prediction, feature = await workers.run(model.measured, image)
        except BadImage as bad:
            if not several:
                raise
            return _as_json(Prediction("<bytes>", None, 0.0, {}, error=bad.reason))
        prediction = rejection.apply(prediction)
        workers.metrics.answer(prediction, feature)
        return _as_json(prediction)

    @app.post("/v1/embed", responses=_REFUSED, **described)
    async def embed(request: Request) -> JSONResponse:
        """Features of one image, or of each file of a form, as lists of numbers."""
        images, _ = await read_images(request, limits)
        return JSONResponse({"features": [(await workers.run(model.embed, image)).tolist() for image in images]})

    @app.post("/v1/explain", responses={**_REFUSED, 200: _PNG}, response_class=Response, **described)
    async def explain(request: Request, class_name: str | None = None) -> Response:
        """A PNG: where in the image the evidence for the predicted class, or for `class_name`, is."""
        if not model.explains:
            raise Refusal(422, "an ONNX file has no gradients: serve the classifier file to explain")
        (image, *more), _ = await read_images(request, limits)
        if more:
            raise Refusal(413, "one image at a time is explained")
        return Response(await workers.run(model.explain, image, class_name), media_type="image/png")


def _as_json(prediction: Prediction) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "probability": prediction.probability if prediction.label else None,
        "probabilities": prediction.probabilities,
        "damaged": prediction.damaged,
        "error": prediction.error,
        **prediction.trust(),
    }


def _add_gets(app: FastAPI, model: ServedModel, metrics: Metrics, *, shared: SharedCounts | None) -> None:
    @app.head("/v1/card", include_in_schema=False)
    @app.get("/v1/card")
    async def card() -> JSONResponse:
        """What the classifier says about itself: classes, preprocessing, licence of its weights, measured accuracy."""
        return JSONResponse(to_plain(model.card))

    @app.head("/v1/health", include_in_schema=False)
    @app.get("/v1/health")
    async def health() -> dict[str, str]:
        """That the server answers."""
        return {"status": "ok"}

    @app.head("/v1/metrics", include_in_schema=False)
    @app.get("/v1/metrics", response_class=PlainTextResponse)
    async def text() -> PlainTextResponse:
        """Counters for Prometheus."""
        others = [] if shared is None else await asyncio.to_thread(shared.others)
        return PlainTextResponse(metrics.text(others), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        headers = _RETRY if refusal.status == 503 else {"connection": "close"} if refusal.status in (408, 413) else {}
        return JSONResponse({"error": refusal.reason}, refusal.status, headers=headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        """An address or a method that there is none of, in the form of the other refusals."""
        said, path = str(error.detail), shown(request.url.path[:_SHOWN])
        if error.status_code == 404:
            said = f"nothing at {path}; this server answers {_ANSWERED}"
        elif error.status_code == 405:
            said = f"{shown(request.method[:_SHOWN])} is not answered at {path}; this server answers {_ANSWERED}"
        return JSONResponse({"error": said}, error.status_code, headers=error.headers)

    @app.exception_handler(HeadstartError)
    async def mistaken(_: Request, error: HeadstartError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)
