"""What a verb tells while it works, as plain values; a face draws them, a script may ignore them.

Found → Plan → Progress … → Verdict → Written
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.data.finding import Finding
from headstart.evaluation.evaluation import Evaluation


@dataclass(frozen=True)
class Found:
    """What the data turned out to be.

    Args:
        source: what the user named. images: usable ones. classes: names.
        counts: part (train, validation, test) → class → images.
        protocol: how the parts came about, one sentence.
        findings: problems first.
    """

    source: str
    images: int
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    protocol: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Notice:
    """One sentence that must be read before what comes next, such as the size and licence of a download."""

    text: str


@dataclass(frozen=True)
class Plan:
    """What will be done with it: label → text, in the order to show."""

    rows: Mapping[str, str]


@dataclass(frozen=True)
class Progress:
    """How far a long step is; `unit` counts `done` of `total` since `seconds` ago."""

    step: str
    done: int
    total: int
    seconds: float
    unit: str = "images"

    @property
    def rate(self) -> float:
        """Units a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """At the present rate; infinite before the first unit."""
        return (self.total - self.done) / self.rate if self.rate else float("inf")


@dataclass(frozen=True)
class Verdict:
    """What was measured on the test images, and a clause that says by which images the rest was chosen."""

    evaluation: Evaluation
    warnings: tuple[str, ...]
    chosen: str


@dataclass(frozen=True)
class Written:
    """Where everything lies, and the command that comes next; empty where none does."""

    folder: Path
    files: tuple[str, ...]
    next_command: str


Event = Found | Notice | Plan | Progress | Verdict | Written
Tell = Callable[[Event], None]

_TELLING = 0.1  # seconds: what a first unit took says nothing before


def tell_plainly(event: Event) -> None:
    """For scripts and notebooks: progress and places to stderr, one line each; the result is the return value."""
    if isinstance(event, Progress):
        end = "\n" if event.done >= event.total else "\r"
        print(progress_line(event), end=end, file=sys.stderr, flush=True)
    elif isinstance(event, Notice):
        print(event.text, file=sys.stderr)
    elif isinstance(event, Written):
        print(f"written: {event.folder}", file=sys.stderr)


def progress_line(event: Progress) -> str:
    """`extract features  120/397 images  31.2 images/s  9 s left`; no rate before there is one to speak of."""
    counted = f"{event.step}  {event.done:,}/{event.total:,} {event.unit}"
    if not event.done or (event.seconds < _TELLING and event.done < event.total):
        return f"{counted}  …    "
    return f"{counted}  {event.rate:.1f} {event.unit}/s  {event.seconds_left:.0f} s left    "


class Ticker:
    """Turns a step's (done, total) calls into Progress events, at most ten a second and always the last."""

    def __init__(self, tell: Tell, step: str, unit: str = "images") -> None:
        self._tell, self._step, self._unit = tell, step, unit
        self._began, self._told = time.perf_counter(), 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if done >= total or now - self._told >= 0.1:
            self._told = now
            self._tell(Progress(self._step, done, total, now - self._began, self._unit))
