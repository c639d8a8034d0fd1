"""track: a run in TensorBoard, MLflow or Weights & Biases, while it is trained or afterwards."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import HeadstartError, RunError
from headstart.plain import Plain
from headstart.progress import Event, Notice, OnEvent, silent
from headstart.public_api import public_api
from headstart.tracking.live import LiveTracker
from headstart.tracking.sink import Sink, epochs_of, metrics_of, params_of, scalars_of
from headstart.tracking.trackers import make_sink, without_password
from headstart.workbench.events import EpochEnd
from headstart.workbench.run import RECORD, REPORT, Run
from headstart.workbench.session import Session

_FILES = (RECORD, REPORT)  # small, and what people open; the classifier stays in the run's folder


@dataclass(frozen=True)
class Tracked(Plain):
    """A run in a tracker: its id there, whether it had been there before, the folder or address, how to look at it."""

    run: Path
    tracker: str
    id: str
    existed: bool
    at: str = ""
    look: str = ""

    def __str__(self) -> str:
        state = "was there already, complete" if self.existed else "was sent"
        look = f"; to look at it: {self.look}" if self.look else ""
        return f"{self.run}: {state} ({self.tracker}, id {self.id}).\nIt is in {self.at}{look}"


@public_api
def track(run: str | Path | Run, *, to: str, place: str = "") -> Tracked:
    """Send a finished run to a tracker: options, test results with the ends of their intervals, epochs, report.

    Sending it again changes nothing: the run's id tells that it is there.

    Args:
        to: `tensorboard`, `mlflow` or `wandb`. place: a folder, or for MLflow a folder or address.

    Raises:
        RunError: there is no run, or the tracker does not take it. RecipeError: unknown or not installed.
    """
    opened = run if isinstance(run, Run) else Run.load(run)
    found = run_id(opened)
    try:
        sink = make_sink(to, place)
        is_new = _send(opened, sink, found)
    except HeadstartError:
        raise
    except Exception as error:  # whatever a tracker raises
        raise RunError(
            expected=f"{to} to take the run",
            found=without_password(f"{type(error).__name__}: {error}")[:300],
            where=without_password(place) or opened.folder,
            hint="Free some space on its disk, or choose another with --place."
            if isinstance(error, OSError)
            else "The run itself is complete: send it again when the tracker can be reached.",
        ) from error
    return Tracked(opened.folder, to, found, existed=not is_new, at=sink.at, look=sink.look)


def _send(run: Run, sink: Sink, found: str) -> bool:
    """Send a run with an id; False: it is there."""
    try:
        if not sink.start(found, run.folder.absolute().name):
            return False
        for epoch, values in epochs_of(run.record):
            sink.scalars(epoch, values)
        sink.end(params_of(run.record), metrics_of(run.record), _files(run))
        return True
    except BaseException:
        sink.abandon()
        raise


def run_id(run: Run) -> str:
    """The run's own id; of a run of an older headstart the hash of its record."""
    own = run.record.get("id")
    if isinstance(own, str) and own.isalnum():
        return own[:64]
    return hashlib.sha256((run.folder / RECORD).read_bytes()).hexdigest()[:16]


def follow(session: Session, tracker: str, name: str) -> Callable[[Run], Run]:
    """Send the epochs of a training to a tracker as they come; the result takes the finished run, and gives it back."""
    made: list[TrackedEvents] = []

    def wrap(on_event: OnEvent) -> OnEvent:
        made.append(TrackedEvents(on_event, tracker, run_id=session.run_id, name=name))
        return made[0]

    session.listen(wrap)
    return lambda run: made[0].finish(run)


class TrackedEvents:
    """Passes events on, and the epochs among them to a tracker; `finish` sends the run.

    Args:
        make: makes the sink; None: that of the tracker.
    """

    def __init__(
        self, on_event: OnEvent | None, tracker: str, *, run_id: str, name: str, make: Callable[[], Sink] | None = None
    ) -> None:
        self._on_event, self._tracker = on_event or silent, tracker
        self._live = LiveTracker(make or (lambda: make_sink(tracker)), run_id, name)

    def __call__(self, event: Event) -> None:
        """Take an event of the training."""
        if isinstance(event, EpochEnd):
            self._live.scalars(event.epoch, scalars_of(event.values))
        self._on_event(event)

    def finish(self, run: Run) -> Run:
        """Send the results of the finished run, and return it; where that does not work, a notice says what to do."""
        if not self._live.end(params_of(run.record), metrics_of(run.record), _files(run)):
            self._on_event(
                Notice(
                    f"{self._tracker} did not get the whole run ({self._live.problem}); the run itself is complete. "
                    f"Send it again: headstart track {shlex.quote(str(run.folder))} --to {self._tracker}"
                )
            )
        return run


def _files(run: Run) -> list[Path]:
    return [run.folder / name for name in _FILES if (run.folder / name).is_file()]
