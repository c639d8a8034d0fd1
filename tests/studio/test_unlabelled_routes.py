"""Images without a class over HTTP: added, ordered as `advise_label` orders them, labelled and taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from drawn_photos import draw_folder
from headstart.data.image_set import scan
from headstart.data.unlabelled import UNLABELLED
from headstart.studio.learner import Learner
from headstart.workbench.advise_label import images_to_label
from studio.studio_client import StudioClient, lay_images, png


def ordered(client: StudioClient) -> dict[str, Any]:
    found: dict[str, Any] = client.ask("GET", "/api/unlabelled").json()
    return found


def test_an_image_without_a_class_is_kept_labelled_and_taken_back(tmp_path: Path) -> None:
    folder = lay_images(tmp_path / "p", ants=2, bees=2)
    client = StudioClient(folder)
    client.add(UNLABELLED, png(50), name="new.png")
    (folder / "beside.png").write_bytes(png(51))  # in no folder of a class: without one, too

    assert scan(folder).classes == ("ants", "bees")
    assert client.ask("GET", "/api/state").json()["unlabelled"] == 2
    found = ordered(client)
    assert [one["name"] for one in found["images"]] == ["beside.png", "unlabelled/new.png"]
    assert (found["total"], found["done"]) == (2, 0)

    ids = [one["id"] for one in found["images"]]
    assert client.post("/api/images/move", ids=ids, label="bees").json() == {"images": 2}
    assert sorted(path.name for path in (folder / "bees").iterdir()) == ["ax.png", "beside.png", "bx.png", "new.png"]
    assert ordered(client)["images"] == []
    assert "Moved 2 images to bees" in client.post("/api/undo").json()["text"]
    assert [one["name"] for one in ordered(client)["images"]] == ["beside.png", "unlabelled/new.png"]

    one = client.ask("GET", "/api/images?label=ants").json()["images"][0][0]
    assert client.post("/api/images/move", ids=[one], label=UNLABELLED).json() == {"images": 1}
    assert len(ordered(client)["images"]) == 3
    for path in ("", "/rename", "/merge"):  # it is no class
        values = {"name": "ants" if path else UNLABELLED, "to": UNLABELLED, "into": UNLABELLED}
        assert client.post(f"/api/classes{path}", **values).status_code == 422


@pytest.mark.slow
def test_the_order_is_that_of_the_advice_with_the_live_head(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "p", per_class=4)
    client = StudioClient(folder)
    for kind in draw_folder(tmp_path / "new", 6, seed=9).iterdir():
        for path in kind.iterdir():
            client.add(UNLABELLED, path.read_bytes(), name=path.name)
    learner: Learner = client.space.learner
    learner._wake.set()
    learner._learn()  # as its thread does: first the head, then the images that wait, some at a time
    assert all("predicted" not in one for one in ordered(client)["images"])
    for _ in range(3):  # the engine for many images, then 16 images, then 2
        learner._wake.set()
        learner._learn()

    found = ordered(client)

    assert found["done"] == found["total"] == 18
    pictures = client.space.project.look().unlabelled
    paths = {one.id: str(one.sample.path) for one in pictures}
    answers = {one.name: one for one in learner.classifier.predict(list(paths.values()))}  # type: ignore[union-attr]
    for one in found["images"]:
        (first, high), (second, low), *_ = answers[paths[one["id"]]].probabilities.items()
        assert (one["predicted"], one["runner_up"]) == (first, second)
        assert one["probability"] == pytest.approx(high, abs=1e-4)
        assert one["margin"] == pytest.approx(high - low, abs=1e-4)
    known = learner.waiting.features(pictures)
    assert known is not None
    assert learner.classifier is not None
    chosen, _ = images_to_label(learner.classifier, known[1], count=18)
    assert [one["id"] for one in found["images"]] == [one.path for one in chosen]
    first_score = (1 - found["images"][0]["margin"]) * found["images"][0]["density"]
    assert all((1 - one["margin"]) * one["density"] <= first_score for one in found["images"])
