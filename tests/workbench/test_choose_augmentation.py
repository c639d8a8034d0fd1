"""--augment auto turns flips off for arrows, leaves them on for hands, and never turns them on."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from drawn_arrows import draw_arrows
from headstart.progress import Event, Notice
from headstart.workbench.choose_augmentation import choose_augmentation


def chosen(folder: Path, **options: object) -> tuple[hs.Recipe, str]:
    """The recipe after the choice, and what was said."""
    events: list[Event] = []
    session = hs.Session(None, {"layers": "all", "augment": "auto", **options}, events.append)
    dataset = session.dataset(folder).with_split(0.2, 0)
    choose_augmentation(session, dataset, hs.load_backbone("embedded"))
    return session.recipe, " ".join(event.text for event in events if isinstance(event, Notice))


@pytest.mark.slow
def test_arrows_are_not_flipped(tmp_path: Path) -> None:
    folder = draw_arrows(tmp_path / "arrows", 40)
    recipe, said = chosen(folder, flip_tta=True)
    assert (recipe.flips, recipe.flip_tta) == (False, False)
    assert "flip TTA with them: unsafe" in said
    assert chosen(folder, augment="flips")[0].flips
    assert not chosen(folder, flips=False)[0].flips


@pytest.mark.slow
def test_hands_are_flipped(tmp_path: Path) -> None:
    hs.draw_hands(tmp_path / "hands", train_per_class=40, test_per_class=4)
    recipe, said = chosen(tmp_path / "hands")
    assert recipe.flips
    assert "stay on" in said
