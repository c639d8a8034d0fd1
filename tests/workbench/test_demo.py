"""demo: hands are drawn once, and each call trains a new run on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.image_set import scan
from headstart.errors import DataError
from headstart.workbench.demo import demo
from laid_files import lay


@pytest.mark.slow
def test_the_demo_reads_drawn_hands_well_and_a_second_one_draws_none(tmp_path: Path) -> None:
    first = demo(tmp_path / "demo", on_event=None)
    drawn = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo" / "hands").rglob("*.*")}
    second = demo(tmp_path / "demo", on_event=None)

    assert first.evaluation.accuracy.low > 0.9
    assert (first.folder.name, second.folder.name) == ("run", "run-2")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "demo" / "hands").rglob("*.*")} == drawn
    assert scan(tmp_path).classes == ("paper", "rock", "scissors")  # the runs beside the hands are no class
    lay(tmp_path, "cat/1.jpg", "dog/1.jpg")
    assert scan(tmp_path).classes == ("cat", "dog")


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo" / "hands").mkdir(parents=True)
    with pytest.raises(DataError):
        demo(tmp_path / "demo", on_event=None)
