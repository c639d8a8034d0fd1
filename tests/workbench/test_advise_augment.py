"""Arrows to the left and right must not be flipped; hands may be."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from drawn_arrows import draw_arrows
from headstart.errors import BackboneError, RecipeError


@pytest.mark.slow
def test_a_flip_of_arrows_is_refused_and_a_change_of_colour_is_not(tmp_path: Path) -> None:
    folder = draw_arrows(tmp_path / "arrows", 40)
    advice = hs.advise_augment(
        folder,
        backbone="embedded",
        layers="all",
        transforms="horizontal-flip,rotate-180,hue",
        figure=tmp_path / "worst.png",
        on_event=None,
    )
    verdicts = {check.name: check.verdict for check in advice.checks}
    assert verdicts["horizontal-flip"] == "unsafe"
    assert verdicts["rotate-180"] == "unsafe"
    assert verdicts["hue"] in ("harmless", "useful")
    assert advice.of("unsafe") == ("horizontal-flip", "rotate-180")
    assert (tmp_path / "worst.png").stat().st_size > 1000


@pytest.mark.slow
def test_drawn_hands_may_be_flipped(tmp_path: Path) -> None:
    folder = tmp_path / "hands"
    hs.draw_hands(folder, train_per_class=40, test_per_class=4)
    advice = hs.advise_augment(folder, backbone="embedded", transforms=["horizontal-flip"], on_event=None)
    assert advice.checks[0].verdict in ("harmless", "useful")


def test_mistakes_are_found_before_anything_is_read(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(RecipeError, match="horizontal-flip"):
        hs.advise_augment(gone, transforms="hflip", on_event=None)
    with pytest.raises(RecipeError, match="20 images"):
        hs.advise_augment(gone, most=3, on_event=None)
    with pytest.raises(BackboneError):
        hs.advise_augment(gone, backbone="resnt18", on_event=None)
