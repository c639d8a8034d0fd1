"""What a command line call of a test gives back; the fixture `headstart` in tests/cli makes the calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """Exit code and what was printed where."""

    code: int
    out: str
    err: str


Headstart = Callable[..., Answer]
