"""The line that the loop shows after an epoch: loss, metrics, rate, time, time left."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from headstart.training.records import EpochRecord

QUIET = 2.0  # seconds: a training that is over before is not worth a word
APART = 0.5  # seconds between lines: tiny epochs would flood the terminal


class ProgressLines:
    """Lines on stderr, so that a script's own output stays clean.

    Args:
        epochs: to come. show: True: a line for every epoch; False: none; None: as few as a reader needs.
    """

    def __init__(self, epochs: int, show: bool | None, out: TextIO | None = None) -> None:
        self.epochs = epochs
        self.show = show
        self.out = out or sys.stderr
        self.done = 0
        self.began = time.monotonic()
        self.latest = self.began

    def on_event(self, record: EpochRecord) -> None:
        """Show an epoch, if it is time to."""
        self.done += 1
        now = time.monotonic()
        if self.show is False or (self.show is None and not self._is_due(now)):
            return
        self.latest = now
        left = (now - self.began) / self.done * (self.epochs - self.done)
        print(f"{record} · {_clock(left)} left" if left else str(record), file=self.out, flush=True)

    def _is_due(self, now: float) -> bool:
        if now - self.began < QUIET:
            return False
        return now - self.latest >= APART or self.done == self.epochs


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}" if minutes else f"{rest} s"
