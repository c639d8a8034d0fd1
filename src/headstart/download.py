"""One file from the web to the disk: resumed when the line breaks, checked, given its final name only when whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headstart import runtime
from headstart.errors import DownloadError

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all (0 where the server does not say)."""

Note = Callable[[str], None]
"""Called with one sentence that the user should read while it works."""

_BLOCK = 1 << 18
_TRIES = 4  # in a row that bring no new byte
_MOST_TRIES = 100  # of one call; a server that sends a byte each time must not hold us for ever
_SECONDS = 30.0  # without a byte
_LARGEST = 4_000_000_000  # bytes; the largest network of the usual kind has 1.3e9
_ADDRESS_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"  # all others of an address are sent as %XX
_CHECK = "Check the address, or try again later."
NO_ROOM = "Make room, or name another disk: HEADSTART_CACHE for weights and archives, --out for what is fetched."
OTHER_FILE = "a file with another SHA-256"
_WHY = {
    401: "the server wants a login",
    403: "the server does not allow it",
    404: "there is no such file on the server",
    410: "the file has been removed",
    429: "the server asks to wait",
}


class _BrokenError(Exception):
    """This try failed; another may succeed."""


@dataclass(frozen=True)
class _Task:
    """What is to be fetched, where it gathers, and what was asked of it."""

    url: str
    part: Path
    progress: Progress | None
    largest: int

    @property
    def tag(self) -> Path:
        """File that says which version of the file on the server the part is of (its ETag or date)."""
        return self.part.with_name(self.part.name + ".tag")

    @property
    def have(self) -> int:
        """Bytes gathered so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Throw away what was gathered."""
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def error(self, found: str, *, expected: str = "the file from the server", hint: str = _CHECK) -> DownloadError:
        return DownloadError(expected=expected, found=found, where=self.url, hint=hint)


@dataclass(frozen=True)
class _Answer:
    """What the server said of the file: bytes already there, bytes in all or 0."""

    start: int
    total: int


def download(
    url: str,
    target: Path,
    *,
    sha256: str = "",
    progress: Progress | None = None,
    largest: int = _LARGEST,
    tries: int = _TRIES,
    pause: float = 1.0,
    note: Note | None = None,
) -> Path:
    """Fetch a file, over several tries if the line breaks, and give it its name when it is whole and right.

    What has arrived waits in `NAME.part`, and a later call goes on from there when pieces of two different files can be
    told apart: by the hash, else by the ETag or date that the server gave the first piece. Otherwise it begins again.
    Where another process fetches the same file, it is waited for, and what it brought is taken.

    Args:
        sha256: hash of the file in hex, or its first digits; empty: only the length is checked.
        largest: bytes; a longer file is refused.
        tries: in a row without a new byte, before it gives up.
        pause: seconds before the second try; doubled before each further one.
        note: told that another process is waited for.

    Raises:
        DownloadError: the server refuses, cannot be reached, or sends something else than promised; the disk is full,
            or the folder cannot be written to.
    """
    task = _Task(url, target.with_name(target.name + ".part"), progress, largest)
    before = _stamp(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            expected="a folder that can be written to", found=str(error), where=target.parent, hint=NO_ROOM
        ) from error
    with alone(target.with_name(target.name + ".part.lock"), note):
        if _stamp(target) != before and file_matches(target, sha256):
            return target
        if not sha256 and not task.tag.exists():
            task.forget()
        _try_on(task, tries, pause)
        if not file_matches(task.part, sha256):
            task.forget()
            raise task.error(OTHER_FILE, expected=f"a file whose SHA-256 begins with {sha256[:16]}")
        task.part.replace(target)
        task.tag.unlink(missing_ok=True)
    return target


@contextlib.contextmanager
def alone(path: Path, note: Note | None) -> Iterator[None]:
    """Among all processes, the only one in such a block; the system ends the lock of a process that is killed.

    On a disk that knows no locks, as some in networks, nobody is waited for.

    Args:
        path: of the lock, gone afterwards. note: told that another process is waited for.
    """
    import filelock  # here, for most commands fetch nothing

    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if note:
            note("Another process is fetching the same; waiting for it.")
        lock.acquire()
    except (OSError, NotImplementedError):
        with contextlib.suppress(OSError):  # what is wrong with the folder is said by who writes there
            path.unlink()
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                path.unlink()  # before the release: whoever holds it then finds the target finished
            lock.release()


def _stamp(path: Path) -> int:
    """When a file was written last; 0: there is none."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def file_matches(path: Path, sha256: str) -> bool:
    """Whether the hash of a file begins with these hex digits; an empty hash fits every file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest().startswith(sha256.lower())


def _try_on(task: _Task, tries: int, pause: float) -> None:
    empty = 0  # tries in a row that brought nothing
    for number in range(1, _MOST_TRIES + 1):
        had = task.have
        try:
            _fetch(task)
            return
        except _BrokenError as broken:
            empty = 0 if task.have > had else empty + 1
            if empty >= tries or number == _MOST_TRIES:
                raise task.error(f"{broken} ({number} tries)") from broken
            time.sleep(pause * 2 ** max(empty - 1, 0))


def _fetch(task: _Task) -> None:
    had = task.have
    try:
        with urllib.request.urlopen(_request(task, had), timeout=_SECONDS) as response:
            answer = _answer(response, had, task)
            _check_room(task, answer)
            with task.part.open("ab" if answer.start else "wb") as file:
                _copy(response, file, answer, task)
    except urllib.error.HTTPError as error:
        error.close()
        _refused(error.code, task)
    except (ValueError, http.client.InvalidURL) as error:
        raise task.error(f"an address that cannot be used ({error})") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise task.error("a full disk", hint=NO_ROOM) from error
        raise _BrokenError(f"no answer: {getattr(error, 'reason', error)}") from error
    if answer.total and task.have != answer.total:
        raise _BrokenError(f"{task.have} of {answer.total} bytes")


def _request(task: _Task, had: int) -> urllib.request.Request:
    address = urllib.parse.quote(task.url, safe=_ADDRESS_CHARACTERS)
    request = urllib.request.Request(address, headers={"User-Agent": "headstart"})
    if had:
        request.add_header("Range", f"bytes={had}-")
        if task.tag.exists():
            request.add_header("If-Range", task.tag.read_text(encoding="utf-8"))
    return request


def _answer(response: http.client.HTTPResponse, had: int, task: _Task) -> _Answer:
    start = had if response.status == 206 else 0  # 200: the server ignores ranges, or has another version
    tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    if start:
        _check_piece(response, start, tag, task)
    elif tag and not tag.startswith("W/"):  # a weak tag does not promise the same bytes
        task.tag.write_text(tag, encoding="utf-8")
    else:
        task.tag.unlink(missing_ok=True)
    announced = response.headers.get("Content-Length", "")
    total = start + int(announced) if announced.isdigit() else 0
    if total > task.largest:
        raise task.error(f"{total} bytes", expected=f"a file of at most {task.largest} bytes")
    return _Answer(start, total)


def _check_piece(response: http.client.HTTPResponse, start: int, tag: str, task: _Task) -> None:
    sent = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    begins_elsewhere = sent is not None and int(sent.group(1)) != start
    is_other = task.tag.exists() and tag != "" and task.tag.read_text(encoding="utf-8") != tag
    if begins_elsewhere or is_other:
        task.forget()
        raise _BrokenError("the server sent another piece than asked for")


def _check_room(task: _Task, answer: _Answer) -> None:
    free = runtime.free_bytes(task.part.parent)
    if answer.total - answer.start > free:
        raise DownloadError(
            expected=f"{(answer.total - answer.start) / 1e6:.0f} MB of free disk",
            found=f"{free / 1e6:.0f} MB",
            where=task.part.parent,
            hint=NO_ROOM,
        )


def _copy(response: http.client.HTTPResponse, file: BinaryIO, answer: _Answer, task: _Task) -> None:
    done = answer.start
    while block := response.read(_BLOCK):
        file.write(block)
        done += len(block)
        if done > task.largest:  # a server that does not announce the length
            raise task.error(f"more than {task.largest} bytes", expected=f"a file of at most {task.largest} bytes")
        if task.progress:
            task.progress(done, answer.total)


def _refused(code: int, task: _Task) -> None:
    if code == 416:  # the part is as long as the file, or longer: begin again
        task.forget()
        raise _BrokenError("the server cannot go on where the last try ended")
    if code >= 500 or code == 429:
        raise _BrokenError(f"HTTP {code}: {_WHY.get(code, 'the server has a fault')}")
    raise task.error(f"HTTP {code}: {_WHY.get(code, 'the server refuses')}")
