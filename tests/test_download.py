"""The download against a real server on this machine that misbehaves in every way we know."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headstart.backbones.download import download, file_matches
from headstart.errors import BackboneError

BODY = bytes(range(256)) * 4000  # about 1 MB: several blocks
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server:
    """Serves BODY; `breaks` bytes after which each answer's line is cut, `codes` answered before any body."""

    def __init__(self) -> None:
        self.breaks: list[int] = []
        self.codes: list[int] = []
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.says_length = True
        self.promises = 0  # bytes more than there are
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/weights.pth"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.ranges.append(asked)
            if server.codes:
                self.send_error(server.codes.pop(0))
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
            if start >= len(BODY):
                self.send_error(416)
                return
            body = BODY[start:]
            self.send_response(206 if start else 200)
            if server.says_length:
                self.send_header("Content-Length", str(len(body) + server.promises))
            self.end_headers()
            sent = body[: server.breaks.pop(0)] if server.breaks else body
            with contextlib.suppress(OSError):  # the other side may hang up
                self.wfile.write(sent)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def fetching(**options: object) -> Path:
        return download(server.url, tmp_path / "in" / "weights.pth", pause=0.0, **options)  # type: ignore[arg-type]

    return fetching


def _left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "in").iterdir())


def test_a_whole_file_arrives_and_progress_is_told(fetch: Callable[..., Path], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    path = fetch(sha256=SHA256, progress=lambda done, total: told.append((done, total)))

    assert path.read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert _left(tmp_path) == ["weights.pth"]


def test_a_broken_line_is_taken_up_where_it_broke(server: Server, fetch: Callable[..., Path]) -> None:
    server.breaks = [300_000, 200_000]

    path = fetch(sha256=SHA256[:8])

    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on_with_what_an_earlier_one_left(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    server.breaks = [100_000, 0, 0, 0]
    with pytest.raises(BackboneError, match="100000 of 1024000 bytes"):
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


def test_a_server_that_ignores_ranges_sends_the_whole_file_again(server: Server, fetch: Callable[..., Path]) -> None:
    server.breaks, server.knows_ranges = [300_000], False

    assert fetch(sha256=SHA256).read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, fetch: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "weights.pth.part").write_bytes(BODY + b"more")

    assert fetch(sha256=SHA256).read_bytes() == BODY


@pytest.mark.parametrize(
    ("code", "said"),
    [(401, "wants a login"), (403, "does not allow"), (404, "no such file"), (410, "removed"), (418, "refuses")],
)
def test_a_refusal_is_said_at_once(
    server: Server, fetch: Callable[..., Path], tmp_path: Path, code: int, said: str
) -> None:
    server.codes = [code]

    with pytest.raises(BackboneError, match=f"HTTP {code}.*{said}.*--weights FILE"):
        fetch(sha256=SHA256)

    assert len(server.ranges) == 1
    assert _left(tmp_path) == []


def test_a_fault_of_the_server_is_tried_again(server: Server, fetch: Callable[..., Path]) -> None:
    server.codes = [500, 503, 429]

    assert fetch(sha256=SHA256).read_bytes() == BODY


def test_a_lasting_fault_of_the_server_is_an_error(server: Server, fetch: Callable[..., Path], tmp_path: Path) -> None:
    server.codes = [500] * 9

    with pytest.raises(BackboneError, match=r"HTTP 500.*\(4 tries\)"):
        fetch(sha256=SHA256)

    assert len(server.ranges) == 4
    assert _left(tmp_path) == []


def test_another_file_than_promised_is_not_kept(fetch: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="another SHA-256"):
        fetch(sha256="0" * 64)

    assert _left(tmp_path) == []


def test_a_body_shorter_than_announced_never_gets_the_final_name(
    server: Server, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    server.promises = 1000

    with pytest.raises(BackboneError, match="tries"):
        fetch()

    assert "weights.pth" not in _left(tmp_path)


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_beyond_the_limit_is_refused(server: Server, fetch: Callable[..., Path], says_length: bool) -> None:
    server.says_length = says_length

    with pytest.raises(BackboneError, match="at most 5000 bytes"):
        fetch(largest=5000)


def test_a_full_disk_is_said_before_the_first_byte(fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.runtime.free_bytes", lambda folder: 10)

    with pytest.raises(BackboneError, match="MB of free disk"):
        fetch()


def test_no_server_at_all_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(BackboneError, match=r"no answer.*another way"):
        download(f"http://127.0.0.1:{port}/a.pth", tmp_path / "a.pth", pause=0.0)


def test_a_hash_may_be_given_by_its_first_digits(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(BODY)

    assert file_matches(path, SHA256)
    assert file_matches(path, SHA256[:8].upper())
    assert file_matches(path, "")
    assert not file_matches(path, "00000000")
