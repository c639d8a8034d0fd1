"""Events of long jobs as plain values: a notice, or how far a step is; a face draws them, a script may ignore them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

OnProgress = Callable[[int, int], None]  # called with (done, total)
OnStep = Callable[[str, str], OnProgress]  # called with (name of the step, unit)


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Event:
    """Something that happened during a job."""


@dataclass(frozen=True)
class Notice(Event):
    """One sentence to read before what comes next, such as the size and licence of a download."""

    text: str


@dataclass(frozen=True)
class Detail(Event):
    """One sentence for those who want to know more: how long a step took, where a file is, what was cached."""

    text: str


@dataclass(frozen=True)
class Progress(Event):
    """How far a long step is: `done` of `total` units, `seconds` after it started."""

    step: str
    done: int
    total: int
    seconds: float
    unit: str = "images"

    @property
    def rate(self) -> float:
        """Units per second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """Time left at the present rate; infinite before the first unit."""
        return (self.total - self.done) / self.rate if self.rate else float("inf")


@dataclass(frozen=True)
class Working(Event):
    """A sign of life from a step that cannot say how far it is."""

    step: str
    seconds: float

    @property
    def text(self) -> str:
        """`evaluate … 15 s`."""
        return f"{self.step} … {self.seconds:.0f} s"


OnEvent = Callable[[Event], None]
"""What a verb calls with each event; verbs accept None for silence."""

_FIRST_RATE = 0.1  # seconds: a rate measured over less is noise
_INTERVAL = 0.1  # seconds between two progress events of a step


def silent(event: Event) -> None:
    """Ignore an event."""


def print_event(event: Event) -> None:
    """Print progress, notices and places to stderr, one line each: the default in scripts and notebooks.

    Where stderr is closed nothing is printed: no job fails for want of a reader.
    """
    if isinstance(event, Progress):
        text, end = progress_line(event), "\n" if event.done >= event.total else "\r"
    else:
        text, end = "" if isinstance(event, Detail) else str(getattr(event, "text", "")), "\n"
    if not text or sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):  # ValueError: closed
        print(text, end=end, file=sys.stderr, flush=True)


def progress_line(event: Progress) -> str:
    """`extract features  120/397 images  31.2 images/s  9 s left`; no rate before it means something."""
    share = event.unit == "%"
    done = f"{100 * event.done / max(event.total, 1):.0f}" if share else f"{event.done:,}/{event.total:,}"
    counted = f"{event.step}  {done} {event.unit}"
    if not event.done or (event.seconds < _FIRST_RATE and event.done < event.total):
        return f"{counted}  …    "
    if share:
        return f"{counted}  {event.seconds_left:.0f} s left    "
    rate = f"{event.rate:.1f}" if event.rate >= 1 else f"{event.rate:.2g}"  # a slow step is not one that stands still
    return f"{counted}  {rate} {event.unit}/s  {event.seconds_left:.0f} s left    "


class ProgressReporter:
    """Turns a step's (done, total) calls into Progress events: at most ten per second, and always the last."""

    def __init__(self, on_event: OnEvent, step: str, unit: str = "images") -> None:
        self._on_event, self._step, self._unit = on_event, step, unit
        self._started, self._last = time.perf_counter(), 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if done >= total or now - self._last >= _INTERVAL:
            self._last = now
            self._on_event(Progress(self._step, done, total, seconds=now - self._started, unit=self._unit))
