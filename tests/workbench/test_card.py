"""card: a file with the run's own numbers, also of a run of an older headstart; refused where there is no run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import RunError


def test_the_card_is_written_where_it_is_asked_for(run_folder: Path, tmp_path: Path) -> None:
    card = hs.card(run_folder, out=tmp_path / "card.md")

    assert card.path.read_text(encoding="utf-8") == card.text
    assert str(hs.Run.load(run_folder).evaluation.accuracy) in card.text
    assert str(card.path) in str(card)


def test_a_run_of_an_older_headstart_has_a_card_too(tmp_path: Path) -> None:
    card = hs.card(Path(__file__).parent / "run_of_0_1", out=tmp_path / "card.md")

    assert "## Quantitative analyses" in card.text
    assert "fine-tuned here" in card.text


def test_without_a_run_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        hs.card(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_the_user_wrote_into_the_card_of_a_run_is_kept(run_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    first = hs.card(folder)
    completed = first.text.replace("*Not stated.", "Leaves in daylight. *", 1)
    first.path.write_text(completed, encoding="utf-8")

    again = hs.card(folder)

    assert (again.text, again.is_kept, first.is_kept) == (completed, True, False)
    assert first.path.read_text(encoding="utf-8") == completed
    assert "is kept" in str(again)
    assert hs.card(folder, out=tmp_path / "new.md").text == first.text


def test_a_card_that_is_no_text_is_refused(run_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (folder / "model_card.md").write_bytes(b"\xff\xfe")

    with pytest.raises(RunError, match="a model card in UTF-8") as error:
        hs.card(folder)
    assert error.value.where == str(folder / "model_card.md")
