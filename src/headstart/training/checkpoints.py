"""Checkpoints of a long training: the latest and the one before it, written now and then, found again after a kill."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

from headstart.errors import TrainingError
from headstart.training.stepbystep import StepByStep

LATEST, PREVIOUS = "checkpoint.pth", "checkpoint.previous.pth"
_HALVED = "halved.txt"


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        seconds: at least this long between two that are written on the way.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self._saved = time.monotonic()

    def load(self, loop: StepByStep) -> bool:
        """Bring a loop to where it was; says whether there was anything. A damaged file is passed over with a warning.

        Raises:
            TrainingError: there are checkpoints and none can be used.
        """
        faults: list[TrainingError] = []
        for name in (LATEST, PREVIOUS):
            if not (self.folder / name).exists():
                continue
            try:
                loop.load_checkpoint(self.folder / name)
            except TrainingError as error:
                warnings.warn(f"{name} cannot be used ({error.found}); the one before it is tried", stacklevel=2)
                faults.append(error)
                continue
            return True
        if faults:
            raise faults[0]
        return False

    def save(self, loop: StepByStep) -> None:
        """Write now; what was the latest becomes the one before it."""
        latest = self.folder / LATEST
        if latest.exists():
            latest.replace(self.folder / PREVIOUS)
        loop.save_checkpoint(latest)
        self._saved = time.monotonic()

    @property
    def halvings(self) -> int:
        """How often the batch was halved for want of memory; what is here was trained with such batches."""
        path = self.folder / _HALVED
        return len(path.read_text("utf-8")) if path.exists() else 0

    def start_again(self) -> None:
        """Forget what was trained: memory did not suffice, and the batch is half of what it was."""
        halvings = self.halvings + 1
        for name in (LATEST, PREVIOUS):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / _HALVED).write_text("½" * halvings, "utf-8")

    def save_when_due(self, loop: StepByStep) -> None:
        """Write if the latest is old enough."""
        if time.monotonic() - self._saved >= self.seconds:
            self.save(loop)
