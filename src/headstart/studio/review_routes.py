"""Routes of the review of a run: its likely label errors, decisions in its review.jsonl, and what they would change."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headstart.errors import DataError
from headstart.plain import to_plain
from headstart.studio.project import Picture
from headstart.studio.workspace import Workspace, read_json
from headstart.workbench.review import Review, Suspect, review


def review_routes(space: Workspace) -> APIRouter:
    """All routes of the review."""
    routes, open_reviews = APIRouter(prefix="/api/review"), _Reviews()

    @routes.get("/{name}")
    async def suspects(name: str) -> JSONResponse:
        return JSONResponse(await space.run(open_reviews.shown, space, name))

    @routes.post("/{name}/decide")
    async def decide(name: str, request: Request) -> JSONResponse:
        values = await read_json(request)
        return JSONResponse(await space.run(open_reviews.decide, space, name, values=values))

    @routes.post("/{name}/undo")
    async def undo(name: str, request: Request) -> JSONResponse:
        await read_json(request)
        return JSONResponse(await space.run(open_reviews.undo, space, name))

    return routes


class _Reviews:
    """The review that is open: its scores are computed once, its decisions are read from their file each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: tuple[Path, Review] | None = None

    def shown(self, space: Workspace, name: str) -> dict[str, Any]:
        """Suspects without a decision, and what the decisions so far change."""
        with self._lock:
            return self._shown(space, self._of(space, name))

    def decide(self, space: Workspace, name: str, *, values: dict[str, Any]) -> dict[str, Any]:
        """Note a decision about one of the suspects."""
        with self._lock:
            found, image = self._of(space, name), values.get("image")
            if image not in {one.image for one in found.suspects}:
                raise DataError(expected="a suspect of the review", found=repr(image)[:80], where="image")
            found.decide(str(image), str(values.get("action")), str(values.get("label") or ""))
            return self._shown(space, found)

    def undo(self, space: Workspace, name: str) -> dict[str, Any]:
        """Take the last decision back."""
        with self._lock:
            found = self._of(space, name)
            found.undo()
            return self._shown(space, found)

    def _of(self, space: Workspace, name: str) -> Review:
        folder = space.run_named(name)
        if self._open is None or self._open[0] != folder:
            self._open = folder, review(folder, on_event=None)
        return self._open[1]

    def _shown(self, space: Workspace, found: Review) -> dict[str, Any]:
        pictures = {picture.sample.name: picture for picture in space.project.look().pictures}
        rows = [_row(one, pictures) for one in found.suspects if one.decision is None and one.image in pictures]
        standing = len(found.decisions.by_content)
        return {
            "suspects": rows,
            "classes": list(found.classes),
            "expected": found.expected,
            "decisions": standing,
            "what_if": str(found.what_if()) if standing else "",
            "apply": found.apply_command,
            "notes": list(found.notes),
        }


def _row(one: Suspect, pictures: dict[str, Picture]) -> dict[str, Any]:
    def shown(names: tuple[str, ...]) -> list[dict[str, str]]:
        return [{"id": pictures[name].id, "version": pictures[name].version} for name in names if name in pictures]

    picture = pictures[one.image]
    about = {"name": one.image, "label": one.label, "suggested": one.suggested, "split": one.split}
    like = {"like_label": shown(one.like_label), "like_suggested": shown(one.like_suggested)}
    return {**about, **like, "id": picture.id, "version": picture.version, "margin": to_plain(one.margin)}
