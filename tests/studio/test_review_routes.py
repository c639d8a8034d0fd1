"""The review of a run over HTTP is that of `hs.review`: the same suspects, decisions in the same file, undone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import headstart as hs
from studio.studio_client import StudioClient


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> StudioClient:
    folder = tmp_path_factory.mktemp("review") / "p"
    shutil.copytree(photos, folder)
    shutil.move(min((folder / "disc").iterdir()), folder / "stripes" / "planted.png")
    hs.train(folder, out=folder / "runs" / "first", backbone="embedded", inside=False, on_event=None)
    return StudioClient(folder)


@pytest.mark.slow
def test_suspects_decisions_and_undo_are_those_of_the_command_line(client: StudioClient) -> None:
    run = client.space.project.folder / "runs" / "first"
    expected = [one.image for one in hs.review(run, on_event=None).suspects]

    found = client.ask("GET", "/api/review/first").json()
    assert [one["name"] for one in found["suspects"]] == expected
    planted = next(one for one in found["suspects"] if one["name"] == "stripes/planted.png")
    assert planted["suggested"] == "disc"

    decided = client.post("/api/review/first/decide", image=planted["name"], action="relabel", label="disc").json()
    assert planted["name"] not in [one["name"] for one in decided["suspects"]]
    assert decided["decisions"] == 1
    assert "1 relabelled" in decided["what_if"] or planted["split"] != "train"
    assert "--review" in decided["apply"]
    assert [one.new for one in hs.review(run, on_event=None).decisions.by_content.values()] == ["disc"]
    assert (client.space.project.folder / "stripes" / "planted.png").exists()  # no file is moved

    undone = client.post("/api/review/first/undo").json()
    assert [one["name"] for one in undone["suspects"]] == expected
    assert undone["what_if"] == ""


@pytest.mark.parametrize(
    "values",
    [{"image": "../x", "action": "drop"}, {"image": 3, "action": "drop"}, {"action": "drop"},
     {"image": "stripes/planted.png", "action": "burn"}, 
     {"image": "stripes/planted.png", "action": "relabel", "label": "x"}],
)  # fmt: skip
def test_what_is_no_decision_is_refused(client: StudioClient, values: dict[str, object]) -> None:
    assert client.post("/api/review/first/decide", **values).status_code == 422
    assert client.post("/api/review/second/decide", **values).status_code == 422
    assert not hs.review(client.space.project.folder / "runs" / "first", on_event=None).decisions.by_content
