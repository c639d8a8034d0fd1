"""The commands for people who look at single images: what they print, and which mistakes they name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import headstart as hs
from command_line import Headstart


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "photos"))


@pytest.mark.slow
def test_review_lists_suspects_and_notes_decisions(headstart: Headstart, copied: Path) -> None:
    listed = headstart("review", str(copied))
    found = hs.review(copied, on_event=None)
    assert listed.code == 0
    assert f"{found.count()} training image" in listed.out
    assert f"estimated number of wrong labels: {found.expected:.0f}" in listed.out
    assert "--relabel IMAGE=CLASS" in " ".join(listed.out.split())
    name, label = found.rows.names[0], found.run.predictions()[0]["label"]
    other = next(one for one in found.classes if one != label)

    noted = headstart("review", str(copied), "--relabel", f"{name}={other}", "--drop", found.rows.names[1])
    assert noted.code == 0
    assert "Trained with 1 relabelled" in noted.out
    assert f"--review {copied}" in noted.out
    assert len(hs.review(copied, on_event=None).decisions) == 2
    assert headstart("review", str(copied), "--undo").code == 0
    assert len(hs.review(copied, on_event=None).decisions) == 1


def test_review_as_json_is_the_result_alone(headstart: Headstart, copied: Path) -> None:
    values = json.loads(headstart("review", str(copied), "--json").out)
    assert values["images"]["train"] == 39
    assert values["contradicted"]["train"] == len([one for one in values["suspects"] if one["split"] == "train"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--relabel", "nonsense"), "IMAGE=CLASS"),
        (("--relabel", "no.png=disc"), "an image of the run"),
        (("--drop", "no.png"), "an image of the run"),
    ],
)
def test_mistakes_are_named(headstart: Headstart, copied: Path, words: tuple[str, ...], said: str) -> None:
    refused = headstart("review", str(copied), *words)
    assert refused.code == 2
    assert said in refused.err
    assert not (copied / "review.jsonl").exists()


def test_decisions_that_empty_a_class_are_kept_and_said_to_be(headstart: Headstart, copied: Path) -> None:
    rows = hs.Run.load(copied).predictions()
    emptied = rows[0]["label"]
    words = [word for row in rows if row["label"] == emptied for word in ("--drop", row["path"])]
    refused = headstart("review", str(copied), *words)
    assert refused.code == 2
    assert f"none of '{emptied}'" in refused.err
    assert "All decisions are kept." in refused.err
    assert len((copied / "review.jsonl").read_text().splitlines()) == len(words) // 2


@pytest.mark.slow
def test_forget_says_what_was_checked_and_what_remains(headstart: Headstart, copied: Path) -> None:
    name = hs.Run.load(copied).predictions("train")[0]["path"]
    done = headstart("forget", str(copied), name)
    assert done.code == 0
    assert "1 image removed" in done.out
    assert "are equal to theirs" in done.out
    assert "delete it" in done.out
    assert headstart("forget", str(copied), "no.png").code == 2


def test_add_class_names_its_mistakes(headstart: Headstart, copied: Path, photos: Path) -> None:
    refused = headstart("add-class", str(copied), str(photos / "disc"))
    assert refused.code == 2
    assert "a new class" in refused.err
