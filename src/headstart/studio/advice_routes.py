"""Routes of the advice on the page Learn: the learning curve of the live head, and how long a training would take."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from headstart.errors import DataError
from headstart.plain import to_plain
from headstart.progress import Event, Progress
from headstart.studio.workspace import Workspace
from headstart.workbench.live_head import LiveResult
from headstart.workbench.live_look import learning_curve
from headstart.workbench.predict_time import predict_time


def advice_routes(space: Workspace) -> APIRouter:
    """All routes of the advice."""
    routes, advice = APIRouter(prefix="/api/advice"), _Advice(space)

    @routes.get("/curve")
    async def curve() -> JSONResponse:
        return JSONResponse(await space.run(advice.curve))

    @routes.get("/time")
    async def time(backbone: str = "") -> JSONResponse:
        return JSONResponse(await space.run(advice.time, backbone))

    return routes


class _Advice:
    """The last answers: a question that is asked again about the same images is not computed again."""

    def __init__(self, space: Workspace) -> None:
        self._space, self._lock = space, threading.Lock()
        self._curve: tuple[LiveResult, dict[str, Any]] | None = None
        self._times: dict[tuple[str, str], dict[str, Any]] = {}

    def curve(self) -> dict[str, Any]:
        """The learning curve of the live result."""
        result = self._space.learner.result
        if result is None:
            raise DataError(expected="a head that has learned something", found="nothing yet", where="learning curve")
        with self._lock:
            if self._curve is None or self._curve[0] is not result:

                def progress(done: int, total: int) -> None:
                    self._space.hub.publish("advising", {"step": "learning curve", "done": done, "total": total})

                self._curve = result, to_plain(learning_curve(result, progress=progress).to_dict())
            return self._curve[1]

    def time(self, backbone: str) -> dict[str, Any]:
        """Predicted seconds of each strategy with a backbone; empty: that of the live answers."""
        options = {**self._space.options, **({"backbone": backbone} if backbone else {})}
        with self._lock:
            key = self._space.project.revision, str(options.get("backbone"))
            if key not in self._times:
                found = predict_time(self._space.project.folder, on_event=self._on_event, **options)
                kept = {one: times for one, times in self._times.items() if one[0] == key[0]}  # of these images
                self._times = {**kept, key: found.to_dict()}
            return self._times[key]

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._space.hub.publish("advising", {"step": event.step, "done": event.done, "total": event.total})
