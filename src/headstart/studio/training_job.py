"""TrainingJob: one training at a time in a thread of its own, its events to every page, stopped between two of them."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError, RunError
from headstart.plain import to_plain
from headstart.progress import Detail, Event, Notice, Progress, Working
from headstart.studio.event_hub import EventHub
from headstart.workbench.events import DatasetSummary, EpochEnd, FilesWritten, NextSteps, Plan, Results
from headstart.workbench.run import Run


class Stopped(BaseException):
    """Ends a training where it reports something; what is computed so far stays in the cache."""


class TrainingJob:
    """The training that runs, if one does, and the words that the last one ended with."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._epochs: dict[int, dict[str, Any]] = {}
        self.target: Path | None = None

    @property
    def is_running(self) -> bool:
        """Whether a training runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, target: Path, work: Callable[[Callable[[Event], None]], Run], done: Callable[[], None]) -> None:
        """Run a training.

        Args:
            target: folder of the run. work: the verb, given where its events go. done: is called when it has ended.

        Raises:
            RunError: another one runs.
        """
        with self._lock:
            if self.is_running:
                raise RunError(
                    expected="one training at a time", found="one that runs", where="train", hint="Stop it, or wait."
                )
            self._stop.clear()
            if target != self.target:  # a resumed training goes on with its curve
                self._epochs = {}
            self.target = target
            self._thread = threading.Thread(target=self._run, args=(work, done), name="studio train", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the training end at its next event."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, work: Callable[[Callable[[Event], None]], Run], done: Callable[[], None]) -> None:
        own, began = threading.get_ident(), time.monotonic()

        def on_event(event: Event) -> None:
            if self._stop.is_set() and threading.get_ident() == own:  # signs of life come from another thread
                raise Stopped
            if isinstance(event, EpochEnd):
                self._tell_epoch(event)
            elif isinstance(event, NextSteps):
                steps = [{"text": step.text, "command": step.command} for step in event.steps]
                self._hub.publish("steps", {"run": target.name, "steps": steps}, keep=True)
            elif (values := shown_event(event)) is not None:
                self._hub.publish("training", {"state": "running", **values}, keep=True)

        target = self.target or Path()
        self._hub.publish("epochs", {"epochs": list(self._epochs.values())}, keep=True)
        self._hub.publish("training", {"state": "running", "text": "starting"}, keep=True)
        ended: dict[str, Any]
        try:
            run = work(on_event)
            ended = {"state": "done", "run": run.folder.name, "seconds": time.monotonic() - began}
        except Stopped:
            ended = {"state": "stopped", "text": "Stopped. What was computed is kept in the cache."}
        except HeadstartError as error:
            ended = {"state": "failed", "text": str(error)}
        except Exception:  # a bug of ours: the page says so, and does not wait for ever
            traceback.print_exc()
            ended = {"state": "failed", "text": f"A bug of headstart: {traceback.format_exc(limit=-1)}"}
        self._hub.publish("training", ended, keep=True)
        done()

    def _tell_epoch(self, event: EpochEnd) -> None:
        """The curves so far: an epoch that is done again after a resume takes its old place."""
        wanted = ("epoch", "loss", "val_loss", "metrics", "val_metrics", "seconds")
        self._epochs[event.epoch] = {name: event.values.get(name) for name in wanted}
        self._hub.publish("epochs", {"epochs": list(self._epochs.values())}, keep=True)


def shown_event(event: Event) -> dict[str, Any] | None:
    """What a page shows of an event of a training; None: nothing."""
    if isinstance(event, Progress):
        left = event.seconds_left if event.done else None
        return {"step": event.step, "done": event.done, "total": event.total, "unit": event.unit, "left": left}
    if isinstance(event, (Notice, Working)):
        return {"text": event.text}
    if isinstance(event, Plan):
        return {"plan": dict(event.rows)}
    if isinstance(event, DatasetSummary):
        return {"counts": to_plain(event.counts), "protocol": event.protocol}
    if isinstance(event, Results):
        return {"accuracy": event.evaluation.accuracy, "warnings": list(event.warnings), "chosen": event.chosen}
    if isinstance(event, (Detail, FilesWritten)):
        return None
    return {"text": str(getattr(event, "text", ""))} if getattr(event, "text", "") else None
