"""The learner: it follows the folder, tells every page, and says what it cannot do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drawn_photos import draw_folder
from headstart.errors import RunError
from headstart.studio.event_hub import EventHub
from headstart.studio.learner import Learner
from headstart.studio.project import Project
from studio.studio_client import png

_PATIENCE = 60  # seconds


class Page(EventHub):
    """A hub that keeps the events sent to it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, Any]] = []

    def publish(self, kind: str, values: Any, *, keep: bool = False) -> None:
        super().publish(kind, values, keep=keep)
        self.told.append((kind, json.loads(self._last[kind].split("data: ")[1]) if keep else values))


@pytest.fixture
def following(tmp_path: Path) -> Iterator[tuple[Project, Page, Learner]]:
    draw_folder(tmp_path / "p", per_class=4)
    project, page = Project(tmp_path / "p"), Page()
    learner = Learner(project, page, {"backbone": "embedded", "offline": True})
    learner.start()
    yield project, page, learner
    learner.stop()


def wait(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def last(page: Page, kind: str) -> Any:
    return next((values for name, values in reversed(page.told) if name == kind), None)


@pytest.mark.slow
def test_changes_are_learned_and_copies_that_the_audit_finds_become_one_group(
    following: tuple[Project, Page, Learner],
) -> None:
    project, page, learner = following
    wait(lambda: last(page, "learned") and last(page, "learned")["images"] == 12)
    assert learner.classifier is not None
    assert last(page, "learned")["accuracy"]["low"] <= last(page, "learned")["accuracy"]["value"]

    first = project.look().pictures[0]
    shutil.copy(first.sample.path, project.folder / "square" / "again.png")  # by somebody else
    learner.wake()

    learned = wait(lambda: (found := last(page, "learned")) and found["images"] == 13 and found)
    assert learned["groups"] == 12
    wait(lambda: any(finding.kind == "two-labels" for finding in learner.audited.findings))
    assert last(page, "audited")["findings"]


@pytest.mark.slow
def test_the_audit_waits_while_a_change_is_learned(
    following: tuple[Project, Page, Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, page, learner = following
    wait(lambda: learner.audited.revision == project.revision)
    original = learner._live.solve

    def slow(*given: Any, **options: Any) -> Any:
        time.sleep(3)  # twice as long as the audit waits after a change
        return original(*given, **options)

    monkeypatch.setattr(learner._live, "solve", slow)
    shutil.copy(project.look().pictures[0].sample.path, project.folder / "square" / "again.png")
    page.told.clear()
    learner.wake()

    wait(lambda: last(page, "audited"))
    kinds = [kind for kind, _ in page.told]
    assert kinds.index("learned") < kinds.index("audited")


@pytest.mark.slow
def test_a_class_without_images_does_not_hide_the_result_of_the_others(
    following: tuple[Project, Page, Learner],
) -> None:
    project, page, learner = following
    before = wait(lambda: last(page, "learned"))

    project.make_class("gulls")
    learner.wake()

    learned = wait(lambda: last(page, "learned")["empty"] and last(page, "learned"))
    assert (learned["empty"], learned["missing"]) == (["gulls"], "")
    assert learned["accuracy"] == before["accuracy"]
    assert learner.classifier is not None
    assert learner.classifier.classes == ("disc", "square", "stripes")


@pytest.mark.slow
def test_a_class_that_goes_leaves_nothing_to_answer_with(following: tuple[Project, Page, Learner]) -> None:
    project, page, learner = following
    wait(lambda: learner.classifier is not None)

    project.delete_class("disc")
    project.delete_class("square")
    learner.wake()

    wait(lambda: last(page, "learned")["missing"])
    assert learner.classifier is None


@pytest.mark.slow
def test_while_images_come_their_features_are_computed_and_the_head_is_solved_at_the_end(
    following: tuple[Project, Page, Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, page, learner = following
    wait(lambda: learner._learned == (project.revision, learner.audited) and not learner._busy)
    wait(lambda: learner.audited.revision == project.revision)
    monkeypatch.setattr("headstart.data.batches.open_image", lambda *_: pytest.fail("decoded again"))
    learner._next = time.monotonic() + 3600  # the time between two solutions is over only when no more comes
    page.told.clear()

    with learner.receiving():
        for seed in range(3):
            data = png(seed, side=60)
            learner.open(data)
            (project.folder / "disc" / f"new-{seed}.png").write_bytes(data)
        learner.wake()
        wait(lambda: not len(learner._live._arrivals))
        assert last(page, "learned") is None

    assert wait(lambda: last(page, "learned"))["images"] == 15


@pytest.mark.slow
def test_what_fails_is_said_once_until_something_changes(
    following: tuple[Project, Page, Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, page, learner = following
    wait(lambda: learner.audited.revision == project.revision and not learner._busy)
    failures: list[str] = []

    def fail() -> None:
        failures.append(project.revision)
        raise RunError(expected="space", found="a full disk", where="cache")

    monkeypatch.setattr(learner._live, "absorb_all", fail)
    page.told.clear()
    (project.folder / "disc" / "late.png").write_bytes(png(8, side=60))
    learner.wake()

    wait(lambda: last(page, "notice"))
    wait(lambda: learner.audited.revision == project.revision)  # a change, too
    time.sleep(4)  # four looks for changes
    assert 1 <= len(failures) <= 2
    assert {about["text"] for kind, about in page.told if kind == "notice"} == {
        "Expected space, found a full disk (cache)."
    }


@pytest.mark.slow
def test_what_comes_while_features_are_computed_is_in_the_next_result(
    following: tuple[Project, Page, Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, page, learner = following
    wait(lambda: learner._learned == (project.revision, learner.audited) and not learner._busy)  # of the audit, too
    computed = learner._live.absorb_all

    def another_comes() -> None:
        computed()
        if not (late := project.folder / "disc" / "late.png").exists():
            late.write_bytes(png(8, side=60))

    monkeypatch.setattr(learner._live, "absorb_all", another_comes)
    page.told.clear()
    (project.folder / "disc" / "early.png").write_bytes(png(7, side=60))
    learner.wake()

    wait(lambda: last(page, "learned"))
    assert [about["images"] for kind, about in page.told if kind == "learned"] == [14]
    assert last(page, "changed")["revision"] == project.revision  # the page asks for the picture that came late
