"""advise_label names images that can be read, and reports the others."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from drawn_photos import draw_folder
from headstart.errors import DataError, RecipeError
from headstart.progress import Event, Notice


@pytest.mark.slow
def test_images_are_chosen_and_unreadable_ones_reported(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=12)
    run = hs.train(folder, out=tmp_path / "run", backbone="embedded", inside=False, on_event=None)
    more = draw_folder(tmp_path / "more", per_class=6, seed=9)
    (more / "broken.png").write_bytes(b"no image")
    events: list[Event] = []

    advice = hs.advise_label(run, more, count=4, on_event=events.append)

    assert advice.unlabelled == 18
    assert len({one.path for one in advice.chosen}) == 4
    answers = {one.name: one for one in run.classifier.predict([one.path for one in advice.chosen])}
    for one in advice.chosen:
        (first, high), (second, low), *_ = answers[one.path].probabilities.items()
        assert (one.predicted, one.runner_up) == (first, second)
        assert one.candidate.margin == pytest.approx(high - low, abs=1e-4)
    assert any("broken.png" in event.text for event in events if isinstance(event, Notice))
    with pytest.raises(RecipeError, match="at least 1"):
        hs.advise_label(run, more, count=0, on_event=None)
    with pytest.raises(DataError, match="can be read"):
        hs.advise_label(run, more / "broken.png", on_event=None)
