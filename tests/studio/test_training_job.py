"""One training at a time: its events reach the pages, it stops between two of them, and says how it ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.errors import DataError, RunError
from headstart.progress import Detail, Event, Notice, Progress, Working
from headstart.reports.next_steps import NextStep
from headstart.studio.event_hub import EventHub
from headstart.studio.training_job import TrainingJob, shown_event
from headstart.workbench.events import EpochEnd, NextSteps
from headstart.workbench.job import unfinished_runs
from headstart.workbench.resume import resume


class Page(EventHub):
    """A hub that keeps the events of the training."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[str, Any]] = []
        self.others: list[tuple[str, Any]] = []

    def publish(self, kind: str, values: Any, *, keep: bool = False) -> None:
        super().publish(kind, values, keep=keep)
        if kind != "training":
            self.others.append((kind, values))
            return
        self.told.append(json.loads(self._last[kind].split("data: ")[1]))


def run_job(work: Callable[[Callable[[Event], None]], Any]) -> tuple[list[dict[str, Any]], TrainingJob]:
    page, ended = Page(), threading.Event()
    job = TrainingJob(page)
    job.start(Path("x"), work, ended.set)
    assert ended.wait(30)
    job.wait(30)
    return page.told, job


def test_events_are_told_and_the_run_is_named(run: hs.Run) -> None:
    def work(on_event: Callable[[Event], None]) -> hs.Run:
        on_event(Progress("extract features", 1, 4, seconds=1.0))
        on_event(Detail("not shown"))
        on_event(Notice("read this"))
        return run

    told, job = run_job(work)

    assert [one["state"] for one in told] == ["running"] * 3 + ["done"]
    assert told[1] | {"left": 3.0} == told[1]
    assert told[2]["text"] == "read this"
    assert told[3]["run"] == run.folder.name
    assert not job.is_running


@pytest.mark.parametrize(
    ("error", "text"),
    [(DataError(expected="images", found="none"), "none"), (ZeroDivisionError("oops"), "A bug of headstart")],
)
def test_what_fails_is_said(error: Exception, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    def work(on_event: Callable[[Event], None]) -> hs.Run:
        raise error

    told, _ = run_job(work)
    assert told[-1]["state"] == "failed"
    assert text in told[-1]["text"]


def test_it_stops_at_its_next_event_and_no_second_one_starts_beside_it() -> None:
    page, entered, go_on, ended = Page(), threading.Event(), threading.Event(), threading.Event()
    job, after = TrainingJob(page), []

    def work(on_event: Callable[[Event], None]) -> hs.Run:
        entered.set()
        go_on.wait(30)
        on_event(Working("solve", 1.0))
        after.append("went on")
        raise AssertionError

    job.start(Path("x"), work, ended.set)
    entered.wait(30)
    with pytest.raises(RunError, match="one training"):
        job.start(Path("y"), work, ended.set)
    job.stop()
    go_on.set()

    assert ended.wait(30)
    assert (page.told[-1]["state"], after) == ("stopped", [])
    assert job.target == Path("x")


def test_every_event_of_a_training_has_a_form(run_events: list[Event]) -> None:
    shown = [values for event in run_events if (values := shown_event(event)) is not None]
    assert any("plan" in values for values in shown)
    assert any("accuracy" in values for values in shown)
    assert any("counts" in values for values in shown)


def test_curves_grow_with_each_epoch_and_go_on_after_a_resume(run: hs.Run) -> None:
    page = Page()
    job = TrainingJob(page)

    def epochs(*numbers: int) -> Callable[[Callable[[Event], None]], hs.Run]:
        def work(on_event: Callable[[Event], None]) -> hs.Run:
            for number in numbers:
                on_event(EpochEnd(number, {"epoch": number, "loss": 1 / number, "val_loss": None, "rates": ()}))
            on_event(NextSteps((NextStep("Add images.", "headstart advise"),)))
            return run

        return work

    for target, numbers in (("x", (1, 2)), ("x", (2, 3)), ("y", (1,))):
        job.start(Path(target), epochs(*numbers), lambda: None)
        job.wait(30)

    drawn = [[one["epoch"] for one in values["epochs"]] for kind, values in page.others if kind == "epochs"]
    assert drawn == [[], [1], [1, 2], [1, 2], [1, 2], [1, 2, 3], [], [1]]
    steps = [{"text": "Add images.", "command": "headstart advise"}]
    assert ("steps", {"run": "y", "steps": steps}) in page.others


@pytest.mark.slow
def test_a_fine_tuning_that_is_stopped_is_resumed_to_its_end(photos: Path, tmp_path: Path) -> None:
    page = Page()
    job, target = TrainingJob(page), tmp_path / "runs" / "tuned"

    def begin(on_event: Callable[[Event], None]) -> hs.Run:
        def stop_early(event: Event) -> None:
            on_event(event)
            if isinstance(event, EpochEnd) and event.epoch == 2:
                job.stop()

        options: dict[str, Any] = {"strategy": "last-stage", "epochs": 4, "lr": 0.01, "checkpoint_every": 0.0}
        return hs.train(photos, out=target, backbone="embedded", on_event=stop_early, **options)

    job.start(target, begin, lambda: None)
    job.wait(120)
    assert page.told[-1]["state"] == "stopped"
    assert unfinished_runs(tmp_path / "runs") == [target]

    job.start(target, lambda on_event: resume(target, on_event=on_event), lambda: None)
    job.wait(120)
    assert (page.told[-1]["state"], page.told[-1]["run"]) == ("done", "tuned")
    assert unfinished_runs(tmp_path / "runs") == []
    epochs = [values["epochs"] for kind, values in page.others if kind == "epochs"][-1]
    assert [one["epoch"] for one in epochs] == [1, 2, 3, 4]
