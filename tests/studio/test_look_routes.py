"""Looking over HTTP: cells open their images, decisions move files and are not asked about again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from headstart.studio.workspace import Workspace
from headstart.workbench.live_head import LiveHead
from headstart.workbench.session import Session
from studio.studio_client import StudioClient


def solve(client: StudioClient) -> None:
    live = LiveHead(Session(None, {"backbone": "embedded", "offline": True}))
    snapshot = client.space.project.look()
    result = live.solve([picture.sample for picture in snapshot.pictures], snapshot.classes)
    client.space.learner._solved = result, live.classifier(result) if result.probe else None


@pytest.fixture
def client(tmp_path: Path, photos: Path) -> StudioClient:
    folder = tmp_path / "p"
    shutil.copytree(photos, folder)
    shutil.move(min((folder / "disc").iterdir()), folder / "stripes" / "planted.png")
    found = StudioClient(folder)
    solve(found)
    return found


@pytest.mark.slow
def test_every_image_is_in_one_cell_and_on_the_map(client: StudioClient) -> None:
    found = client.ask("GET", "/api/look/confusion").json()

    for row, label in enumerate(found["classes"]):
        for column, predicted in enumerate(found["classes"]):
            query = {"label": label, "predicted": predicted}
            images = client.ask("GET", "/api/look/cell", params=query).json()["images"]
            assert len(images) == found["counts"][row][column]
            assert {(one["label"], one["predicted"]) for one in images} <= {(label, predicted)}
    assert sum(map(sum, found["counts"])) == 48
    assert len(found["mistakes"]) == 48 - sum(found["counts"][i][i] for i in range(3))
    assert len({point[0] for point in client.ask("GET", "/api/look/map").json()["points"]}) == 48
    assert client.ask("GET", "/api/look/cell", params={"label": "disc", "predicted": "x"}).status_code == 422


@pytest.mark.slow
def test_a_label_that_is_right_is_not_asked_about_again_until_that_is_undone(client: StudioClient) -> None:
    first, *_ = client.ask("GET", "/api/look/suspects").json()["suspects"]
    assert (first["name"], first["label"], first["suggested"]) == ("stripes/planted.png", "stripes", "disc")
    assert first["like_label"]
    assert first["like_suggested"]

    def names() -> list[str]:
        return [one["name"] for one in client.ask("GET", "/api/look/suspects").json()["suspects"]]

    client.post("/api/look/keep", ids=[first["id"]])
    assert first["name"] not in names()
    folder = client.space.project.folder
    content = hashlib.sha256((folder / first["name"]).read_bytes()).hexdigest()
    assert Workspace(folder, {"backbone": "embedded"}).kept.has(content, "stripes")  # another process
    made = client.post("/api/classes", name="gulls")
    assert made.status_code == 200
    undone = [client.post("/api/undo").json()["text"] for _ in range(2)]  # in their order, whatever page is open
    assert undone == ["Undone: Made the class gulls", "Undone: Kept the label of stripes/planted.png"]
    assert first["name"] in names()


@pytest.mark.slow
def test_a_class_without_images_hides_nothing_and_can_be_chosen(client: StudioClient) -> None:
    before = client.ask("GET", "/api/look/confusion").json()
    client.post("/api/classes", name="gulls")

    solve(client)

    assert client.ask("GET", "/api/look/confusion").json() == before
    assert client.ask("GET", "/api/look/suspects").json()["classes"] == ["disc", "gulls", "square", "stripes"]
    picture = (client.space.project.folder / "stripes" / "planted.png").read_bytes()
    kind = {"content-type": "image/png"}
    answer = client.ask("POST", "/api/answer", content=picture, headers=kind).json()
    assert sorted(name for name, _ in answer["probabilities"]) == ["disc", "square", "stripes"]


@pytest.mark.slow
def test_a_relabelled_image_is_no_suspect_of_the_next_result(client: StudioClient) -> None:
    first, *_ = client.ask("GET", "/api/look/suspects").json()["suspects"]
    client.post("/api/images/move", ids=[first["id"]], label=first["suggested"])
    assert first["id"] not in [one["id"] for one in client.ask("GET", "/api/look/suspects").json()["suspects"]]

    solve(client)

    assert "disc/planted.png" not in [one["name"] for one in client.ask("GET", "/api/look/suspects").json()["suspects"]]


@pytest.mark.slow
def test_before_anything_is_learned_the_reason_is_said(tmp_path: Path) -> None:
    for path in ("confusion", "suspects", "map", "cell?label=a&predicted=b"):
        answer = StudioClient(tmp_path / "p").ask("GET", f"/api/look/{path}")
        assert (answer.status_code, "learned something" in answer.json()["error"]) == (422, True)
