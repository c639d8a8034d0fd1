"""Routes of the page How it works: experiments of the lab, run with the settings of a slider."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headstart.errors import RecipeError
from headstart.lab.catalogue import run_experiment
from headstart.plain import to_plain
from headstart.studio.workspace import Workspace

_SETTINGS: dict[str, dict[str, tuple[type, float, float]]] = {
    "batch_norm_1d": {"momentum": (float, 0.01, 1.0), "batch_size": (int, 8, 64), "seed": (int, 0, 9999)},
    "identity": {"model_seed": (int, 0, 9999), "lr": (float, 0.001, 1.0)},
}
"""Experiment → setting → its kind, least and largest value: each takes a second at most."""


def lab_routes(space: Workspace) -> APIRouter:
    """All routes of the page."""
    routes = APIRouter(prefix="/api/lab")

    @routes.get("/{name}")
    async def experiment(name: str, request: Request) -> JSONResponse:
        settings = _settings(name, dict(request.query_params))
        found = await space.run(run_experiment, name, **settings)
        return JSONResponse({**to_plain(found), "panels": to_plain(found.panels), "holds": found.holds})

    return routes


def _settings(name: str, given: dict[str, str]) -> dict[str, Any]:
    allowed = _SETTINGS.get(name)
    if allowed is None:
        raise RecipeError(expected=f"one of {', '.join(_SETTINGS)}", found=repr(name)[:60], where="experiment")
    found = {}
    for key, text in given.items():
        kind, least, most = allowed.get(key, (str, 0.0, 0.0))
        try:
            value = kind(text)
        except ValueError:
            value = text
        if not isinstance(value, (int, float)) or not least <= value <= most:
            raise RecipeError(expected=f"a setting within its bounds: {', '.join(allowed)}", found=f"{key}={text}"[:80])
        found[key] = value
    return found
