"""Advice over HTTP: the curve of the live head, times of strategies; the same question is computed once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from headstart.workbench.live_head import LiveHead
from headstart.workbench.predict_time import PredictedTime
from headstart.workbench.session import Session
from studio.studio_client import StudioClient


@pytest.fixture
def client(tmp_path: Path, photos: Path) -> StudioClient:
    shutil.copytree(photos, tmp_path / "p")
    return StudioClient(tmp_path / "p")


@pytest.mark.slow
def test_the_curve_is_that_of_the_live_head_and_measured_once(
    client: StudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.ask("GET", "/api/advice/curve").status_code == 422
    live, snapshot = LiveHead(Session(None, {"backbone": "embedded", "offline": True})), client.space.project.look()
    result = live.solve([picture.sample for picture in snapshot.pictures], snapshot.classes)
    client.space.learner._solved = result, live.classifier(result)

    found = client.ask("GET", "/api/advice/curve").json()
    monkeypatch.setattr("headstart.studio.advice_routes.learning_curve", None)

    assert found["points"][-1]["error"] == pytest.approx(1 - (result.predicted == result.labels).mean())
    assert {gain["name"] for gain in found["gains"]} == {"disc", "square", "stripes"}
    assert found["summary"].startswith("With 48 training images the error is")
    assert client.ask("GET", "/api/advice/curve").json() == found


def test_times_are_of_the_folder_with_the_backbone_that_is_chosen(
    client: StudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[Path, dict[str, Any]]]()

    def predict_time(source: Path, **options: Any) -> PredictedTime:
        del options["on_event"]
        asked.append((source, options))
        return PredictedTime(images=4, waiting=2, features=1.5, strategies={"probe": 0.0})

    monkeypatch.setattr("headstart.studio.advice_routes.predict_time", predict_time)
    answers = [client.ask("GET", "/api/advice/time", params=query) for query in ({}, {}, {"backbone": "resnet18"})]

    folder = client.space.project.folder
    assert asked == [(folder, {"backbone": "embedded"}), (folder, {"backbone": "resnet18"})]
    assert answers[0].json() == {"images": 4, "waiting": 2, "features": 1.5, "strategies": {"probe": 0.0}}
