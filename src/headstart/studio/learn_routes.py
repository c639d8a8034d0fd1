"""Routes of the page Learn: trainings, their runs and reports; the live result comes as an event."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from headstart.errors import DataError, RunError
from headstart.plain import to_plain
from headstart.progress import OnEvent
from headstart.recipe import Recipe
from headstart.studio.project import RUNS
from headstart.studio.workspace import Workspace, read_json
from headstart.workbench.backbones import list_backbones
from headstart.workbench.job import unfinished_runs
from headstart.workbench.resume import resume
from headstart.workbench.run import INSIDE, REPORT, Run, run_name
from headstart.workbench.starting_point import spec_in_reach
from headstart.workbench.train import train

_PAGES = {"report": REPORT, "inside": INSIDE}
# a report has its styles and pictures inside and no script: it may have these and nothing else
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups"
_STRATEGIES = ("probe", "auto", "last-stage", "probe-then-full", "full")
_CHECKPOINTS = 5  # seconds: whoever presses Stop loses no more than that
_WORDS = ("auto", "fast", "accurate", "embedded")  # a card each; balanced is auto


def learn_routes(space: Workspace) -> APIRouter:
    """All routes of the page."""
    routes = APIRouter(prefix="/api")

    @routes.get("/choices")
    async def choices() -> JSONResponse:
        return JSONResponse(_choices(space))

    @routes.post("/train")
    async def begin(request: Request) -> dict[str, str]:
        values = await read_json(request)
        return await space.run(start_training, space, values)

    @routes.post("/train/stop")
    async def stop(request: Request) -> dict[str, str]:
        await read_json(request)
        space.training.stop()
        return {}

    @routes.post("/train/resume")
    async def go_on(request: Request) -> dict[str, str]:
        values = await read_json(request)
        target = await space.run(_unfinished, space, str(values.get("run", "")))
        space.training.start(target, lambda on_event: resume(target, on_event=on_event), space.learner.wake)
        return {"command": f"headstart resume {shlex.quote(str(target))}"}

    @routes.get("/runs")
    async def runs() -> JSONResponse:
        waiting = await space.run(unfinished, space)
        return JSONResponse({"runs": await space.run(_runs, space), "unfinished": [path.name for path in waiting]})

    @routes.get("/runs/{name}/{page}")
    async def page(name: str, page: str) -> Response:
        if page not in _PAGES:
            raise DataError(expected="report or inside", found=repr(page)[:40], where="page")
        path = (await space.run(space.run_named, name)) / _PAGES[page]
        headers = {"content-security-policy": REPORT_POLICY}
        return FileResponse(path, media_type="text/html", headers=headers)

    return routes


def _choices(space: Workspace) -> dict[str, Any]:
    rows = [{key: row[key] for key in ("name", "title", "gmac", "accuracy", "licence")} for row in list_backbones()]
    recipe = Recipe().with_options(space.options)
    return {
        "strategies": _STRATEGIES,
        "words": [_word(name, offline=recipe.offline) for name in _WORDS],
        "chosen": {"strategy": recipe.strategy, "backbone": recipe.backbone, "offline": recipe.offline},
        "backbones": to_plain(rows),
    }


def _word(name: str, *, offline: bool) -> dict[str, Any]:
    """What a card of a backbone shows: which network it takes on this machine, its work and measured accuracy."""
    spec = spec_in_reach(name, offline=offline)
    return {"name": name, "takes": spec.name, "gmac": spec.gmac or None, "accuracy": spec.accuracy or None}


def start_training(space: Workspace, values: dict[str, Any]) -> dict[str, str]:
    """Begin a training of the folder into its `runs`; the equivalent command.

    Raises:
        RecipeError: a value is not allowed. RunError: a training runs.
    """
    given: dict[str, Any] = {name: str(values[name]) for name in ("strategy", "backbone", "time") if values.get(name)}
    if given.get("strategy", "probe") != "probe":
        given["checkpoint_every"] = _CHECKPOINTS
    options = {**space.options, **given}
    Recipe().with_options(options)  # a mistake is said now, not by an event
    source, name = space.project.folder, run_name(space.project.folder)
    target = space.project.folder / RUNS / name

    def work(on_event: OnEvent) -> Run:
        return train(source, out=target, on_event=on_event, **options)

    space.training.start(target, work, space.learner.wake)
    call = f"headstart train {shlex.quote(str(source))} --out {shlex.quote(str(target))}"
    return {"command": " ".join([call, *_flags(given | {k: v for k, v in options.items() if k not in given})])}


def _flags(options: dict[str, Any]) -> list[str]:
    """Options of a command line, those that differ from their defaults."""
    usual = Recipe()
    changed = {key: value for key, value in options.items() if value != getattr(usual, key)}
    words = {key: f"--{key.replace('_', '-')}" for key in changed}
    return [
        words[key] if value is True else f"{words[key]} {shlex.quote(str(value))}" for key, value in changed.items()
    ]


def unfinished(space: Workspace) -> list[Path]:
    """Folders that the runs of interrupted fine-tunings will have, those of a killed studio too."""
    return [] if space.training.is_running else unfinished_runs(space.project.folder / RUNS)


def _unfinished(space: Workspace, name: str) -> Path:
    found = {path.name: path for path in unfinished(space)}
    if name not in found:
        raise RunError(expected="a training that was stopped", found=repr(name)[:60], where="resume")
    return found[name]


def _runs(space: Workspace) -> list[dict[str, Any]]:
    return [found for path in reversed(space.project.runs()) if (found := _run(path)) is not None]


def _run(path: Path) -> dict[str, Any] | None:
    try:
        run = Run.load(path)
    except RunError as error:
        return {"name": path.name, "error": str(error)}
    record = run.record
    return {
        "name": path.name,
        "accuracy": to_plain(run.evaluation.accuracy),
        "backbone": record["backbone"].get("name", ""),
        "strategy": record["recipe"].get("strategy", ""),
        "created": record.get("created", ""),
        "classes": list(run.evaluation.classes),
        "pages": [word for word, name in _PAGES.items() if (path / name).exists()],
        "quoted": shlex.quote(str(path)),
        "folder": str(path),
    }
