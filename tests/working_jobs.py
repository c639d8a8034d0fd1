"""Jobs for the tests of engines, which worker processes import by their name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import DataError


@dataclass(frozen=True)
class SquareJob:
    """Squares numbers; each call of `make` leaves a file, so that these can be counted."""

    folder: Path

    def make(self) -> Callable[[int], int]:
        (self.folder / f"made-{os.getpid()}").touch()
        return lambda number: number * number


@dataclass(frozen=True)
class KilledJob:
    """Kills its worker at the numbers whose file is not there yet; those `always` kills, each time."""

    folder: Path
    at: tuple[int, ...]
    always: bool = False

    def make(self) -> Callable[[int], int]:
        def work(number: int) -> int:
            mark = self.folder / f"killed-{number}"
            if number in self.at and (self.always or not mark.exists()):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return -number

        return work


@dataclass(frozen=True)
class RefusingJob:
    """Raises an error of ours."""

    def make(self) -> Callable[[int], int]:
        def work(number: int) -> int:
            raise DataError(expected="an even number", found=str(number), where="here", hint="Take another.")

        return work
