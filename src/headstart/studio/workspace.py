"""Workspace: what the routes of the studio share: the project, its learner, pages that listen, pictures, workers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request

from headstart import files, runtime
from headstart.classifier.classifier import Classifier
from headstart.errors import DataError
from headstart.serving.body import Refusal
from headstart.serving.limits import ServerLimits
from headstart.serving.served_classifier import ServedClassifier
from headstart.studio.event_hub import EventHub
from headstart.studio.journal import HIDDEN
from headstart.studio.kept import Kept
from headstart.studio.learner import Learner
from headstart.studio.project import Project
from headstart.studio.server_process import ServerProcess
from headstart.studio.thumbnail_store import ThumbnailStore
from headstart.studio.training_job import TrainingJob
from headstart.untrusted import parse_json

LIVE = "live"
"""Name of the live classifier among the models that a page can ask."""
JSON_BYTES = 8_000_000  # two hundred thousand numbers of images
_PATIENCE = 20  # seconds for a training to reach its next event when the studio ends
_Answer = TypeVar("_Answer")


class Workspace:
    """One folder that is worked on.

    Args:
        options: of the recipe of learning and training, such as the backbone.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.project, self.hub = Project(folder), EventHub()
        self.options = options
        self.learner = Learner(self.project, self.hub, options)
        self.thumbnails = ThumbnailStore()
        self.training, self.kept = TrainingJob(self.hub), Kept(self.project.folder, self.project.stands)
        self.server = ServerProcess()
        self._served: tuple[Classifier | Path, ServedClassifier] | None = None
        self.pool = ThreadPoolExecutor(runtime.cores() + 2, thread_name_prefix="studio")
        files.remove(self.project.folder / HIDDEN / "incoming")  # of uploads that a killed process did not finish

    async def run(self, work: Callable[..., _Answer], *arguments: Any, **named: Any) -> _Answer:
        """Call what takes time in a thread, so that other requests are answered meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, partial(work, *arguments, **named))

    async def change(self, work: Callable[..., _Answer], *arguments: Any, **named: Any) -> _Answer:
        """Do a change of the folder and let the learner know."""
        answer = await self.run(work, *arguments, **named)
        self.learner.wake()
        return answer

    def run_named(self, name: str) -> Path:
        """Folder of a run by its name.

        Raises:
            DataError: there is none of that name.
        """
        found = {path.name: path for path in self.project.runs()}.get(name)
        if found is None:
            raise DataError(expected="a run of this folder", found=repr(name)[:60], where="run")
        return found

    def served(self, model: str) -> ServedClassifier:
        """The live classifier, or that of a run by its name; the last one stays loaded.

        Raises:
            DataError: there is none. ClassifierError: its file cannot be opened.
        """
        wanted = self.learner.classifier if model == LIVE else self.run_named(model)
        if wanted is None:
            result = self.learner.result
            found = result.missing if result is not None else "nothing is learned yet"
            raise DataError(expected="a head that has learned something", found=found, where="live")
        if self._served is None or self._served[0] != wanted:
            classifier = Classifier.load(wanted) if isinstance(wanted, Path) else wanted
            self._served = wanted, ServedClassifier(classifier, pixels=ServerLimits().pixels)
        return self._served[1]

    def new_burst(self) -> str:
        """Name of a recording; see `data.bursts.HOLD`."""
        return f"hold-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"

    def close(self) -> None:
        """End streams and threads."""
        self.hub.close()
        self.training.stop()
        self.server.stop()
        self.learner.stop()
        self.training.wait(_PATIENCE)
        self.pool.shutdown(wait=False, cancel_futures=True)


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        Refusal: 415 another kind of content; 413 too large. DataError: it is no object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "send JSON")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > JSON_BYTES:
            raise Refusal(413, f"a request may have {JSON_BYTES:,} bytes")
    try:
        values = parse_json(bytes(body))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise DataError(expected="a JSON object", found="something else", where="request")
    return values


def ids_of(values: dict[str, Any]) -> list[object]:
    """The list `ids` of a request.

    Raises:
        DataError: there is none.
    """
    ids = values.get("ids")
    if not isinstance(ids, list) or not ids:
        raise DataError(expected="numbers of images", found="none", where="ids")
    if not all(isinstance(one, str) for one in ids):
        raise DataError(expected="numbers of images, each a text", found="other values", where="ids")
    return ids
