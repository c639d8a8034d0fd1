"""A live tracker: numbers arrive in order; one that fails, hangs or is slow is reported and never waited for long."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from headstart.tracking import live
from headstart.tracking.live import LiveTracker


class Recorder:
    """A sink that keeps what it gets."""

    at = look = ""

    def __init__(self, *, has_run: bool = False) -> None:
        self.calls: list[object] = []
        self.has_run = has_run

    def start(self, run_id: str, name: str) -> bool:
        self.calls.append((run_id, name))
        return not self.has_run

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.calls.append((step, values))

    def end(self, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        self.calls.append((params, metrics, files))

    def abandon(self) -> None:
        self.calls.append("abandoned")


class Failing(Recorder):
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("no network")


class Hanging(Recorder):
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        threading.Event().wait(1000)


def test_all_calls_arrive_in_order() -> None:
    sink = Recorder()
    tracker = LiveTracker(lambda: sink, "abc", "photos")

    tracker.scalars(1, {"loss": 0.5})
    tracker.scalars(2, {"loss": 0.25})

    assert tracker.end({"lr": "0.1"}, {"accuracy": 1.0}, [Path("a")])
    assert sink.calls == [
        ("abc", "photos"),
        (1, {"loss": 0.5}),
        (2, {"loss": 0.25}),
        ({"lr": "0.1"}, {"accuracy": 1.0}, (Path("a"),)),
    ]


def test_a_run_that_is_there_gets_nothing_more() -> None:
    sink = Recorder(has_run=True)
    tracker = LiveTracker(lambda: sink, "abc", "photos")

    assert tracker.end({}, {}, [])
    assert sink.calls == [("abc", "photos")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "problem"), [(Failing, "no network"), (Hanging, "not answered in time")])
def test_a_sink_that_fails_or_hangs_is_reported(
    kind: type[Recorder], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LEAST", 0.2)
    tracker = LiveTracker(kind, "abc", "photos")
    tracker.scalars(1, {"loss": 0.5})

    assert not tracker.end({}, {}, [])
    assert problem in tracker.problem


def test_a_sink_that_cannot_be_made_is_reported() -> None:
    def make() -> Recorder:
        raise ImportError("no such package")

    tracker = LiveTracker(make, "abc", "photos")

    assert not tracker.end({}, {}, [])
    assert "no such package" in tracker.problem


@pytest.mark.slow
def test_numbers_beyond_the_queue_are_left_out_and_this_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_WAITING", 1)
    monkeypatch.setattr(live, "LEAST", 0.2)
    tracker = LiveTracker(Hanging, "abc", "photos")
    for step in range(50):
        tracker.scalars(step, {})  # none of them blocks

    assert not tracker.end({}, {}, [])
    assert "too slow" in tracker.problem
