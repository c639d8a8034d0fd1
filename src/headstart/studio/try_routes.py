"""Routes about one picture: the answer of the live head or of a run, its heat map, the answer without some blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.features.matrix import scale_stages
from headstart.plain import to_plain
from headstart.serving.body import read_images
from headstart.serving.limits import ServerLimits
from headstart.serving.served_classifier import ServedClassifier
from headstart.studio.workspace import LIVE, Workspace
from headstart.workbench.live_head import LiveResult

_NEAREST = 4  # training pictures beside an answer


def try_routes(space: Workspace) -> APIRouter:
    """All routes of the page."""
    routes, limits = APIRouter(prefix="/api"), ServerLimits(images=1)

    @routes.post("/answer")
    async def answer(request: Request, model: str = LIVE) -> JSONResponse:
        (content, *_), _ = await read_images(request, limits)
        return JSONResponse(await space.run(_answer, space, content, model))

    @routes.post("/explain")
    async def explain(request: Request, model: str = LIVE, class_name: str | None = None) -> Response:
        (content, *_), _ = await read_images(request, limits)
        served = await space.run(space.served, model)
        return Response(await space.run(served.explain, content, class_name), media_type="image/png")

    @routes.get("/explain/{id}")
    async def explain_known(id: str, model: str = LIVE, class_name: str | None = None) -> Response:
        content = (await space.run(space.project.picture, id)).sample.path
        served = await space.run(space.served, model)
        png = await space.run(lambda: served.explain(content.read_bytes(), class_name))
        return Response(png, media_type="image/png", headers={"cache-control": "no-store"})

    @routes.post("/blocks")
    async def blocks(request: Request, model: str = LIVE, off: str = "") -> JSONResponse:
        (content, *_), _ = await read_images(request, limits)
        served = await space.run(space.served, model)
        return JSONResponse(to_plain(await space.run(served.without_blocks, content, _indices(off))))

    return routes


def _indices(text: str) -> tuple[int, ...]:
    """The numbers of `0,3`."""
    words = [word for word in text.split(",") if word]
    if not all(word.isascii() and word.isdigit() and len(word) < 4 for word in words):
        raise DataError(expected="numbers of blocks, such as 0,3", found=repr(text)[:40], where="off")
    return tuple(map(int, words))


def _answer(space: Workspace, content: bytes, model: str) -> dict[str, Any]:
    served = space.served(model)
    prediction = served.predict(content)
    result = space.learner.result
    nearest = _nearest(space, result, served, content=content) if model == LIVE and result is not None else []
    return {
        "model": model,
        "label": prediction.label,
        "probability": prediction.probability if prediction.label else None,
        "probabilities": [[name, value] for name, value in prediction.probabilities.items()],
        "damaged": prediction.damaged,
        "doubt": prediction.doubt,
        "nearest": nearest,
        "no_threshold": served.no_threshold,
        **{name: to_plain(value) for name, value in prediction.trust().items()},
    }


def _nearest(space: Workspace, result: LiveResult, served: ServedClassifier, *, content: bytes) -> list[dict[str, Any]]:
    """The training pictures whose features are most alike, by cosine, as the head sees them."""
    if result.probe is None:
        raise DataError(expected="a head", found=result.missing, where="answer")
    features = served.embed(content)
    widths = [stop - start for start, stop in (result.features.slices[stage] for stage in result.probe.head.stages)]
    parts: list[NDArray[np.float32]] = np.split(features[None], np.cumsum(widths)[:-1], axis=1)
    query = scale_stages(parts)[0]
    known = result.view()
    cosines = np.concatenate([x @ query for _, x in known.blocks()]) / len(widths)  # each stage has length one
    order = np.argsort(-cosines, kind="stable")[:_NEAREST]
    by_path = {picture.sample.path: picture for picture in space.project.look().pictures}
    found = []
    for i in order:
        picture = by_path.get(result.samples[i].path)
        if picture is not None:
            about = {"id": picture.id, "version": picture.version, "label": picture.label}
            found.append({**about, "cosine": float(cosines[i])})
    return found
