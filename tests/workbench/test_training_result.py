"""TrainingResult: what is said beside the accuracy, and on which images the rest was selected."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from headstart.backbones.spec import BackboneSpec
from headstart.progress import Event
from headstart.workbench import starting_point
from headstart.workbench.events import Results
from headstart.workbench.session import Session
from headstart.workbench.training_result import summary_of


def test_few_test_images_are_a_warning_and_the_selection_is_named(run_events: list[Event]) -> None:
    (results,) = (event for event in run_events if isinstance(event, Results))
    small, few = results.warnings
    assert small.startswith("The backbone is the small network that comes with headstart")  # named by the user
    assert "no better one" not in small
    assert few == "Only 9 test images: mind the width of the interval."
    assert results.basis == "embedded backbone"
    assert results.chosen.startswith("Regularization strength and temperature were chosen leaving out")


@pytest.mark.slow
def test_the_summary_counts_every_readable_image_once(photos: Path) -> None:
    dataset = Session().dataset(photos).with_split(0.2, 0)
    summary = summary_of(dataset, photos)
    assert sum(sum(counts.values()) for counts in summary.counts.values()) == summary.images == 48
    assert summary.counts["test"] == {"disc": 3, "square": 3, "stripes": 3}
    assert summary.protocol == dataset.protocol


@pytest.mark.slow
def test_a_fallback_to_the_small_network_is_said_beside_the_accuracy_and_on_top_of_the_report(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_reach(spec: BackboneSpec, *, offline: bool) -> str:
        return "" if spec.name == "embedded" else "its weights are not here"

    monkeypatch.setattr(starting_point, "_out_of_reach", out_of_reach)
    events: list[Event] = []
    run = hs.train(photos, out=tmp_path / "run", backbone="auto", offline=True, inside=False, on_event=events.append)

    (results,) = (event for event in events if isinstance(event, Results))
    assert results.warnings[0].startswith("The backbone is the small network that comes with headstart")
    assert "never on photographs" in results.warnings[0]
    report = (run.folder / "report.html").read_text()
    assert "correct: " in report
    assert "%, with an embedded backbone" in report.split("<h1>")[1][:2000]
    assert report.index("small network that comes with headstart") < report.index('id="audit"')
