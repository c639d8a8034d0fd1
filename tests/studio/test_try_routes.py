"""Answers over HTTP are those of `predict`, and the nearest training images are those by cosine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import headstart as hs
from headstart.workbench.live_head import LiveHead
from headstart.workbench.session import Session
from studio.studio_client import StudioClient

OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture
def client(tmp_path: Path, run_folder: Path, photos: Path) -> StudioClient:
    shutil.copytree(photos, tmp_path / "p")
    shutil.copytree(run_folder, tmp_path / "p" / "runs" / "first")
    return StudioClient(tmp_path / "p")


@pytest.mark.slow
def test_the_page_answers_as_the_command_line_does(client: StudioClient, photos: Path) -> None:
    run = client.space.project.folder / "runs" / "first"
    for image in sorted(photos.rglob("*.png"))[::16]:
        query = {"model": "first"}
        answer = client.ask("POST", "/api/answer", params=query, content=image.read_bytes(), headers=OCTETS).json()

        (expected,) = hs.predict(run, image, on_event=None)
        assert answer["label"] == expected.label
        assert dict(answer["probabilities"]) == pytest.approx(expected.probabilities, abs=1e-6)
        assert answer["prediction_set"] == (None if expected.prediction_set is None else list(expected.prediction_set))
        assert answer["familiar"] == expected.familiar
        assert "199 independent images" in answer["no_threshold"]  # the run has fewer: the page says so


@pytest.mark.slow
def test_the_live_head_answers_with_the_nearest_images(client: StudioClient) -> None:
    space = client.space
    live = LiveHead(Session(None, {"backbone": "embedded", "offline": True}))
    snapshot = space.project.look()
    result = live.solve([picture.sample for picture in snapshot.pictures], snapshot.classes)
    space.learner._solved = result, live.classifier(result)

    picture = snapshot.pictures[5]
    content = picture.sample.path.read_bytes()
    answer = client.ask("POST", "/api/answer", content=content, headers=OCTETS).json()

    assert answer["nearest"][0]["id"] == picture.id
    assert answer["nearest"][0]["cosine"] == pytest.approx(1, abs=1e-5)
    x = result.view().array()
    cosines = x @ x[5] / (np.linalg.norm(x, axis=1) * np.linalg.norm(x[5]))
    expected = np.sort(cosines)[::-1][:4]
    assert [one["cosine"] for one in answer["nearest"]] == pytest.approx(expected.tolist(), abs=1e-5)
    assert result.probe is not None
    probabilities = result.probe.head.probabilities(x[5:6])[0]
    found = dict(answer["probabilities"])
    assert [found[name] for name in result.classes] == pytest.approx(probabilities.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("model", "content", "status"),
    [("live", b"x", 422), ("second", b"x", 422), ("../first", b"x", 422), ("first", b"text", 422), ("first", b"", 400)],
)
def test_what_cannot_be_answered_is_said(client: StudioClient, model: str, content: bytes, status: int) -> None:
    answer = client.ask("POST", "/api/answer", params={"model": model}, content=content, headers=OCTETS)
    assert answer.status_code == status
    assert answer.json()["error"]
