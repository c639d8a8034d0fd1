"""The application of the studio: the page, its routes and its events, behind the door."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from headstart import __version__
from headstart.errors import HeadstartError, shown
from headstart.files import os_error
from headstart.serving.body import Refusal
from headstart.studio.advice_routes import advice_routes
from headstart.studio.collect_routes import collect_routes
from headstart.studio.deliver_routes import deliver_routes, server_routes
from headstart.studio.door import Door, Keys
from headstart.studio.lab_routes import lab_routes
from headstart.studio.learn_routes import learn_routes
from headstart.studio.look_routes import look_routes
from headstart.studio.page_routes import page_routes
from headstart.studio.review_routes import review_routes
from headstart.studio.try_routes import try_routes
from headstart.studio.unlabelled_routes import unlabelled_routes
from headstart.studio.workspace import Workspace

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def make_app(space: Workspace, port: int, keys: Keys) -> FastAPI:
    """The application of a workspace.

    Args:
        port: at which it is called; requests for another host or port are refused.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        space.learner.start()
        yield
        space.close()

    app = FastAPI(
        title="headstart studio",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    for routes in ROUTES:
        app.include_router(routes(space))
    _add_page(app, space)
    _add_errors(app)
    app.add_middleware(Door, port=port, keys=keys)
    return app


ROUTES: tuple[Callable[[Workspace], Any], ...] = (
    collect_routes,
    unlabelled_routes,
    learn_routes,
    advice_routes,
    look_routes,
    review_routes,
    try_routes,
    deliver_routes,
    page_routes,
    server_routes,
    lab_routes,
)
"""Routes of the pages, in their order."""


def _add_page(app: FastAPI, space: Workspace) -> None:
    files = static_files()

    @app.get("/")
    async def page() -> Response:
        return FileResponse(files["index.html"], media_type="text/html")

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        path = files.get(name)  # looked up among the files that are there: a name never becomes a path
        if path is None:
            return JSONResponse({"error": "no such file"}, 404)
        return FileResponse(path, media_type=_KINDS[path.suffix])

    @app.get("/api/events")
    async def events() -> Response:
        return StreamingResponse(space.hub.stream(), media_type="text/event-stream")


def static_files() -> dict[str, Any]:
    """Name → path of each file of the page."""
    folders = (resources.files("headstart.studio") / "static", resources.files("headstart.reports"))
    found = {path.name: path for path in folders[0].iterdir() if path.suffix in _KINDS}  # type: ignore[attr-defined]
    return found | {"tokens.css": folders[1] / "tokens.css"}


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> JSONResponse:
        headers = {"connection": "close"} if refusal.status in (408, 413, 507) else {}
        return JSONResponse({"error": refusal.reason}, refusal.status, headers=headers)

    @app.exception_handler(HeadstartError)
    async def mistaken(_: Request, error: HeadstartError) -> JSONResponse:
        return JSONResponse({"error": shown(str(error))}, 422)

    @app.exception_handler(OSError)
    async def refused_by_the_system(_: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"error": shown(str(os_error(error)))}, 422)  # such as a folder that was removed meanwhile

    @app.exception_handler(RequestValidationError)
    async def misspelt(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "a parameter is missing or wrong"}, 422)
