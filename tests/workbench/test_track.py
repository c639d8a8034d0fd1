"""track: ids, errors of a tracker, and a training whose tracker fails: the same weights."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import RecipeError, RunError
from headstart.progress import Event, Notice
from headstart.workbench import track as module
from headstart.workbench.events import EpochEnd
from headstart.workbench.track import TrackedEvents, run_id
from trained_runs import SAME_BITS


class Broken:
    """A tracker that takes numbers from Python's generator, and then fails."""

    at = look = ""

    def start(self, run_id: str, name: str) -> bool:
        random.random()
        return True

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("no network")

    def end(self, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        raise ConnectionError("no network")

    def abandon(self) -> None:
        self.is_abandoned = True


def test_each_run_has_an_id_and_one_without_has_the_hash_of_its_record(run: hs.Run) -> None:
    assert run_id(run) == run.record["id"]
    old = hs.Run.load(Path(__file__).parent / "run_of_0_1")
    assert len(run_id(old)) == 16
    assert run_id(old) == run_id(old)


def test_a_tracker_that_fails_is_an_error_of_the_run(run: hs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Broken()
    monkeypatch.setattr(module, "make_sink", lambda to, place: sink)

    with pytest.raises(RunError, match="no network") as refused:
        hs.track(run, to="mlflow")
    assert refused.value.hint
    assert sink.is_abandoned


def test_an_unknown_tracker_is_refused_before_anything_is_computed(photos: Path) -> None:
    with pytest.raises(RecipeError, match="tensorboard"):
        hs.train(photos, track="nothing", on_event=None)


def test_events_pass_and_epochs_go_to_the_tracker(run: hs.Run) -> None:
    events: list[Event] = []
    tracked = TrackedEvents(events.append, "mlflow", run_id="a", name="b", make=Broken)

    tracked(Notice("one"))
    tracked(EpochEnd(1, {"loss": 0.5}))
    assert tracked.finish(run) is run

    assert [type(event) for event in events] == [Notice, EpochEnd, Notice]
    assert "headstart track" in str(events[-1])
    assert "no network" in str(events[-1])


@pytest.mark.slow
def test_a_broken_tracker_changes_no_weight(
    photos: Path, run: hs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "make_sink", lambda to, place="": Broken())
    pytest.importorskip("tensorboard")
    options = {"strategy": "last-stage", "epochs": 2, "backbone": "embedded", "seed": 3, "inside": False, **SAME_BITS}

    plain = hs.train(photos, out=tmp_path / "plain", on_event=None, **options)  # type: ignore[arg-type]
    broken = hs.train(photos, out=tmp_path / "broken", on_event=None, track="tensorboard", **options)  # type: ignore[arg-type]

    assert broken.classifier.backbone.fingerprint == plain.classifier.backbone.fingerprint
    assert broken.predictions() == plain.predictions()
