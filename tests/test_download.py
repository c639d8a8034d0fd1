"""The download against a real server on this machine that misbehaves in every known manner."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headstart.download import DiskError, DownloadLimits, download, file_matches
from headstart.errors import DownloadError
from local_server import Server

BODY = bytes(range(256)) * 4000  # about 1 MB: several blocks
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server({"weights.pth": BODY})
    yield running
    running.close()


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def fetching(**options: object) -> Path:
        given = {name: options.pop(name) for name in ("most_bytes", "tries") if name in options}
        limits = DownloadLimits(pause=0.0, **given)  # type: ignore[arg-type]
        return download(server.url("weights.pth"), tmp_path / "in" / "weights.pth", limits=limits, **options)  # type: ignore[arg-type]

    return fetching


def _left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "in").iterdir())


def test_a_whole_file_arrives_and_progress_is_reported(fetch: Callable[..., Path], tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    path = fetch(sha256=SHA256, progress=lambda done, total: calls.append((done, total)))

    assert path.read_bytes() == BODY
    assert calls[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert _left(tmp_path) == ["weights.pth"]


def test_a_broken_connection_is_resumed_where_it_broke(server: Server, fetch: Callable[..., Path]) -> None:
    server.breaks = [300_000, 200_000]

    path = fetch(sha256=SHA256[:8])

    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_resumes_what_an_earlier_one_left(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    server.breaks = [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="100000 of 1024000 bytes"):
        fetch(sha256=SHA256)
    assert _left(tmp_path) == ["weights.pth.part"]

    path = fetch(sha256=SHA256)

    assert path.read_bytes() == BODY
    assert server.ranges[-1] == "bytes=100000-"


def test_without_a_hash_a_later_call_begins_again(server: Server, fetch: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "weights.pth.part").write_bytes(b"of another file")

    path = fetch()

    assert path.read_bytes() == BODY
    assert server.ranges == [None]


def test_without_a_hash_a_later_call_goes_on_with_the_same_version_of_the_file(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    server.tag, server.breaks = '"one"', [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="100000 of 1024000 bytes"):
        fetch()

    path = fetch()

    assert path.read_bytes() == BODY
    assert server.ranges[-1] == "bytes=100000-"
    assert _left(tmp_path) == ["weights.pth"]


@pytest.mark.parametrize("kept", [b"\xff\xfe", b'"one"\nHost: elsewhere', b"x" * 5000, b""])
def test_a_version_that_cannot_be_one_is_none_and_the_file_is_fetched_from_its_beginning(
    server: Server, fetch: Callable[..., Path], tmp_path: Path, kept: bytes
) -> None:
    server.tag, server.breaks = '"one"', [100_000, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        fetch()
    (tmp_path / "in" / "weights.pth.part.tag").write_bytes(kept)
    asked = len(server.ranges)

    assert fetch().read_bytes() == BODY
    assert server.ranges[asked] is None


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_pieces_of_two_versions_of_a_file_are_never_put_together(
    server: Server, fetch: Callable[..., Path], heeds_if_range: bool
) -> None:
    server.tag, server.breaks, server.heeds_if_range = '"one"', [100_000, 0, 0, 0, 0], heeds_if_range
    with pytest.raises(DownloadError):
        fetch()
    new = bytes(reversed(BODY))
    server.files["weights.pth"], server.tag = new, '"two"'

    assert fetch().read_bytes() == new


def test_a_server_that_has_another_version_each_time_is_given_up(
    server: Server, fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Server, "tag", property(lambda one: f'"{len(one.asked)}"', lambda one, tag: None), raising=False
    )
    server.breaks, server.heeds_if_range = [300_000] * 50, False

    with pytest.raises(DownloadError, match=r"\(5 tries\)"):
        fetch(tries=4)
    assert len(server.ranges) == 5


def test_a_piece_that_begins_elsewhere_than_asked_for_is_not_joined(server: Server, fetch: Callable[..., Path]) -> None:
    server.shift, server.breaks = 7, [300_000]

    assert fetch().read_bytes() == BODY


def test_a_piece_that_nobody_asked_for_is_not_the_file(server: Server, fetch: Callable[..., Path]) -> None:
    server.unasked = [1000]

    assert fetch().read_bytes() == BODY


def test_a_length_that_is_no_number_is_not_believed(server: Server, fetch: Callable[..., Path]) -> None:
    server.length = "\u00b2"  # a digit, for Python, of which no number can be made

    assert fetch().read_bytes() == BODY


def test_a_connection_that_breaks_often_but_brings_bytes_is_followed_to_the_end(
    server: Server, fetch: Callable[..., Path]
) -> None:
    server.breaks = [100_000] * 10

    assert fetch(sha256=SHA256).read_bytes() == BODY
    assert len(server.ranges) == 11


def test_a_server_that_ignores_ranges_sends_the_whole_file_again(server: Server, fetch: Callable[..., Path]) -> None:
    server.breaks, server.knows_ranges = [300_000], False

    assert fetch(sha256=SHA256).read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, fetch: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "weights.pth.part").write_bytes(BODY + b"more")

    assert fetch(sha256=SHA256).read_bytes() == BODY


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (401, "requires a login"),
        (403, "denies access"),
        (404, "no such file"),
        (410, "removed"),
        (418, "refuses"),
        (302, "leads on"),
    ],
)
def test_a_refusal_is_reported_at_once(
    server: Server, fetch: Callable[..., Path], tmp_path: Path, code: int, reason: str
) -> None:
    server.codes = [code]

    with pytest.raises(DownloadError, match=f"HTTP {code}.*{reason}.*Check the address"):
        fetch(sha256=SHA256)

    assert len(server.ranges) == 1
    assert _left(tmp_path) == []


def test_an_error_of_the_server_is_tried_again(server: Server, fetch: Callable[..., Path]) -> None:
    server.codes = [500, 503, 429]

    assert fetch(sha256=SHA256).read_bytes() == BODY


def test_a_lasting_error_of_the_server_is_reported(server: Server, fetch: Callable[..., Path], tmp_path: Path) -> None:
    server.codes = [500] * 9

    with pytest.raises(DownloadError, match=r"HTTP 500.*\(4 tries\)"):
        fetch(sha256=SHA256)

    assert len(server.ranges) == 4
    assert _left(tmp_path) == []


def test_another_file_than_promised_is_not_kept(fetch: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="another SHA-256"):
        fetch(sha256="0" * 64)

    assert _left(tmp_path) == []


def test_what_has_come_is_reported_before_the_next_piece(server: Server, fetch: Callable[..., Path]) -> None:
    server.files["weights.pth"], halt = BODY[:1000], threading.Event()
    server.halts, calls = [halt], list[int]()

    def progress(done: int, total: int) -> None:
        calls.append(done)
        halt.set()

    fetch(progress=progress)

    assert calls == [500, 1000]


def test_an_answer_that_is_not_http_is_not_printed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    with taken:
                        taken.recv(1000)
                        taken.sendall(b"PK\x03\x04" + bytes(range(256)))

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/set.zip"
        with pytest.raises(DownloadError, match=r"no answer: its first line is not of HTTP \(2 tries\)"):
            download(url, tmp_path / "set.zip", limits=DownloadLimits(pause=0.0, tries=2))


@pytest.mark.slow
def test_a_body_shorter_than_announced_never_gets_the_final_name(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    server.promises = 1000

    with pytest.raises(DownloadError, match="tries"):
        fetch()

    assert "weights.pth" not in _left(tmp_path)


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_beyond_the_limit_is_refused(server: Server, fetch: Callable[..., Path], says_length: bool) -> None:
    server.says_length = says_length

    with pytest.raises(DownloadError, match="at most 5000 bytes"):
        fetch(most_bytes=5000)


def test_a_full_disk_is_reported_before_the_first_byte(
    fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.runtime.free_bytes", lambda folder: 10)

    with pytest.raises(DownloadError, match="MB of free disk"):
        fetch()


def test_a_disk_that_fills_meanwhile_is_reported_and_not_tried_again(
    server: Server, fetch: Callable[..., Path]
) -> None:
    def full(done: int, total: int) -> None:  # called between two writes
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DownloadError, match="No space left"):
        fetch(progress=full)

    assert len(server.ranges) == 1


@pytest.mark.parametrize("url", ["http://[::1/a.zip", "http://127.0.0.1:port/a.zip", "nonsense"])
def test_an_address_that_cannot_be_used_is_reported_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="cannot be used"):
        download(url, tmp_path / "a", limits=DownloadLimits(pause=9e9))


def test_letters_of_any_language_in_an_address_arrive(server: Server, tmp_path: Path) -> None:
    server.files["%C3%A4%20b.zip"] = b"found"

    assert download(server.url("ä b.zip"), tmp_path / "a", limits=DownloadLimits(pause=0.0)).read_bytes() == b"found"


def test_no_server_at_all_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(DownloadError, match=r"no answer.*Check the address"):
        download(f"http://127.0.0.1:{port}/a.pth", tmp_path / "a.pth", limits=DownloadLimits(pause=0.0))


def test_a_hash_may_be_given_by_its_first_digits(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(BODY)

    assert file_matches(path, SHA256)
    assert file_matches(path, SHA256[:8].upper())
    assert file_matches(path, "")
    assert not file_matches(path, "00000000")


def _started(server: Server, part: Path) -> None:
    """Wait until the first half of the next answer is in the part."""
    for _ in range(1000):
        if part.exists() and part.stat().st_size > 0:
            return
        time.sleep(0.01)
    pytest.fail(f"nothing came: {server.asked}")


def test_two_that_fetch_one_file_do_not_write_to_one_part(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    go_on, calls = threading.Event(), []
    server.halts = [go_on]

    def note(text: str) -> None:
        calls.append(text)
        go_on.set()  # the first one is in the middle of it

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(fetch, sha256=SHA256)
        _started(server, tmp_path / "in" / "weights.pth.part")
        two = pool.submit(fetch, sha256=SHA256, note=note)
        assert one.result().read_bytes() == two.result().read_bytes() == BODY

    assert calls == ["Another process is downloading the same; waiting for it."]
    assert server.ranges == [None]  # the second one takes what the first one brought
    assert _left(tmp_path) == ["weights.pth"]


def test_who_waited_for_one_that_fails_goes_on_with_its_part(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    go_on = threading.Event()
    server.halts, server.breaks = [go_on], [600_000, 0]

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(fetch, sha256=SHA256, tries=1)
        _started(server, tmp_path / "in" / "weights.pth.part")
        two = pool.submit(fetch, sha256=SHA256, note=lambda text: go_on.set())
        with pytest.raises(DownloadError, match="600000 of 1024000"):
            one.result()
        assert two.result().read_bytes() == BODY

    assert server.ranges == [None, "bytes=600000-", "bytes=600000-"]
    assert _left(tmp_path) == ["weights.pth"]


def test_without_a_hash_only_what_came_while_waiting_counts_as_the_file(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "weights.pth").write_bytes(b"of last year")

    assert fetch().read_bytes() == BODY


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_on_a_disk_without_locks_a_file_is_fetched_without_them(
    server: Server, fetch: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    calls: list[str] = []

    assert fetch(sha256=SHA256, note=calls.append).read_bytes() == BODY
    assert calls == []
    assert _left(tmp_path) == ["weights.pth"]


def test_a_folder_that_cannot_be_made_is_reported_at_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DownloadError, match=r"folder that can be written to.*HEADSTART_CACHE"):
        download(server.url("weights.pth"), tmp_path / "file" / "weights.pth")
    assert server.asked == []


@pytest.mark.parametrize(
    ("code", "advice", "not_advised"),
    [
        (errno.ENOSPC, "Free some space", "permissions"),
        (errno.EDQUOT, "Free some space", "permissions"),
        (errno.EACCES, "change its permissions. HEADSTART_CACHE", "space"),
        (errno.EROFS, "on a disk that can be written to. HEADSTART_CACHE", "space"),
        (errno.EIO, "Check the disk and its connection.", "HEADSTART_CACHE"),
    ],
)
def test_what_is_advised_fits_what_this_disk_refused(
    fetch: Callable[..., Path], code: int, advice: str, not_advised: str
) -> None:
    def refuse(done: int, total: int) -> None:  # called between two writes
        raise OSError(code, os.strerror(code))

    with pytest.raises(DiskError) as caught:
        fetch(progress=refuse)

    assert caught.value.found == os.strerror(code)
    assert advice in caught.value.hint
    assert not_advised not in caught.value.hint
