"""Routes of the page Collect: classes, images, uploads, thumbnails, findings, undo."""

from __future__ import annotations

import asyncio
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from headstart.data.finding import SEVERITIES, Finding
from headstart.data.folder_scan import OWN, WAITING
from headstart.data.thumbnails import SIDE
from headstart.errors import DataError
from headstart.plain import to_plain
from headstart.serving.body import Refusal
from headstart.studio.project import RUNS
from headstart.studio.thumbnail_store import LARGE
from headstart.studio.upload import ARCHIVE_BYTES, IMAGE_BYTES, check_image, incoming, receive, take_archive
from headstart.studio.workspace import Workspace, ids_of, read_json
from headstart.workbench.run import run_name

_SIDES = {"small": SIDE, "large": LARGE}
_SHOWN = (OWN, WAITING)  # reasons of files that are shown elsewhere: runs, and images without a class
_TOO_LITTLE = ("no-labels", "few-classes")  # kinds of findings that the live result says: "Make at least two classes."
_UPLOADS = 8  # at once; a browser opens six connections
_IMAGES = ("application/octet-stream",)
_ARCHIVES = ("application/octet-stream", "application/zip", "application/x-tar", "application/gzip")


def collect_routes(space: Workspace) -> APIRouter:
    """All routes of the page."""
    routes = APIRouter(prefix="/api")
    _add_reading(routes, space)
    _add_classes(routes, space)
    _add_images(routes, space)
    _add_uploads(routes, space)
    return routes


def _add_reading(routes: APIRouter, space: Workspace) -> None:
    @routes.get("/state")
    async def state() -> JSONResponse:
        return JSONResponse(await space.run(_state, space))

    @routes.get("/images")
    async def images(label: str = "", unlabelled: bool = False) -> JSONResponse:
        snapshot = await space.run(space.project.look)
        wanted = None if unlabelled else label
        flags = _flags(space.learner.audited.findings)
        rows = [
            [one.id, one.place.rpartition("/")[2], one.version, one.burst, flags.get(one.sample.name, [])]
            for one in snapshot.pictures
            if one.label == wanted
        ]
        return JSONResponse({"images": rows})

    @routes.get("/findings")
    async def findings() -> JSONResponse:
        snapshot = await space.run(space.project.look)
        ids = {one.sample.name: one.id for one in snapshot.pictures}
        found = [one for one in space.learner.audited.findings if not _is_known(one)]
        ordered = sorted(found, key=lambda one: -SEVERITIES.index(one.severity))
        return JSONResponse({"findings": [_shown(finding, ids) for finding in ordered]})

    @routes.get("/picture/{side}/{id}")
    async def picture(side: str, id: str) -> Response:
        if side not in _SIDES:
            raise DataError(expected="small or large", found=repr(side)[:20], where="side")
        one = await space.run(space.project.picture, id)
        content, kind = await space.run(space.thumbnails.get, one.sample.path, one.version, _SIDES[side])
        # its address has the version of the file: what is kept is never out of date
        headers = {"cache-control": "private, max-age=86400, immutable"}
        return Response(content, media_type=f"image/{kind}", headers=headers)


def _state(space: Workspace) -> dict[str, Any]:
    snapshot, project = space.project.look(), space.project
    folder, folders = shlex.quote(str(project.folder)), snapshot.class_folders
    return {
        "folder": str(project.folder),
        "quoted": folder,
        "out": str(project.folder / RUNS / run_name(project.folder)),
        "quoted_out": shlex.quote(str(project.folder / RUNS / run_name(project.folder))),
        "revision": project.revision,
        "classes": [
            {"name": name, "images": count, "folders": [str(project.folder / one) for one in folders.get(name, ())]}
            for name, count in snapshot.counts().items()
        ],
        "unlabelled": len(snapshot.unlabelled),
        "images": len(snapshot.pictures),
        "locked": snapshot.editable,
        "undo": project.undo_text,
        "backbone": space.options.get("backbone", "auto"),
        "offline": bool(space.options.get("offline")),
        "runs": [path.relative_to(project.folder).as_posix() for path in project.runs()],
    }


def _is_known(finding: Finding) -> bool:
    """Whether the page says it in its own words elsewhere."""
    return finding.detail.get("reason") in _SHOWN or finding.kind in _TOO_LITTLE


def _flags(findings: tuple[Finding, ...]) -> dict[str, list[str]]:
    """Image → kinds of the findings that name it."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        for name in {*finding.names, *(name for group in finding.groups for name in group)}:
            found.setdefault(name, []).append(finding.kind)
    return found


def _shown(finding: Finding, ids: dict[str, str]) -> dict[str, Any]:
    groups = [[ids[name] for name in group if name in ids] for group in finding.groups]
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "message": finding.message,
        "ids": [ids[name] for name in finding.names if name in ids],
        "groups": [group for group in groups if group],
    }


def _add_classes(routes: APIRouter, space: Workspace) -> None:
    project = space.project

    @routes.post("/classes")
    async def make(request: Request) -> dict[str, str]:
        values = await read_json(request)
        return {"name": await space.change(project.make_class, values.get("name"))}

    @routes.post("/classes/rename")
    async def rename(request: Request) -> dict[str, str]:
        values = await read_json(request)
        return {"name": await space.change(project.rename_class, values.get("name"), values.get("to"))}

    @routes.post("/classes/merge")
    async def merge(request: Request) -> dict[str, str]:
        values = await read_json(request)
        return {"name": await space.change(project.merge_classes, values.get("name"), values.get("into"))}

    @routes.post("/classes/delete")
    async def delete(request: Request) -> dict[str, str]:
        values = await read_json(request)
        await space.change(project.delete_class, values.get("name"))
        return {}

    @routes.post("/undo")
    async def undo(request: Request) -> dict[str, str]:
        await read_json(request)
        return {"text": await space.change(project.undo)}


def _add_images(routes: APIRouter, space: Workspace) -> None:
    @routes.post("/images/delete")
    async def delete(request: Request) -> dict[str, int]:
        values = await read_json(request)
        return {"images": await space.change(space.project.delete, ids_of(values))}

    @routes.post("/images/move")
    async def move(request: Request) -> dict[str, int]:
        values = await read_json(request)
        return {"images": await space.change(space.project.relabel, ids_of(values), values.get("label"))}

    @routes.post("/bursts")
    async def burst(request: Request) -> dict[str, str]:
        await read_json(request)
        return {"burst": space.new_burst()}


def _add_uploads(routes: APIRouter, space: Workspace) -> None:
    places = asyncio.Semaphore(_UPLOADS)
    check = partial(check_image, open_=space.learner.open, thumbnails=space.thumbnails)

    def check_kind(request: Request, allowed: tuple[str, ...], *, images: bool) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in allowed and not (images and kind.startswith("image/")):
            raise Refusal(415, "send the bytes of the file")

    @routes.post("/images")
    async def add(request: Request, *, label: str, name: str = "", batch: str = "", burst: str = "") -> dict[str, str]:
        check_kind(request, _IMAGES, images=True)

        def take(path: Path) -> str:
            return space.project.add(path, label, name=name, suffix=check(path), batch=batch[:40], burst=burst)

        async with places:
            with incoming(space.project) as path, space.learner.receiving():
                await receive(request, path, IMAGE_BYTES)
                return {"id": await space.run(take, path)}

    @routes.post("/archives")
    async def archive(request: Request, label: str = "", batch: str = "") -> JSONResponse:
        check_kind(request, _ARCHIVES, images=False)
        async with places:
            with incoming(space.project) as path, space.learner.receiving():
                await receive(request, path, ARCHIVE_BYTES)
                found = await space.run(take_archive, space.project, path, check, label=label, batch=batch[:40])
        return JSONResponse(to_plain(found))
