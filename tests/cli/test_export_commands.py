"""The commands export and check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import headstart as hs
from command_line import Headstart


@pytest.mark.slow
def test_check_ends_with_0_for_a_file_that_agrees_and_1_for_another(
    headstart: Headstart, run: hs.Run, fine_tuned: hs.Run, exported: Path, photos: Path
) -> None:
    one = str(sorted((photos / "disc").iterdir())[0])
    file = str(exported / "classifier.onnx")

    same = headstart("check", file, one, "--against", str(run.folder))
    other = headstart("check", file, one, "--against", str(fine_tuned.folder), "--json")

    assert same.code == 0
    assert "is whole: 1 disc" in same.out
    assert other.code == 1
    assert json.loads(other.out)["same_classifier"] is False


@pytest.mark.parametrize(("option", "value"), [("--to", "coreml"), ("--input", "floats")])
def test_what_export_cannot_write_is_refused(headstart: Headstart, run: hs.Run, option: str, value: str) -> None:
    answer = headstart("export", str(run.folder), option, value)

    assert answer.code == 2
    assert option in answer.err
