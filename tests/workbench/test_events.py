"""The events of a training: counts, and a rate only where it was measured."""

from __future__ import annotations

import pytest

from headstart.progress import Progress, progress_line


@pytest.mark.parametrize(
    ("done", "seconds", "line"),
    [
        (0, 5.0, "read  0/40 images  …"),
        (1, 0.00001, "read  1/40 images  …"),  # 100,000 a second would be no news
        (10, 2.0, "read  10/40 images  5.0 images/s  6 s left"),
        (40, 0.01, "read  40/40 images  4000.0 images/s  0 s left"),
    ],
)
def test_a_rate_is_told_once_there_is_one(done: int, seconds: float, line: str) -> None:
    assert progress_line(Progress("read", done, 40, seconds)).rstrip() == line
