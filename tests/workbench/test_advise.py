"""advise measures on training images alone, ends in time, and says what to type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import headstart as hs
from drawn_photos import draw_folder
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.progress import Event, Notice, Progress


@pytest.mark.slow
def test_sizes_of_a_network_are_ranked_on_training_images_and_the_advice_is_written(tmp_path: Path) -> None:
    folder, events = draw_folder(tmp_path / "photos", per_class=30), list[Event]()

    advice = hs.advise(folder, backbones="embedded", sides=[64, 104], out=tmp_path / "advice", on_event=events.append)

    said = [one.text for one in events if isinstance(one, Notice)]
    assert [text.partition(", up to")[0] for text in said] == ["round 1 of 1: 2 networks on 72 images"]
    ends = [(one.step, one.done, one.unit) for one in events if isinstance(one, Progress) and one.done == one.total]
    assert {("time the networks", 1, "backbones"), ("round 1 of 1", 2, "networks")} <= set(ends)
    assert advice.images == 72  # of 90, without a fifth for the test
    assert {one.network.side for one in advice.ranked} == {64, 104}
    own = hs.load_backbone("embedded")
    assert {one.network.side: one.network.size for one in advice.ranked} == {64: 64, own.preprocess.crop: 0}
    assert all(len(one.layer_fits) > 2 for one in advice.ranked)
    assert advice.command.startswith(f"headstart train {folder} --backbone embedded")
    assert ("--size 64" in advice.command) == (advice.advised.network.side == 64)
    written = json.loads((tmp_path / "advice" / "advice.json").read_text("utf-8"))
    assert written["command"] == advice.command
    assert (tmp_path / "advice" / "backbones.png").stat().st_size > 1000


@pytest.mark.slow
def test_what_would_not_end_in_time_is_named_and_nothing_is_claimed_of_it(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=48)  # 114 for training: rounds of 100 and of 114 images
    advice = hs.advise(folder, backbones="embedded", sides="64,104", minutes=1e-6, on_event=None)
    (measured,) = advice.ranked  # the cheapest is measured whatever it takes
    assert measured.images == advice.images == 100
    assert advice.left_out["embedded 104 px"].startswith("not measured within --minutes")
    assert advice.left_out["embedded 64 px"].startswith("measured on 100 images alone: 114 would take")
    said = "Take embedded 64 px: nothing else was measured. 1 network not measured: give more --minutes."
    assert advice.summary == said


def test_mistakes_are_found_before_anything_is_read(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(BackboneError, match="resnet18"):
        hs.advise(gone, backbones="resnt18", on_event=None)
    with pytest.raises(BackboneError, match="random weights"):
        hs.advise(gone, backbones=["random"], on_event=None)
    with pytest.raises(BackboneError, match="no such file"):
        hs.advise(gone, backbones="resnet18=nothing.pth", on_event=None)
    with pytest.raises(RecipeError, match="sides in px"):
        hs.advise(gone, sides="big", on_event=None)
    with pytest.raises(RecipeError, match="minutes"):
        hs.advise(gone, minutes=0, on_event=None)
    with pytest.raises(DataError):
        hs.advise(gone, on_event=None)
