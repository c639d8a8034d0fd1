"""Kaggle's own client, kagglehub, against a small Kaggle on this machine: what it wants, gets, and what is said."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headstart.data.image_set import scan
from headstart.datasets.kaggle import fetch_kaggle, find_credential, is_kaggle_page, kaggle_handle
from headstart.datasets.staging import Fetched
from headstart.errors import DataError

pytest.importorskip("kagglehub", reason="the extra `kaggle` is not installed")


def _archive() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in ("cat", "dog"):
            for number in range(3):
                archive.writestr(f"photos/{name}/{number}.png", bytes([number]) * 700_000)
    return held.getvalue()


ARCHIVE = _archive()
SERVICE = "/api/v1/datasets.DatasetApiService/"


class Kaggle:
    """Knows one data set, me/pets in version 3; `code` is its answer to everything, `breaks` cut its next answers."""

    def __init__(self) -> None:
        self.code = 0
        self.breaks: list[int] = []
        self.asked: list[str] = []
        self.logins: set[str] = set()
        self.ranges: list[str | None] = []
        self.archive = ARCHIVE
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def _handler(kaggle: Kaggle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kaggle.asked.append(self.path.removeprefix(SERVICE))
            kaggle.logins.add(self.headers.get("Authorization", ""))
            is_known = (asked["ownerSlug"], asked["datasetSlug"]) == ("me", "pets")
            code = kaggle.code or (0 if is_known else 404)
            if code:
                self._send(code, json.dumps({"code": code, "message": "no"}).encode())
            elif self.path == SERVICE + "GetDataset":
                self._send(200, json.dumps({"currentVersionNumber": 3}).encode())
            else:
                self.send_response(302)
                self.send_header("Location", "/files/archive.zip")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            kaggle.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            self._send(206 if start else 200, kaggle.archive[start:], kind="application/zip")

        def _send(self, code: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            is_file = kind == "application/zip"
            with contextlib.suppress(OSError):
                self.wfile.write(body[: kaggle.breaks.pop(0)] if is_file and kaggle.breaks else body)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture(autouse=True)
def _no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in, whoever runs the tests."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLEHUB_CACHE", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "config"))


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    from kagglesdk import kaggle_env

    running = Kaggle()
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, running.address)
    # for its user agent kagglehub reads the source of every frame of the call stack: a third of a second each time
    monkeypatch.setattr("kagglehub.clients.search_lib_in_call_stack", lambda name: None, raising=False)
    yield running
    running.close()


Fetch = Callable[..., Fetched]


@pytest.fixture
def fetch(kaggle: Kaggle, tmp_path: Path) -> Fetch:
    def fetching(handle: str = "me/pets", **options: object) -> Fetched:
        return fetch_kaggle(handle, tmp_path / "data" / "pets", pause=0.0, **options)  # type: ignore[arg-type]

    return fetching


def write_login(folder: Path, mode: int = 0o600) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "kaggle.json"
    path.write_text(json.dumps({"username": "me", "key": "secret"}))
    path.chmod(mode)
    return path


@pytest.mark.slow
def test_a_data_set_arrives_whole_with_its_record_and_nothing_beside_it(
    fetch: Fetch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes: list[str] = []

    fetched = fetch(note=notes.append)

    assert scan(fetched.folder).to_dict()["counts"] == {"all": {"cat": 3, "dog": 3}}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"]
    assert sorted(path.name for path in fetched.folder.iterdir()) == ["photos", "source.json"]
    (origin,) = fetched.record.origins
    assert origin.url == "https://www.kaggle.com/datasets/me/pets/versions/3"
    assert (origin.size_bytes, origin.sha256) == (4_200_000, hashlib.sha256(ARCHIVE).hexdigest())
    assert "No Kaggle credential" in notes[0]
    assert capsys.readouterr().out == ""  # stdout is for our result
    assert "KAGGLEHUB_CACHE" not in os.environ


@pytest.mark.slow
def test_a_second_call_downloads_nothing(kaggle: Kaggle, fetch: Fetch) -> None:
    fetch()
    kaggle.asked.clear()

    assert not fetch().is_new
    assert kaggle.asked == []


@pytest.mark.slow
def test_a_version_may_be_named(kaggle: Kaggle, fetch: Fetch) -> None:
    fetched = fetch("me/pets/versions/2")

    assert kaggle.asked == ["DownloadDataset"]
    assert fetched.record.origins[0].url == "https://www.kaggle.com/datasets/me/pets/versions/2"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["token", "token file", "two variables", "kaggle.json"])
def test_each_kind_of_login_reaches_kaggle(
    kaggle: Kaggle, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    basic, bearer = "Basic bWU6c2VjcmV0", "Bearer KGAT_secret"  # me:secret, base64
    if kind == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_secret")
    elif kind == "token file":
        (tmp_path / "home" / ".kaggle").mkdir(parents=True)
        (tmp_path / "home" / ".kaggle" / "access_token").write_text("KGAT_secret")
        (tmp_path / "home" / ".kaggle" / "access_token").chmod(0o600)
    elif kind == "two variables":
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        monkeypatch.setenv("KAGGLE_KEY", "secret")
    else:
        write_login(tmp_path / "config")
    notes: list[str] = []

    fetch(note=notes.append)

    assert kaggle.logins == {bearer if kind.startswith("token") else basic}
    assert notes == []


@pytest.mark.slow
def test_a_login_that_others_can_read_is_a_warning(fetch: Fetch, tmp_path: Path) -> None:
    path = write_login(tmp_path / "config", mode=0o644)

    fetched = fetch()

    assert fetched.notes == (f"{path} can be read by others on this machine: chmod 600 {path}",)


@pytest.mark.slow
@pytest.mark.parametrize("code", [401, 403, 404])
def test_without_a_login_a_refusal_says_where_to_get_one_and_where_to_put_it(
    kaggle: Kaggle, fetch: Fetch, tmp_path: Path, code: int
) -> None:
    kaggle.code = code

    with pytest.raises(DataError) as caught:
        fetch()

    assert f"HTTP {code}" in caught.value.found
    places = ("KAGGLE_API_TOKEN", "access_token", "kaggle.json", "KAGGLE_CONFIG_DIR", "KAGGLE_USERNAME", "KAGGLE_KEY")
    for word in ("https://www.kaggle.com/settings", "https://www.kaggle.com/datasets/me/pets", *places):
        assert word in caught.value.hint
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.slow
def test_with_a_login_a_refusal_names_the_one_that_was_used(kaggle: Kaggle, fetch: Fetch, tmp_path: Path) -> None:
    path, kaggle.code = write_login(tmp_path / "config"), 403

    with pytest.raises(DataError, match="accept their terms") as caught:
        fetch()

    assert str(path) in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_login_file_that_cannot_be_read_is_named(fetch: Fetch, tmp_path: Path) -> None:
    path = write_login(tmp_path / "config")
    path.write_text("{half")

    with pytest.raises(DataError, match=r"Invalid Kaggle credentials file.*kaggle\.json.*settings"):
        fetch()


@pytest.mark.slow
def test_an_error_of_kaggle_is_reported_in_its_own_words(kaggle: Kaggle, fetch: Fetch) -> None:
    kaggle.code = 500

    with pytest.raises(DataError, match="the Kaggle data set me/pets"):
        fetch()


@pytest.mark.slow
def test_a_broken_connection_is_resumed_where_it_broke(kaggle: Kaggle, fetch: Fetch) -> None:
    kaggle.breaks = [3_000_000]

    assert len(scan(fetch().folder).samples) == 6
    assert kaggle.ranges[-1] == f"bytes={2 << 20}-"  # kagglehub writes whole MiB


@pytest.mark.slow
def test_the_next_call_resumes_a_partial_download(kaggle: Kaggle, fetch: Fetch, tmp_path: Path) -> None:
    kaggle.breaks = [3_000_000, *[0] * 20]
    with pytest.raises(DataError, match="partial downloads are kept"):
        fetch()
    assert not (tmp_path / "data" / "pets").exists()
    kaggle.breaks = []

    fetch()

    assert kaggle.ranges[-1] == f"bytes={2 << 20}-"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"]


def test_a_file_that_is_not_an_archive_is_refused_and_leaves_nothing(
    kaggle: Kaggle, fetch: Fetch, tmp_path: Path
) -> None:
    kaggle.archive = b"not an archive"

    with pytest.raises(DataError, match="a complete zip or tar"):
        fetch()

    assert list((tmp_path / "data").iterdir()) == []


def test_an_evil_archive_is_refused_and_leaves_nothing(kaggle: Kaggle, fetch: Fetch, tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("../../../evil.png", b"1")
    kaggle.archive = held.getvalue()

    with pytest.raises(DataError, match="stay inside"):
        fetch()

    assert [path.name for path in tmp_path.rglob("*")] == ["data"]


@pytest.mark.slow
def test_a_full_disk_is_reported_and_not_tried_again(
    kaggle: Kaggle, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("headstart.runtime.free_bytes", lambda folder: 10)
        with pytest.raises(DataError, match=r"GB free on the disk.*--out"):
            fetch()
    assert len(kaggle.ranges) == 1

    assert len(scan(fetch().folder).samples) == 6


@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"max_bytes": 4_000_000}, {"max_files": 5}])
def test_a_data_set_beyond_a_limit_does_not_get_its_name(fetch: Fetch, tmp_path: Path, limit: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"at most.*--max-gb"):
        fetch(**limit)

    assert not (tmp_path / "data" / "pets").exists()
    assert not list((tmp_path / "data").rglob("*.png"))


@pytest.mark.slow
def test_a_cache_that_the_user_named_is_used_and_kept(
    kaggle: Kaggle, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))

    fetched = fetch()

    assert len(scan(fetched.folder).samples) == 6
    assert len(list((tmp_path / "hub").rglob("*.png"))) == 6
    assert not list((tmp_path / "hub").rglob("source.json"))


@pytest.mark.slow
def test_links_in_a_mounted_set_are_refused(
    fetch: Fetch, kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    fetched = fetch()
    for path in sorted(fetched.folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (mounted,) = (tmp_path / "hub").rglob("photos")
    (mounted / "cat" / "9.png").symlink_to("/etc/passwd")

    with pytest.raises(DataError, match=r"9\.png', a link"):
        fetch()


def test_without_the_package_the_error_is_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)

    with pytest.raises(DataError, match=r"pip install 'headstart\[kaggle\]'"):
        fetch_kaggle("me/pets", tmp_path / "pets")


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("me/pets", "me/pets"),
        ("me/pets/versions/12", "me/pets/versions/12"),
        ("https://www.kaggle.com/datasets/me/pets", "me/pets"),
        ("https://kaggle.com/datasets/me/pets/?select=a#b", "me/pets"),
        ("https://www.kaggle.com/datasets/me/pets/versions/2", "me/pets/versions/2"),
    ],
)
def test_a_set_is_named_by_owner_and_name_or_by_its_page(text: str, handle: str) -> None:
    assert kaggle_handle(text) == handle
    assert is_kaggle_page(text) == text.startswith("https")


@pytest.mark.parametrize("text", ["pets", "me/", "../../etc", "me/pets/more", "https://host/me/pets", "me/..", ""])
def test_other_names_are_errors(text: str) -> None:
    with pytest.raises(DataError, match="OWNER/NAME"):
        kaggle_handle(text)


def test_the_credential_found_is_the_one_that_kagglehub_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kagglehub.config import get_kaggle_credentials

    def both() -> tuple[str | None, str | None]:
        ours, theirs = find_credential(), get_kaggle_credentials()
        return ours.where if ours else None, (theirs.api_key or theirs.key) if theirs else None

    assert both() == (None, None)
    path = write_login(tmp_path / "config")
    assert both() == (str(path), "secret")
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    assert both() == (str(path), "secret")
    monkeypatch.setenv("KAGGLE_KEY", "of the variable")
    assert both() == ("KAGGLE_USERNAME and KAGGLE_KEY", "of the variable")
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    (tmp_path / "home" / ".kaggle" / "access_token").write_text("of the file")
    assert both() == (str(tmp_path / "home" / ".kaggle" / "access_token"), "of the file")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a token")
    assert both() == ("KAGGLE_API_TOKEN", "a token")
