"""inspect, explain and doctor on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Headstart
from headstart.workbench.run import Run


@pytest.mark.slow
def test_the_looks_are_listed_and_one_is_read_in_words(headstart: Headstart, run: Run, photos: Path) -> None:
    listed = headstart("inspect")
    assert listed.code == 0
    assert "batch-norm" in listed.out
    names = [one["name"] for one in json.loads(headstart("inspect", "--json").out)]
    assert "residual" in names
    told = headstart("inspect", "filters", run.folder, photos, "--most", "4")
    assert told.code == 0, told.err
    assert "Filters of" in told.out
    found = json.loads(headstart("inspect", "batch-norm", run.folder, photos, "--most", "6", "--json").out)
    assert found["images"] == 6
    assert set(found["results"]) == {"batch-norm"}


@pytest.mark.slow
def test_all_writes_a_page(headstart: Headstart, run: Run, photos: Path, tmp_path: Path) -> None:
    answer = headstart("inspect", "all", "embedded", photos, "--most", "6", "--out", "page.html")
    assert answer.code == 0, answer.err
    assert (tmp_path / "page.html").stat().st_size > 10_000


@pytest.mark.slow
def test_an_answer_is_explained(headstart: Headstart, run: Run, photos: Path, tmp_path: Path) -> None:
    image = next(photos.rglob("*.png"))
    answer = headstart("explain", run.folder, image, "--out", "explained")
    assert answer.code == 0, answer.err
    assert (tmp_path / "explained" / image.name).read_bytes()[:4] == b"\x89PNG"
    assert "Next" not in answer.out
    assert len(json.loads(headstart("explain", run.folder, image, "--json").out)) == 1


@pytest.mark.slow
def test_the_doctor_says_what_it_checked_and_what_not(headstart: Headstart, run: Run) -> None:
    answer = headstart("doctor", "embedded")
    assert answer.code == 0
    assert "not checked" in answer.out
    found = json.loads(headstart("doctor", run.folder, "--steps", "50", "--batch-size", "2", "--json").out)
    assert {"findings", "passed", "not_checked"} <= set(found)


@pytest.mark.slow
def test_mistakes_are_said_in_words(headstart: Headstart, run: Run, photos: Path) -> None:
    for arguments, word in (
        (("inspect", "everything", "embedded", photos), "batch-norm"),
        (("inspect", "filters", "nonet", photos), "nonet"),
        (("inspect", "filters", "embedded", "nowhere"), "nowhere"),
        (("inspect", "similarity", "embedded", photos), "--against"),
        (("explain", run.folder, "nowhere.jpg"), "nowhere.jpg"),
        (("explain", run.folder, next(photos.rglob("*.png")), "--class", "zebra"), "zebra"),
        (("doctor", "nonet"), "nonet"),
    ):
        answer = headstart(*arguments)
        assert answer.code == 2, arguments
        assert word in answer.err, answer.err
