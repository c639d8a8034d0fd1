"""advise_more reads no image: it works on the features that a run keeps."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

import headstart as hs
from drawn_photos import draw_folder
from headstart.errors import RunError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hs.Run:
    folder = draw_folder(tmp_path_factory.mktemp("more") / "photos", per_class=24)
    made = hs.train(folder, out=folder.parent / "run", backbone="embedded", inside=False, on_event=None)
    shutil.rmtree(folder)  # the images are not needed
    return made


@pytest.mark.slow
def test_the_curve_ends_at_the_runs_own_training_images(run: hs.Run) -> None:
    advice = hs.advise_more(run.folder, on_event=None)
    assert advice.curve.images == len(run.predictions("train"))
    assert {gain.name for gain in advice.curve.gains} == set(run.classifier.classes)
    assert advice.summary == advice.curve.summary
    held = run.record["head"]["held_out_accuracy"]  # of the same head on the same rows
    assert 1 - advice.curve.points[-1].error == pytest.approx(held)


@pytest.mark.slow
def test_a_fine_tuned_backbone_is_refused(run: hs.Run) -> None:
    opened = hs.Run.load(run.folder)
    opened.classifier.head = replace(opened.classifier.head, kind="trained")
    with pytest.raises(RunError, match="fine-tuned"):
        hs.advise_more(opened, on_event=None)
    with pytest.raises(RunError):
        hs.advise_more(run.folder / "gone", on_event=None)
