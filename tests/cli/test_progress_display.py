"""ProgressDisplay: what every step has is drawn without torch, the rest is left to others."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from headstart.cli.progress_display import ProgressDisplay
from headstart.progress import Event, Notice, Progress, Working


def test_progress_signs_and_notices_are_shown_and_others_refused(capsys: pytest.CaptureFixture[str]) -> None:
    display = ProgressDisplay()

    assert display.on_event(Progress("read", 1, 2, seconds=1.0))
    assert display.on_event(Working("train", 6.0))
    assert display.on_event(Notice("Read this."))
    assert not display.on_event(Event())

    assert [line.split("  ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "read",
        "train … 6 s",
        "Read this.",
    ]


def test_quiet_keeps_notices(capsys: pytest.CaptureFixture[str]) -> None:
    display = ProgressDisplay(quiet=True)

    assert display.on_event(Progress("read", 1, 2, seconds=1.0))
    assert display.on_event(Notice("Read this."))

    assert capsys.readouterr().err == "Read this.\n"


def test_a_log_is_never_silent_for_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    display = ProgressDisplay()

    for second in range(600):  # an image a second: its tenths are a hundred seconds apart
        display.on_event(Progress("extract features", second, 1000, seconds=float(second)))
    for second in range(5, 60, 5):
        display.on_event(Working("solve head", float(second)))

    lines = capsys.readouterr().err.splitlines()
    seconds = [int(line.split("  ")[1].split("/")[0]) for line in lines if line.startswith("extract")]
    assert max(np.diff(seconds)) <= 5
    assert sum(line.startswith("solve head") for line in lines) == 11


def test_it_needs_no_torch() -> None:
    code = "import sys, headstart.cli.progress_display; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
