"""Routes of the static page of a run: it is made by `export --to page` and downloaded as one zip file."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.background import BackgroundTask

from headstart import files
from headstart.errors import DataError
from headstart.onnx_export.ort_web import VERSION, kept_tarball, ort_web_files
from headstart.onnx_export.page_files import INDEX
from headstart.progress import Event
from headstart.studio.journal import HIDDEN
from headstart.studio.training_job import shown_event
from headstart.studio.upload import incoming, new_incoming, receive
from headstart.studio.workspace import Workspace, read_json
from headstart.workbench.export import export, ort_web_cache

_FOLDER = "page"  # of a run
_TARBALL_BYTES = 100_000_000  # that of version 1.30.0 has 33 MB
_FETCH = f"npm pack onnxruntime-web@{VERSION}"  # makes the tarball, on any machine with npm and a network


def page_routes(space: Workspace) -> APIRouter:
    """All routes of the static page."""
    routes = APIRouter(prefix="/api/page")

    @routes.get("/{name}")
    async def there(name: str) -> JSONResponse:
        folder = await space.run(space.run_named, name)
        return JSONResponse(await space.run(_about, space, folder))

    @routes.get("/{name}/zip")
    async def download(name: str) -> Response:
        folder = await space.run(space.run_named, name)
        path = await space.run(_zip, space, folder)
        return FileResponse(path, media_type="application/zip", filename=f"{folder.name}-page.zip",
                            background=BackgroundTask(files.remove, path))  # fmt: skip

    @routes.post("/{name}")
    async def make(name: str, request: Request) -> JSONResponse:
        await read_json(request)
        folder = await space.run(space.run_named, name)

        def on_event(event: Event) -> None:
            if (values := shown_event(event)) is not None:
                space.hub.publish("exporting", {"run": name, **values})

        given = await space.run(_given, space)
        parity = (await space.run(export, folder, to="page", ort_web=given, on_event=on_event)).parity
        about = await space.run(_about, space, folder)
        return JSONResponse({**about, "images": len(parity.rows), "agreement": parity.agreement})

    _add_files(routes, space)
    return routes


def _add_files(routes: APIRouter, space: Workspace) -> None:
    @routes.post("/{name}/runtime")
    async def take(name: str, request: Request) -> JSONResponse:
        """The tarball of onnxruntime-web, for a machine without npm or network."""
        folder = await space.run(space.run_named, name)
        with incoming(space.project) as path:
            await receive(request, path, _TARBALL_BYTES)
            await space.run(ort_web_files, path, path.parent)  # refused here if it is another file
            files.replace_file(path, _tarball(space))
        return JSONResponse(await space.run(_about, space, folder))


def _tarball(space: Workspace) -> Path:
    """Where the tarball is kept that was given in the browser."""
    return space.project.folder / HIDDEN / "onnxruntime-web.tgz"


def _given(space: Workspace) -> Path | None:
    """What the export is given as --ort-web.

    Raises:
        DataError: the files are not here, and the network may not be used.
    """
    if (own := _tarball(space)).is_file():
        return own
    if space.options.get("offline") and not kept_tarball(ort_web_cache()).is_file():
        raise DataError(
            expected=f"the files of onnxruntime-web {VERSION}, which run the classifier in a browser",
            found="none on this machine, and the studio runs with --offline",
            where="static page",
            hint=f"Run `{_FETCH}` on a machine with a network, and choose its file here.",
        )
    return None


def _about(space: Workspace, folder: Path) -> dict[str, Any]:
    """What there is of the page, and what it needs."""
    page, own = folder / _FOLDER, _tarball(space)
    option = f" --ort-web {shlex.quote(str(own))}" if own.is_file() else ""
    keyword = f", ort_web={_text(own)}" if own.is_file() else ""
    return {
        "made": (page / INDEX).is_file(),
        "bytes": sum(path.stat().st_size for path in _files(page)),
        "runtime": own.is_file() or kept_tarball(ort_web_cache()).is_file(),
        "version": VERSION,
        "fetch": _FETCH,
        "command": f"headstart export {shlex.quote(str(folder))} --to page{option}",
        "python": f'hs.export({_text(folder)}, to="page"{keyword})',
        "see": "http://127.0.0.1:8000",  # where the next line serves it
        "serve": f"python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(page))}",
    }


def _text(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def _files(page: Path) -> list[Path]:
    return sorted(path for path in page.iterdir() if path.is_file() and not path.is_symlink()) if page.is_dir() else []


def _zip(space: Workspace, folder: Path) -> Path:
    """A zip of the page in a hidden folder of the project.

    Raises:
        DataError: the page has not been made.
    """
    if not (folder / _FOLDER / INDEX).is_file():
        raise DataError(expected="a static page of the run", found="none", where="static page", hint="Make it first.")
    path = new_incoming(space.project)
    with files.atomic_write(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in _files(folder / _FOLDER):
            archive.write(one, f"{folder.name}-page/{one.name}")
    return path
