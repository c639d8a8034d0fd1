"""Collecting over HTTP: classes, images, archives, pictures, undo; two pages at once; what is no image is refused."""

from __future__ import annotations

import asyncio
import io
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")

from headstart.data.finding import Finding
from headstart.studio.learner import Audited
from studio.studio_client import ORIGIN, StudioClient, lay_images, png

OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture
def client(tmp_path: Path) -> StudioClient:
    return StudioClient(lay_images(tmp_path / "p", ants=3, bees=2))


def classes(client: StudioClient) -> dict[str, int]:
    return {one["name"]: one["images"] for one in client.ask("GET", "/api/state").json()["classes"]}


def test_each_class_comes_with_the_folders_of_all_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        lay_images(tmp_path / "p" / split, ants=2, bees=2)
    found = {
        one["name"]: one["folders"] for one in StudioClient(tmp_path / "p").ask("GET", "/api/state").json()["classes"]
    }
    assert found == {
        name: [str(tmp_path / "p" / split / name) for split in ("train", "val")] for name in ("ants", "bees")
    }


def rows(client: StudioClient, label: str) -> list[list[object]]:
    return list(client.ask("GET", "/api/images", params={"label": label}).json()["images"])


def zipped(**names: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def send(client: StudioClient, content: bytes, **query: str) -> httpx.Response:
    return client.ask("POST", "/api/archives", params=query, content=content, headers=OCTETS)


def left_over(client: StudioClient) -> list[Path]:
    folder = client.space.project.folder / ".headstart" / "incoming"
    return list(folder.iterdir()) if folder.exists() else []


@pytest.mark.slow
def test_a_day_of_collecting(client: StudioClient) -> None:
    assert client.post("/api/classes", name="gulls").json() == {"name": "gulls"}
    for seed in range(4):
        assert client.add("gulls", png(900 + seed), name=f"{seed}.png", batch="drop").status_code == 200
    assert classes(client) == {"ants": 3, "bees": 2, "gulls": 4}
    id_, name, version, burst, flags = rows(client, "gulls")[0]
    assert (name, burst, flags) == ("0.png", None, [])
    picture = client.ask("GET", f"/api/picture/small/{id_}?v={version}")
    assert picture.headers["content-type"] == "image/png"
    assert "immutable" in picture.headers["cache-control"]
    client.post("/api/images/move", ids=[id_], label="bees")
    client.post("/api/classes/rename", name="bees", to="wasps")
    client.post("/api/classes/merge", name="gulls", into="ants")
    client.post("/api/images/delete", ids=[row[0] for row in rows(client, "wasps")])
    assert classes(client) == {"ants": 6, "wasps": 0}
    for _ in range(4):
        client.post("/api/undo")
    assert classes(client) == {"ants": 3, "bees": 2, "gulls": 4}
    assert client.ask("GET", "/api/state").json()["undo"].endswith("and 3 more")
    client.post("/api/undo")  # the whole drop
    assert classes(client) == {"ants": 3, "bees": 2, "gulls": 0}
    client.post("/api/classes/delete", name="ants")
    assert classes(client) == {"bees": 2, "gulls": 0}


def test_a_hold_makes_one_burst(client: StudioClient) -> None:
    burst = client.post("/api/bursts").json()["burst"]
    for seed in range(3):
        client.add("ants", png(800 + seed), name="frame", burst=burst, batch=burst)

    assert [row[3] for row in rows(client, "ants")].count(burst) == 3
    assert client.add("ants", png(7), burst="../../x").status_code == 422


@pytest.mark.parametrize(
    ("content", "status", "word"),
    [(b"", 400, "empty"), (b"no image", 422, "not an image"), (png()[:60], 422, "damaged"), (b"<svg/>", 422, "image")],
)
def test_what_is_no_image_is_refused_and_leaves_nothing(
    client: StudioClient, content: bytes, status: int, word: str
) -> None:
    answer = client.add("ants", content)

    assert answer.status_code == status
    assert answer.json()["error"]
    assert classes(client) == {"ants": 3, "bees": 2}
    assert left_over(client) == []


def test_a_body_is_counted_while_it_arrives(client: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.studio.collect_routes.IMAGE_BYTES", 100_000)

    async def run() -> httpx.Response:
        async def endless() -> object:
            for _ in range(1000):
                yield bytes(50_000)

        transport = httpx.ASGITransport(app=client.app)
        headers = {"cookie": client.cookie, "origin": ORIGIN, **OCTETS}
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as browser:
            return await browser.post("/api/images", params={"label": "ants"}, content=endless(), headers=headers)

    assert asyncio.run(run()).status_code == 413
    assert client.add("ants", bytes(100_001)).status_code == 413
    assert left_over(client) == []


def test_a_form_is_refused(client: StudioClient) -> None:
    answer = client.ask("POST", "/api/images", params={"label": "ants"}, files={"f": png()})
    assert answer.status_code == 415


@pytest.mark.parametrize("label", ["../x", "gulls", "", "ants/../../x"])
def test_a_class_that_is_not_there_gets_nothing(client: StudioClient, label: str) -> None:
    assert client.add(label, png(1)).status_code == 422
    assert not list(client.space.project.folder.parent.glob("x*"))


def test_an_archive_brings_its_classes_and_is_undone_at_once(client: StudioClient) -> None:
    content = zipped(birds__gulls__a=png(1), birds__gulls__b=png(2), birds__ants__c=png(3), birds__gulls__x=b"text")

    answer = send(client, content, batch="z")

    assert answer.json()["added"] == 3
    assert classes(client) == {"ants": 4, "bees": 2, "gulls": 2}
    assert left_over(client) == []
    client.post("/api/undo")
    assert classes(client) == {"ants": 3, "bees": 2}


def test_an_archive_on_a_class_goes_there_whatever_its_folders(client: StudioClient) -> None:
    content = zipped(**{"x__a.png": png(1), "b.png": png(2)})

    assert send(client, content, label="bees").json()["added"] == 2
    assert classes(client) == {"ants": 3, "bees": 4}


@pytest.mark.parametrize("label", ["", "bees"])
def test_what_an_archive_holds_besides_images_is_named(client: StudioClient, label: str) -> None:
    inner = zipped(**{"bees__b.png": png(9)})
    content = zipped(
        **{"ants__a.png": png(1), "ants__more.zip": inner, "ants__clip.mp4": b"film", "ants__Thumbs.db": b""}
    )

    answer = send(client, content, label=label).json()

    assert answer["added"] == 1
    assert answer["refused"] == ["clip.mp4: not an image", "more.zip: not an image"]  # no system files


def evil_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("a/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [b"no archive", zipped(**{"..__..__evil.png": png(1)}), evil_tar(), zipped(**{"train.txt": b"x"}), zipped(),
     zipped(**{"a__.hidden__x.png": png(1)})],
)  # fmt: skip
def test_an_archive_that_is_not_what_it_should_be_is_refused(client: StudioClient, content: bytes) -> None:
    answer = send(client, content)

    assert answer.status_code == 422
    assert answer.json()["error"]
    assert classes(client) == {"ants": 3, "bees": 2}
    assert left_over(client) == []
    assert not list(client.space.project.folder.parent.rglob("evil*"))


def test_a_bomb_is_not_unpacked(client: StudioClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.studio.upload.UNPACKED_BYTES", 10_000_000)
    content = zipped(**{"a__big.png": bytes(20_000_000)})
    assert len(content) < 50_000

    assert send(client, content).status_code == 422
    assert left_over(client) == []


def test_findings_are_on_the_images_they_name(client: StudioClient) -> None:
    finding = Finding(
        "two-labels", "problem", "One picture, two classes.", ("ants/ax.png",), (("ants/bx.png", "bees/ax.png"),)
    )
    client.space.learner._audited = Audited((finding,))

    (shown,) = client.ask("GET", "/api/findings").json()["findings"]
    flags = {row[1]: row[4] for row in rows(client, "ants")}

    assert flags == {"ax.png": ["two-labels"], "bx.png": ["two-labels"], "cx.png": []}
    assert shown["ids"] == [next(row[0] for row in rows(client, "ants") if row[1] == "ax.png")]
    assert len(shown["groups"][0]) == 2


@pytest.mark.slow
def test_two_pages_at_once_lose_nothing(client: StudioClient) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app=client.app)
        headers = {"cookie": client.cookie, "origin": ORIGIN}
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as browser:
            adds = [
                browser.post(
                    "/api/images", params={"label": label, "name": "same.png"}, content=png(seed), headers=OCTETS
                )
                for seed, label in enumerate(["ants", "bees"] * 10)
            ]
            moves = [browser.post("/api/classes", json={"name": f"c{i}"}) for i in range(5)]
            answers = await asyncio.gather(*adds, *moves)
            assert {answer.status_code for answer in answers} == {200}

    asyncio.run(run())

    assert classes(client) == {"ants": 13, "bees": 12, **{f"c{i}": 0 for i in range(5)}}


def test_a_refused_archive_is_not_named_by_a_path_of_the_server(client: StudioClient) -> None:
    said = send(client, zipped(**{"..__evil.png": png(1)})).json()["error"]
    assert "'../evil.png'" in said
    assert "the file that was sent" in said
    assert str(client.space.project.folder) not in said
    assert not (client.space.project.folder.parent / "evil.png").exists()


def test_an_undone_batch_says_how_many_changes_it_had(client: StudioClient) -> None:
    for seed in range(3):
        client.add("ants", png(50 + seed), name="new.png", batch="one")
    assert client.post("/api/undo").json()["text"] == "Undone: Added new.png to ants and 2 more"
    assert classes(client) == {"ants": 3, "bees": 2}
