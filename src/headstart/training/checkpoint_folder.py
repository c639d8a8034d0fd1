"""Checkpoints of a long training in a folder: the latest and the one before it, found again after a kill."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

from headstart.errors import TrainingError
from headstart.files import make_folder, remove, replace_file, write_text
from headstart.training.stepbystep import StepByStep
from headstart.untrusted import Untrusted, read_text

LATEST, PREVIOUS = "checkpoint.pth", "checkpoint.previous.pth"
_HALVINGS, _MARK = "halved.txt", "½"
_MOST_BYTES = 64  # a batch can be halved twelve times


class CheckpointFolder:
    """The checkpoints in a folder.

    Args:
        seconds: at least this long between two that `save_when_due` writes.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self._saved = time.monotonic()

    def load(self, loop: StepByStep) -> bool:
        """Bring a loop to the latest checkpoint; False where there is none. A damaged file is skipped with a warning.

        Raises:
            TrainingError: there are checkpoints and none can be used.
        """
        errors: list[TrainingError] = []
        for name in (LATEST, PREVIOUS):
            if not (self.folder / name).exists():
                continue
            try:
                loop.load_checkpoint(self.folder / name)
            except TrainingError as error:
                warnings.warn(f"{name} cannot be used ({error.found}); trying the one before it", stacklevel=2)
                errors.append(error)
                continue
            return True
        if errors:
            raise errors[0]
        return False

    def save(self, loop: StepByStep) -> None:
        """Write now; the latest so far becomes the one before it."""
        latest = self.folder / LATEST
        if latest.exists():
            replace_file(latest, self.folder / PREVIOUS)
        loop.save_checkpoint(latest)
        self._saved = time.monotonic()

    def save_when_due(self, loop: StepByStep) -> None:
        """Write if the latest is old enough."""
        if time.monotonic() - self._saved >= self.seconds:
            self.save(loop)

    @property
    def halvings(self) -> int:
        """How often the batch was halved for want of memory; the checkpoints were trained with such batches.

        Where the note is damaged, the checkpoints are removed: they cannot be followed.
        """
        path = self.folder / _HALVINGS
        if not path.exists():
            return 0
        try:
            marks = read_text(path, _MOST_BYTES)
        except (OSError, Untrusted):
            marks = ""
        if not marks or marks != _MARK * len(marks):
            warnings.warn(f"{_HALVINGS} cannot be used; the fine-tuning starts again", stacklevel=2)
            for name in (LATEST, PREVIOUS, _HALVINGS):
                remove(self.folder / name, strict=True)
            return 0
        return len(marks)

    def start_again(self) -> None:
        """Remove the checkpoints and note that the batch is halved once more: memory did not suffice."""
        halvings = self.halvings + 1
        for name in (LATEST, PREVIOUS):
            remove(self.folder / name)
        make_folder(self.folder)
        write_text(self.folder / _HALVINGS, _MARK * halvings)
