"""Lines that the loop prints after epochs."""

from __future__ import annotations

import pytest

from small_loops import loop


def test_progress_is_shown_when_asked_for_and_not_for_a_moments_training(capsys: pytest.CaptureFixture[str]) -> None:
    loop(progress=True).train(3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1 · loss ")
    assert "left" in lines[0]
    loop().train(3)
    assert capsys.readouterr().err == ""
