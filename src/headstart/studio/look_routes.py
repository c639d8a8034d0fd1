"""Routes of the page Look: confusion, mistakes, likely label errors and the map of the live result."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headstart.errors import DataError
from headstart.studio.project import Picture
from headstart.studio.workspace import Workspace, ids_of, read_json
from headstart.wording import counted
from headstart.workbench.live_head import LiveResult
from headstart.workbench.live_look import confusion, mistakes, positions, suspects

_MISTAKES = 60
_CELL = 500  # images of one cell


def look_routes(space: Workspace) -> APIRouter:
    """All routes of the page."""
    routes = APIRouter(prefix="/api/look")

    @routes.get("/confusion")
    async def matrix() -> JSONResponse:
        result = _result(space)
        counts = await space.run(confusion, result)
        shown = await space.run(_rows, space, result, [int(i) for i in mistakes(result)[:_MISTAKES]])
        return JSONResponse({"classes": result.classes, "counts": counts.tolist(), "mistakes": shown})

    @routes.get("/cell")
    async def cell(label: str, predicted: str) -> JSONResponse:
        result = _result(space)
        known = {name: number for number, name in enumerate(result.classes)}
        if label not in known or predicted not in known:
            raise DataError(expected="two classes", found=repr((label, predicted))[:80], where="cell")
        chosen = (result.labels == known[label]) & (result.predicted == known[predicted])
        return JSONResponse({"images": await space.run(_rows, space, result, chosen.nonzero()[0].tolist()[:_CELL])})

    @routes.get("/suspects")
    async def suspicious() -> JSONResponse:
        return JSONResponse(await space.run(_suspects, space, _result(space)))

    @routes.get("/map")
    async def scatter() -> JSONResponse:
        return JSONResponse(await space.run(_map, space, _result(space)))

    _add_keep(routes, space)
    return routes


def _add_keep(routes: APIRouter, space: Workspace) -> None:
    @routes.post("/keep")
    async def keep(request: Request) -> dict[str, str]:
        ids = ids_of(await read_json(request))
        await space.change(_keep, space, _result(space), ids)
        return {}


def _keep(space: Workspace, result: LiveResult, ids: list[object]) -> None:
    """Note that the labels of these images are right: a change like any other, which `undo` takes back."""
    index = {sample.path: i for i, sample in enumerate(result.samples)}
    chosen = [index.get(space.project.picture(id).sample.path) for id in ids]
    rows = [i for i in chosen if i is not None]
    if len(rows) < len(chosen):
        raise DataError(expected="an image that was learned from", found="another", where="keep")
    what = result.samples[rows[0]].name if len(rows) == 1 else counted(len(rows), "image")
    change = space.project.note(f"Kept the label of {what}")
    for i in rows:
        space.kept.decide(result.features.contents[i], result.classes[result.labels[i]], change=change)


def _result(space: Workspace) -> LiveResult:
    result = space.learner.result
    if result is None or result.probe is None:
        found = "nothing yet" if result is None else result.missing
        raise DataError(expected="a head that has learned something", found=found, where="look")
    return result


def _pictures(space: Workspace, result: LiveResult) -> list[Picture | None]:
    """The image of each row as it lies in the folder now; None: it has moved since."""
    by_path = {picture.sample.path: picture for picture in space.project.look().pictures}
    return [by_path.get(sample.path) for sample in result.samples]


def _row(result: LiveResult, picture: Picture, i: int) -> dict[str, Any]:
    predicted = int(result.predicted[i])
    return {
        "id": picture.id,
        "version": picture.version,
        "name": picture.sample.name,
        "label": picture.label,
        "predicted": result.classes[predicted],
        "probability": float(result.held_out[i, predicted]),
    }


def _rows(space: Workspace, result: LiveResult, chosen: list[int]) -> list[dict[str, Any]]:
    pictures = _pictures(space, result)
    return [_row(result, picture, i) for i in chosen if (picture := pictures[i]) is not None]


def _suspects(space: Workspace, result: LiveResult) -> dict[str, Any]:
    pictures = _pictures(space, result)

    def shown(indices: tuple[int, ...]) -> list[dict[str, str]]:
        found = [one for i in indices if (one := pictures[i]) is not None]
        return [{"id": one.id, "version": one.version} for one in found]

    rows = []
    for one in suspects(result):
        picture = pictures[one.image]
        content, label = result.features.contents[one.image], result.classes[result.labels[one.image]]
        if picture is None or space.kept.has(content, label):
            continue
        about = {"suggested": result.classes[one.suggested], "margin": one.margin}
        like = {"like_label": shown(one.like_label), "like_suggested": shown(one.like_suggested)}
        rows.append({**_row(result, picture, one.image), **about, **like})
    return {"suspects": rows, "classes": space.project.look().classes}  # by one key also into one without images


def _map(space: Workspace, result: LiveResult) -> dict[str, Any]:
    places, pictures = positions(result), _pictures(space, result)
    points = [
        [one.id, one.version, float(x), float(y), int(label), int(predicted)]
        for one, (x, y), label, predicted in zip(pictures, places, result.labels, result.predicted, strict=True)
        if one is not None
    ]
    return {"classes": result.classes, "points": points}
