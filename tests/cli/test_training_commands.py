"""resume, continue, recalibrate and selftest on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_line import Headstart


@pytest.mark.slow
def test_a_run_is_continued_beside_it(headstart: Headstart, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")

    further = headstart("continue", "run", "--strategy", "probe-then-full", "--epochs", "1", "--json")

    assert further.code == 0, further.err
    assert json.loads(further.out)["run"] == "run-2"


@pytest.mark.slow
def test_a_run_is_recalibrated_into_a_new_file(
    headstart: Headstart, photos: Path, run_folder: Path, tmp_path: Path
) -> None:
    again = headstart("recalibrate", run_folder, photos, "--out", "new.safetensors")
    assert again.code == 0, again.err
    assert "batch norms have the statistics of 48 images" in again.out
    assert "B is after" in again.out
    assert (tmp_path / "new.safetensors").is_file()
    there = headstart("recalibrate", run_folder, photos, "--out", "new.safetensors")
    assert there.code == 2
    assert "already" in there.err


@pytest.mark.slow
def test_mistakes_are_explained(headstart: Headstart, photos: Path) -> None:
    train = ("train", photos, "--backbone", "embedded", "--strategy")
    for arguments, word in (
        (("continue", "nowhere"), "the folder of a run"),
        (("resume", "nowhere"), "unfinished training"),
        (("recalibrate", "nowhere", photos), "no such file"),
        (("selftest", "everything"), "expected"),
        (("selftest", "resume", "--strategy", "probe"), "last-stage"),
        ((*train, "auto", "--time", "soon"), "90s, 10min or 2h"),
        (
            ("train", photos, "--backbone", "embedded", "--strategy", "last-stage", "--mix", "mixup"),
            "cached activations",
        ),
        ((*train, "full", "--average", "wise"), "head starts at zero"),
    ):
        answer = headstart(*arguments)
        assert answer.code == 2, arguments
        assert word in answer.err.replace("\n", " "), answer.err


def test_the_help_lists_commands_by_what_they_are_for(headstart: Headstart) -> None:
    text = headstart("--help").out
    places = [text.index(name) for name in ("From images to a classifier", "Train further", "Data sets, backbones")]
    assert places == sorted(places)
    assert text.index("train ") < text.index("resume ") < text.index("demo ")
