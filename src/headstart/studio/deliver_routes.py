"""Routes of the page Deliver: files of a run to download, its export with the parity report, its card, its server."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from headstart.classifier.file import FILE_NAME
from headstart.errors import DataError
from headstart.progress import Event
from headstart.studio.learn_routes import REPORT_POLICY
from headstart.studio.training_job import shown_event
from headstart.studio.workspace import Workspace, read_json
from headstart.workbench.card import FILE as CARD
from headstart.workbench.card import card
from headstart.workbench.export import export
from headstart.workbench.run import PREDICTIONS, RECORD, REPORT

_FILES = {
    "classifier": FILE_NAME,
    "record": RECORD,
    "predictions": PREDICTIONS,
    "report": REPORT,
    "card": CARD,
    "onnx": "export/classifier.onnx",
    "parity": "export/parity.json",
    "runtime": "export/runtime_onnx.py",
    "onnx-int8": "export-int8/classifier.onnx",
    "classifier-int8": f"export-int8/{FILE_NAME}",
    "parity-int8": "export-int8/parity.json",
}
"""Word → file of a run that may be downloaded."""
_REPORTS = {"parity": "export/parity.html", "parity-int8": "export-int8/parity.html"}
"""Word → parity report of a run that may be opened."""


def deliver_routes(space: Workspace) -> APIRouter:
    """All routes of the page."""
    routes = APIRouter(prefix="/api/deliver")

    @routes.get("/{name}")
    async def there(name: str) -> JSONResponse:
        folder = await space.run(space.run_named, name)
        reports = [word for word, page in _REPORTS.items() if (folder / page).is_file()]
        return JSONResponse({"files": _sizes(folder), "reports": reports})

    @routes.get("/{name}/file/{word}")
    async def download(name: str, word: str) -> Response:
        folder = await space.run(space.run_named, name)
        if word not in _FILES or not (folder / _FILES[word]).is_file():
            raise DataError(expected=f"one of {', '.join(_FILES)}", found=repr(word)[:40], where="file")
        path = folder / _FILES[word]
        end = "-int8" if word.endswith("-int8") else ""  # beside the float32 file of the same name
        return FileResponse(path, media_type="application/octet-stream", filename=f"{path.stem}{end}{path.suffix}")

    @routes.post("/{name}/onnx")
    async def to_onnx(name: str, request: Request) -> JSONResponse:
        await read_json(request)
        folder = await space.run(space.run_named, name)

        def on_event(event: Event) -> None:
            if (values := shown_event(event)) is not None:
                space.hub.publish("exporting", {"run": name, **values})

        result = await space.run(export, folder, on_event=on_event)
        parity = result.parity
        about = {"images": len(parity.rows), "agreement": parity.agreement, "ties": len(parity.ties)}
        largest = max((row.difference for row in parity.rows), default=0.0)
        return JSONResponse({**about, "largest": largest, "tolerance": parity.tolerance, "files": _sizes(folder)})

    _add_report(routes, space)
    _add_card(routes, space)
    return routes


def _add_report(routes: APIRouter, space: Workspace) -> None:
    @routes.get("/{name}/report/{word}")
    async def report(name: str, word: str) -> Response:
        folder = await space.run(space.run_named, name)
        if word not in _REPORTS or not (path := folder / _REPORTS[word]).is_file():
            raise DataError(
                expected=f"an export of the run: {', '.join(_REPORTS)}", found=repr(word)[:40], where="report"
            )
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})


def _add_card(routes: APIRouter, space: Workspace) -> None:
    @routes.post("/{name}/card")
    async def to_card(name: str, request: Request) -> JSONResponse:
        await read_json(request)
        folder = await space.run(space.run_named, name)
        await space.run(card, folder)
        return JSONResponse({"files": _sizes(folder)})


def server_routes(space: Workspace) -> APIRouter:
    """Routes of the server that the page starts and stops; there is one at most."""
    routes = APIRouter(prefix="/api/server")

    def shown(state: dict[str, str]) -> dict[str, Any]:
        values = {**state, "ask": _curl(state["address"]) if state["address"] else ""}
        space.hub.publish("serving", values, keep=True)
        return values

    @routes.get("")
    async def now() -> JSONResponse:
        return JSONResponse(shown(space.server.state))

    @routes.post("/start")
    async def start(request: Request) -> JSONResponse:
        values = await read_json(request)
        folder = await space.run(space.run_named, str(values.get("run")))
        return JSONResponse(shown(await space.run(space.server.start, folder)))

    @routes.post("/stop")
    async def stop(request: Request) -> JSONResponse:
        await read_json(request)
        return JSONResponse(shown(await space.run(space.server.stop)))

    return routes


def _curl(address: str) -> str:
    """The line that asks a server about a picture."""
    words = ["curl", "--data-binary", "@picture.jpg", "-H", "content-type: image/jpeg", f"{address}/v1/predict"]
    token = ' -H "authorization: Bearer $HEADSTART_TOKEN"' if os.environ.get("HEADSTART_TOKEN") else ""
    return shlex.join(words) + token


def _sizes(folder: Path) -> dict[str, int]:
    return {word: (folder / name).stat().st_size for word, name in _FILES.items() if (folder / name).is_file()}
