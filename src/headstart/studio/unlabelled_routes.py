"""Routes of the images without a class: in which order to label them, with what the live head says of each."""

from __future__ import annotations

import json
import shlex
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from headstart.studio.project import Picture
from headstart.studio.workspace import Workspace
from headstart.workbench.advise_label import ImageToLabel, images_to_label

_SHOWN = 200  # more than anybody labels before the order is another one


def unlabelled_routes(space: Workspace) -> APIRouter:
    """All routes of these images."""
    routes = APIRouter(prefix="/api/unlabelled")

    @routes.get("")
    async def ordered() -> JSONResponse:
        return JSONResponse(await space.run(_ordered, space))

    return routes


def _ordered(space: Workspace) -> dict[str, Any]:
    snapshot, waiting = space.project.look(), space.learner.waiting
    pictures, classifier = snapshot.unlabelled, space.learner.classifier
    known = None if classifier is None else waiting.features(pictures)
    rows, named = list[dict[str, Any]](), set[str]()
    if classifier is not None and known is not None:
        chosen, _ = images_to_label(classifier, known[1], count=_SHOWN)
        by_id = {picture.id: picture for picture in known[0]}
        rows = [_row(by_id[one.path], one) for one in chosen]
        named = {one.path for one in chosen}
    rows += [_row(picture, None) for picture in pictures if picture.id not in named][: max(0, _SHOWN - len(rows))]
    runs = space.project.runs()
    run = str(runs[-1]) if runs else "RUN"
    return {
        "images": rows,
        "total": len(pictures),
        "done": waiting.done(pictures),
        "command": f"headstart advise label {shlex.quote(run)}",
        "python": f"hs.advise_label({json.dumps(run, ensure_ascii=False)})",
    }


def _row(picture: Picture, one: ImageToLabel | None) -> dict[str, Any]:
    about = {"id": picture.id, "version": picture.version, "name": picture.sample.name}
    if one is None:
        return about
    score = {"margin": one.candidate.margin, "density": one.candidate.density}
    return {**about, **score, "predicted": one.predicted, "probability": one.probability, "runner_up": one.runner_up}
