"""Fetching of archives, against a real server on this machine that misbehaves in every way we know of."""

from __future__ import annotations

import hashlib
import io
import json
import random
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.data.image_set import scan
from headstart.data.source_record import read_record
from headstart.datasets.fetch import fetch_source
from headstart.datasets.sources import RPS, Archive, Source, source_of_address
from headstart.datasets.staging import Fetched
from headstart.download import FREE_SPACE
from headstart.errors import DataError
from local_server import Server

NOISE = random.Random(1).randbytes(300_000)  # does not shrink, so that an archive of it is long enough to break off


def zipped(files: dict[str, bytes], **attributes: int) -> bytes:
    """A zip's bytes; `attributes` name the mode of entries."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = attributes.get("mode", 0o644 | stat.S_IFREG) << 16
            archive.writestr(entry, content)
    return held.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CLASSES = {f"photos/{name}/{number}.png": NOISE[number:] for name in ("cat", "dog") for number in range(3)}
ZIP = zipped(CLASSES)
TRAIN = zipped({f"rps/{name}/{n}.png": NOISE[n:] for name in ("rock", "paper", "scissors") for n in range(4)})
TEST = zipped(
    {f"rps-test-set/{name}/{n}.png": NOISE[9 + n :] for name in ("rock", "paper", "scissors") for n in (0, 1)}
)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server({"photos.zip": ZIP, "a/rps.zip": TRAIN, "a/rps-test-set.zip": TEST})
    yield running
    running.close()


Fetch = Callable[..., Fetched]


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetch:
    """Fetch a path of the server into `tmp_path/data/set`."""

    def fetching(path: str = "photos.zip", sha256: str = "", **options: object) -> Fetched:
        source = source_of_address(server.url(path), sha256)
        return fetch_source(source, tmp_path / "data" / "set", pause=0.0, **options)  # type: ignore[arg-type]

    return fetching


@pytest.fixture
def rps(server: Server) -> Source:
    """The source of rock paper scissors with mirrors `b/` and `a/` on this machine and the hashes of its archives."""

    def here(archive: Archive, content: bytes) -> Archive:
        file = archive.mirrors[0].rpartition("/")[2]
        mirrors = tuple(server.url(f"{folder}/{file}") for folder in ("b", "a"))
        return replace(archive, mirrors=mirrors, sha256=sha256_of(content))

    train, test = RPS.archives
    return replace(RPS, archives=(here(train, TRAIN), here(test, TEST)))


def left(tmp_path: Path) -> list[str]:
    """Names of files in the folder above the data set, hidden ones too, without the set itself."""
    above = tmp_path / "data"
    paths = (path.relative_to(above) for path in above.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if path.parts[0] != "set") if above.exists() else []


def test_an_archive_becomes_a_folder_that_scan_understands_and_ignores_the_record(fetch: Fetch, tmp_path: Path) -> None:
    fetched = fetch()

    image_set = scan(fetched.folder)
    assert fetched.is_new
    assert fetched.folder == tmp_path / "data" / "set"
    assert image_set.classes == ("cat", "dog")
    assert {sample.name: sample.path.read_bytes() for sample in image_set.samples} == CLASSES
    assert [finding.kind for finding in image_set.findings] == ["wrapper-folder"]
    assert left(tmp_path) == []


def test_the_record_says_where_the_data_set_comes_from(server: Server, fetch: Fetch) -> None:
    fetched = fetch("photos.zip?token=secret")

    written = (fetched.folder / "source.json").read_text()
    assert "secret" not in written
    assert read_record(fetched.folder) == fetched.record
    assert json.loads(written)["origins"] == [
        {"url": server.url("photos.zip"), "sha256": sha256_of(ZIP), "size_bytes": len(ZIP)}
    ]
    assert len(fetched.record.date) == 10


def test_a_tar_is_fetched_too_and_known_by_its_content(server: Server, fetch: Fetch) -> None:
    server.files["download"] = tarred(CLASSES)

    assert scan(fetch("download").folder).classes == ("cat", "dog")


def test_names_of_an_unstated_encoding_are_said(server: Server, fetch: Fetch) -> None:
    notes: list[str] = []
    server.files["photos.zip"] = server.files["photos.zip"].replace(b"cat", "猫s".encode("shift-jis"))

    fetch(note=notes.append)

    assert any("The zip does not state the encoding of 3 names" in note for note in notes)


def test_a_second_call_downloads_and_changes_nothing(server: Server, fetch: Fetch) -> None:
    first = fetch(sha256=sha256_of(ZIP))
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    server.files.clear()

    second = fetch(sha256=sha256_of(ZIP)[:12])

    assert not second.is_new
    assert second.record == first.record
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before
    assert len(server.asked) == 1


def test_a_folder_with_something_else_in_it_is_never_touched(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "data" / "set").mkdir(parents=True)
    (tmp_path / "data" / "set" / "mine.txt").write_text("mine")

    with pytest.raises(DataError, match=r"a new or an empty folder.*something else.*--out"):
        fetch()

    assert server.asked == []
    assert [path.name for path in (tmp_path / "data").rglob("*")] == ["set", "mine.txt"]


def test_another_data_set_or_another_hash_in_the_folder_is_an_error(server: Server, fetch: Fetch) -> None:
    server.files["other.zip"] = ZIP
    fetch()

    with pytest.raises(DataError, match=r"one with http.*photos\.zip"):
        fetch("other.zip")
    with pytest.raises(DataError, match=r"the same address with the SHA-256"):
        fetch(sha256="0" * 64)


def test_two_fetches_of_one_data_set_wait_for_each_other(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    go_on, notes = threading.Event(), list[str]()
    server.halts = [go_on]

    def note(text: str) -> None:
        notes.append(text)
        go_on.set()  # the first one is in the middle of it

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(fetch)
        while not server.asked:
            time.sleep(0.01)
        two = pool.submit(fetch, note=note)
        assert one.result().folder == two.result().folder
        assert (one.result().is_new, two.result().is_new) == (True, False)

    assert notes[0] == "Another process is downloading the same; waiting for it."
    assert len(server.asked) == 1
    assert left(tmp_path) == []


def test_an_empty_folder_is_filled(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "data" / "set").mkdir(parents=True)

    assert len(scan(fetch().folder).samples) == 6


@pytest.mark.parametrize("sha256", ["", sha256_of(ZIP)])
def test_a_broken_connection_is_resumed_where_it_broke(server: Server, fetch: Fetch, sha256: str) -> None:
    server.breaks = [400_000, 300_000]

    assert len(scan(fetch(sha256=sha256).folder).samples) == 6
    assert server.ranges == [None, "bytes=400000-", "bytes=700000-"]


@pytest.mark.parametrize(("sha256", "tag"), [("", '"version 1"'), (sha256_of(ZIP), "")])
def test_the_next_call_resumes_a_partial_download(
    server: Server, fetch: Fetch, tmp_path: Path, sha256: str, tag: str
) -> None:
    server.tag, server.breaks = tag, [500_000, 0, 0, 0, 0]
    with pytest.raises(DataError, match=r"500000 of \d+ bytes"):
        fetch(sha256=sha256)
    assert not (tmp_path / "data" / "set").exists()
    assert [name for name in left(tmp_path) if name.endswith(".part")]

    fetch(sha256=sha256)

    assert server.ranges[-1] == "bytes=500000-"
    assert left(tmp_path) == []


def test_a_server_without_ranges_is_asked_for_all_of_it_again(server: Server, fetch: Fetch) -> None:
    server.knows_ranges, server.breaks = False, [400_000]

    assert len(scan(fetch().folder).samples) == 6


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_is_reported_at_once_and_leaves_nothing(
    server: Server, fetch: Fetch, tmp_path: Path, code: int
) -> None:
    server.codes_of["photos.zip"] = code

    with pytest.raises(DataError, match=rf"HTTP {code}.*photos\.zip"):
        fetch()

    assert len(server.asked) == 1
    assert list((tmp_path / "data").iterdir()) == []


def test_an_error_of_the_server_is_tried_again_and_then_reported(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.codes = [500, 500]
    assert fetch().is_new

    server.codes_of["other.zip"] = 500
    with pytest.raises(DataError, match=r"HTTP 500.*4 tries"):
        fetch_source(source_of_address(server.url("other.zip")), tmp_path / "data" / "other", pause=0.0)


@pytest.mark.slow
def test_a_server_that_promises_more_than_it_has_is_an_error(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.promises = 1000

    with pytest.raises(DataError, match="tries"):
        fetch()

    assert not (tmp_path / "data" / "set").exists()


def test_a_server_that_promises_less_than_it_has_gives_a_cut_archive_which_is_refused_and_not_kept(
    server: Server, fetch: Fetch, tmp_path: Path
) -> None:
    server.promises = -2000

    with pytest.raises(DataError, match="damaged, truncated"):
        fetch()

    assert list((tmp_path / "data").iterdir()) == []


def test_another_file_than_promised_is_not_kept(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another SHA-256"):
        fetch(sha256="0" * 64)

    assert list((tmp_path / "data").iterdir()) == []


def test_a_web_page_instead_of_an_archive_is_named(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.files["view"] = b"<!DOCTYPE html><html>please log in</html>"

    with pytest.raises(DataError, match=r"found a web page.*the file itself"):
        fetch("view")

    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"error": "rate limit"}', "JSON.*Open the address in a browser"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS.*download button"),
        (b"", "an empty file.*try again"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a single image.*a folder of images for each class"),
        (zipped({}), "a zip without any file.*with images inside"),
        (b"just a text", r"11 bytes that begin with b'just a t'.*the file itself"),
    ],
)
def test_what_is_no_archive_is_called_what_it_is(
    server: Server, fetch: Fetch, tmp_path: Path, content: bytes, found: str
) -> None:
    server.files["set.zip"] = content

    with pytest.raises(DataError, match=f"a zip or tar archive, found {found}"):
        fetch("set.zip")

    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("up", zipped({"cat/1.png": b"1", "../evil.png": b"2"}), "stay inside"),
        ("root", zipped({"/evil.png": b"2"}), "stay inside"),
        ("drive", zipped({"C:/evil.png": b"2"}), "stay inside"),
        ("link", zipped({"cat/1.png": b"/etc/passwd"}, mode=0o777 | stat.S_IFLNK), "a link, a device"),
        ("tar_up", tarred({"../../evil.png": b"2"}), "stay inside"),
    ],
    ids=["up", "root", "drive", "link", "tar_up"],  # the bytes of a tar hold the second it was made in
)
def test_an_evil_archive_leaves_nothing_anywhere(
    server: Server, fetch: Fetch, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    server.files[name] = content

    with pytest.raises(DataError, match=reason) as caught:
        fetch(name, max_bytes=10_000_000)

    assert caught.value.where == server.url(name)
    assert [path.name for path in tmp_path.rglob("*")] == ["data"]


@pytest.mark.slow
def test_a_bomb_is_stopped_and_its_archive_kept_for_those_who_raise_the_limit(
    server: Server, fetch: Fetch, tmp_path: Path
) -> None:
    server.files["bomb"] = zipped({f"{name}/1.png": bytes(6_000_000) for name in ("cat", "dog")})

    with pytest.raises(DataError, match=r"at most 10,000,000 bytes unpacked.*--max-gb"):
        fetch("bomb", max_bytes=10_000_000)

    assert [name.endswith(".archive") for name in left(tmp_path)] == [True]
    assert len(scan(fetch("bomb").folder).samples) == 2
    assert len(server.asked) == 1


def test_an_archive_beyond_the_limit_is_refused_before_it_is_fetched(fetch: Fetch, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at most 5000 bytes"):
        fetch(max_bytes=5000)

    assert list((tmp_path / "data").iterdir()) == []


def test_a_full_disk_is_reported_before_the_first_byte(
    server: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.runtime.free_bytes", lambda folder: 10)

    with pytest.raises(DataError, match=r"MB of free disk.*--out"):
        fetch()


def test_no_room_to_unpack_keeps_what_was_fetched(
    server: Server, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("headstart.runtime.free_bytes", lambda folder: 100_000_000)  # less than unpacking leaves free
        with pytest.raises(DataError) as caught:
            fetch()
    assert caught.value.hint == FREE_SPACE

    assert len(scan(fetch().folder).samples) == 6
    assert len(server.asked) == 1


def test_ctrl_c_while_unpacking_leaves_no_incomplete_data_set(
    server: Server, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(folder: Path) -> int:
        if folder.parent.name.endswith(".part"):  # asked for before each entry is written
            raise KeyboardInterrupt
        return 10**12

    with monkeypatch.context() as patched:
        patched.setattr("headstart.runtime.free_bytes", stopped)
        with pytest.raises(KeyboardInterrupt):
            fetch()

    assert not (tmp_path / "data" / "set").exists()
    assert [name.endswith(".archive") for name in left(tmp_path)] == [True]


def test_what_a_killed_call_left_does_not_get_into_the_data_set(fetch: Fetch, tmp_path: Path) -> None:
    half = tmp_path / "data" / ".set.fetching" / "complete" / "photos" / "cow"
    half.mkdir(parents=True)
    (half / "1.png").write_bytes(b"half")

    assert scan(fetch().folder).classes == ("cat", "dog")


def test_rock_paper_scissors_has_splits_and_uses_the_mirror_that_answers(
    server: Server, rps: Source, tmp_path: Path
) -> None:
    notes: list[str] = []
    progress: list[tuple[str, int, int]] = []

    fetched = fetch_source(
        rps, tmp_path / "rps", note=notes.append, progress=lambda *step: progress.append(step), pause=0.0
    )

    counts = scan(tmp_path / "rps").to_dict()["counts"]
    assert counts == {"train": dict.fromkeys(("paper", "rock", "scissors"), 4),
                      "test": dict.fromkeys(("paper", "rock", "scissors"), 2)}  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["rps"]
    assert len(notes) == 2
    assert all("/b/" in text and "HTTP 404" in text for text in notes)
    assert fetched.notes == tuple(notes)
    assert fetched.record.licence == "CC BY 2.0"
    assert [origin.sha256 for origin in fetched.record.origins] == [sha256_of(TRAIN), sha256_of(TEST)]
    assert progress[-1] == ("rps-test-set.zip", len(TEST), len(TEST))


def test_the_next_mirror_resumes_what_one_began(server: Server, rps: Source, tmp_path: Path) -> None:
    server.files["b/rps.zip"] = TRAIN
    server.breaks = [600_000, 0, 0]

    fetch_source(rps, tmp_path / "rps", pause=0.0)

    assert ("a/rps.zip", "bytes=600000-") in server.asked


def test_a_mirror_with_another_file_is_passed_over(server: Server, rps: Source, tmp_path: Path) -> None:
    server.files["b/rps.zip"] = ZIP

    fetched = fetch_source(rps, tmp_path / "rps", pause=0.0)

    assert "another SHA-256" in fetched.notes[0]
    assert len(scan(tmp_path / "rps").samples) == 18


def test_when_every_mirror_fails_each_failure_is_named_and_downloads_are_kept(
    server: Server, rps: Source, tmp_path: Path
) -> None:
    server.codes_of = {"a/rps-test-set.zip": 403}

    with pytest.raises(DataError) as caught:
        fetch_source(rps, tmp_path / "rps", pause=0.0)

    assert "HTTP 404" in caught.value.found
    assert "HTTP 403" in caught.value.found
    assert not (tmp_path / "rps").exists()
    server.codes_of, server.asked = {}, []
    fetch_source(rps, tmp_path / "rps", pause=0.0)
    assert "a/rps.zip" not in server.paths


def test_a_full_disk_is_not_blamed_on_a_mirror(
    server: Server, rps: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["b/rps.zip"] = TRAIN
    monkeypatch.setattr("headstart.runtime.free_bytes", lambda folder: 10)

    with pytest.raises(DataError, match="MB of free disk"):
        fetch_source(rps, tmp_path / "rps", pause=0.0)

    assert server.paths == ["b/rps.zip"]


def test_a_file_of_the_archive_that_has_the_record_s_name_is_kept(server: Server, fetch: Fetch) -> None:
    server.files["named.zip"] = zipped({"source.json": b'{"theirs": 1}', "cat/1.png": b"1"})

    folder = fetch("named.zip").folder

    assert (folder / "source-of-archive.json").read_bytes() == b'{"theirs": 1}'
    assert read_record(folder) is not None


def test_scan_reports_a_source_json_that_headstart_did_not_write(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"1")
    (tmp_path / "source.json").write_text('{"theirs": 1}')

    assert [finding.names for finding in scan(tmp_path).findings] == [("source.json",)]
