"""`headstart fetch`, in process: what is printed where, what train makes of it, and no traceback whatever one types."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import headstart as hs
from command_line import Headstart
from drawn_photos import draw_folder
from headstart.datasets.sources import RPS, SOURCES
from headstart.workbench.fetch import FetchedSet
from local_server import Server


def zip_of(folder: Path, inside: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, f"{inside}/{path.relative_to(folder).as_posix()}")
    return held.getvalue()


@pytest.fixture
def server(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves drawn photos as `photos.zip`, and as the two archives of rock paper scissors."""
    train, test = zip_of(photos, "rps"), zip_of(draw_folder(tmp_path / "more", per_class=4, seed=9), "rps-test-set")
    running = Server({"photos.zip": zip_of(photos, "photos"), "rps.zip": train, "rps-test-set.zip": test})
    archives = tuple(
        replace(
            archive, mirrors=(running.url("gone/" + file), running.url(file)), sha256=hashlib.sha256(body).hexdigest()
        )
        for archive, file, body in zip(RPS.archives, ("rps.zip", "rps-test-set.zip"), (train, test), strict=True)
    )
    monkeypatch.setitem(SOURCES, "rps", replace(RPS, archives=archives))
    yield running
    running.close()


@pytest.mark.slow
def test_fetch_rps_names_the_mirror_that_failed_and_the_next_command(headstart: Headstart, server: Server) -> None:
    answer = headstart("fetch", "rps")

    assert answer.code == 0
    assert "gone/rps.zip: HTTP 404" in answer.err
    assert "kB" in answer.err
    for word in ("Fetched into data/rps/", "CC BY 2.0", "60 of 3 classes", "train 48", "test 12", "file 2"):
        assert word in answer.out
    assert answer.out.endswith("Next: headstart train data/rps\n")


@pytest.mark.slow
def test_what_was_fetched_can_be_trained_on(headstart: Headstart, server: Server) -> None:
    command = headstart("fetch", "rps").out.split("Next: headstart ")[1].split()

    trained = headstart(*command, "--backbone", "embedded", "--no-inside")
    assert trained.code == 0
    assert "source.json" not in trained.out


@pytest.mark.slow
def test_a_second_fetch_says_that_nothing_was_downloaded(headstart: Headstart, server: Server) -> None:
    headstart("fetch", server.url("photos.zip"))

    answer = headstart("fetch", server.url("photos.zip"))

    assert answer.code == 0
    assert "data/photos/ exists already" in answer.out
    assert server.paths == ["photos.zip"]


@pytest.mark.slow
def test_json_goes_alone_to_stdout(headstart: Headstart, server: Server) -> None:
    sha256 = hashlib.sha256(server.files["photos.zip"]).hexdigest()

    answer = headstart("fetch", server.url("photos.zip"), "--out", "here/set", "--sha256", sha256, "--json")

    result = json.loads(answer.out)
    assert (result["folder"], result["is_new"], result["images"]) == ("here/set", True, 48)
    assert result["origins"][0]["sha256"] == sha256
    assert result["counts"] == {"all": {"disc": 16, "square": 16, "stripes": 16}}
    assert "photos.zip" in answer.err


def test_a_set_without_classes_is_kept_and_said_to_have_none(headstart: Headstart, server: Server) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("notes.txt", "no image")
    server.files["notes.zip"] = held.getvalue()

    answer = headstart("fetch", server.url("notes.zip"))

    assert answer.code == 0
    assert "Next:" not in answer.out
    assert "images in class folders" in answer.out
    assert Path("data/notes/notes.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rsp",), "rps"),
        (("photos",), "headstart train"),
        (("kaggle",), "no OWNER/NAME"),
        (("kaggle", "pets"), "OWNER/NAME"),
        (("rps", "folder"), "--out"),
        (("rps", "--sha256", "0" * 64), "with an address only"),
        (("https://www.kaggle.com/datasets/me/pets", "--sha256", "0" * 64), "with an address only"),
        (("http://127.0.0.1:9/a.zip", "--sha256", "md5"), "8 to 64 hex digits"),
        (("rps", "--max-gb", "0"), "above 0"),
        (("ftp://host/a.zip",), "http(s) address"),
        (("http://127.0.0.1:9/a.zip", "--out", "photos"), "something else"),
        (("http://127.0.0.1:9/a.zip", "--out", "a_file"), "something else"),
        (("http://127.0.0.1:9/a.zip", "--out", "a_file/in/it"), "can be written"),
    ],
)
def test_mistakes_exit_2_with_expected_and_found(
    headstart: Headstart, photos: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "a_file").write_text("text")

    answer = headstart("fetch", *arguments)

    assert answer.code == 2
    assert "expected:" in answer.err
    assert "found:" in answer.err
    assert said in answer.err
    assert answer.out == ""


def test_kaggle_without_its_package_exits_2_with_the_command_that_installs_it(
    headstart: Headstart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)

    for arguments in (("kaggle", "me/pets"), ("https://www.kaggle.com/datasets/me/pets",)):
        answer = headstart("fetch", *arguments)
        assert answer.code == 2
        assert "pip install 'headstart[kaggle]'" in answer.err


def test_ctrl_c_keeps_what_came_and_says_so(
    headstart: Headstart, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("headstart.datasets.fetch.unpack", interrupted)

    answer = headstart("fetch", "rps")

    assert answer.code == 130
    assert "downloaded so far is kept" in answer.err
    assert [path.name for path in Path("data").iterdir()] == [".rps.fetching"]


def test_the_front_door_has_fetch(server: Server, tmp_path: Path) -> None:
    fetched = hs.fetch(server.url("photos.zip"), out=tmp_path / "set", on_event=lambda event: None)

    assert isinstance(fetched, FetchedSet)
    assert fetched.images is not None
    assert fetched.images.classes == ("disc", "square", "stripes")
    assert fetched.folder == tmp_path / "set"
