"""Download of one file: resumed when the connection breaks, checked, given its final name only when complete."""

from __future__ import annotations

import contextlib
import errno
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from headstart import files, runtime
from headstart.errors import DownloadError, HeadstartError
from headstart.progress import OnProgress
from headstart.refusals import OF_A_FULL_DISK
from headstart.untrusted import read_text, sha256_of

"""Called with the bytes done and the bytes in all (0 where the server does not say)."""

Note = Callable[[str], None]
"""Called with one sentence for the user to read during the download."""

_BLOCK = 1 << 18
_MOST_TAG = 1000  # bytes; servers send some dozen
_MOST_TRIES = 100  # of one call; a server that sends one byte per try must not hold us for ever
_TIMEOUT_S = 30.0  # without a byte
_ADDRESS_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"  # all others in an address are sent as %XX
_CHECK = "Check the address, or try again later."
_FOLDERS = "HEADSTART_CACHE sets the folder of weights and archives, --out that of data sets."
FREE_SPACE = "Free some space, or use another disk: HEADSTART_CACHE for weights and archives, --out for data sets."
_REASONS = {
    401: "the server requires a login",
    403: "the server denies access",
    404: "there is no such file on the server",
    410: "the file has been removed",
    429: "the server asks to wait",
    **dict.fromkeys((300, 301, 302, 303, 307, 308), "the server leads on in a circle, or to no usable address"),
}


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """When a download gives up.

    Args:
        most_bytes: a longer file is refused; the default is three times the largest usual network.
        tries: in a row without a new byte.
        pause: seconds before the second try; doubled before each further one.
    """

    most_bytes: int = 4_000_000_000
    tries: int = 4
    pause: float = 1.0


class DiskError(DownloadError):
    """The disk of this machine refuses: another address does not help, and nothing is wrong with what has arrived."""


class WrongHashError(DownloadError):
    """The server sent another file than the one that was promised."""


class _BrokenError(Exception):
    """This try failed; another may succeed."""


@dataclass(frozen=True)
class _Task:
    """One download: the address, the partial file, the progress callback, and when to give up."""

    url: str
    part: Path
    progress: OnProgress | None
    limits: DownloadLimits

    @property
    def tag(self) -> Path:
        """File with the version of the file on the server that the partial file is of (its ETag or date)."""
        return self.part.with_name(self.part.name + ".tag")

    @property
    def known_tag(self) -> str:
        """That version; empty: none is known, or the file holds what cannot be sent back to a server."""
        try:
            text = read_text(self.tag, _MOST_TAG)
        except (OSError, ValueError):
            return ""
        return text if text.isascii() and text.isprintable() else ""

    @property
    def have(self) -> int:
        """Bytes in the partial file."""
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        """Delete the partial file."""
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def error(self, found: str, *, expected: str = "the file from the server", hint: str = _CHECK) -> DownloadError:
        return DownloadError(expected=expected, found=found, where=self.url, hint=hint)


@dataclass(frozen=True)
class _Answer:
    """What the server announced: bytes already here, bytes in all or 0."""

    start: int
    total: int


def download(
    url: str,
    target: Path,
    *,
    sha256: str = "",
    progress: OnProgress | None = None,
    note: Note | None = None,
    limits: DownloadLimits | None = None,
) -> Path:
    """Download a file, in several tries if the connection breaks, and name it when it is complete and correct.

    What has arrived is kept in `NAME.part`, and a later call resumes there if pieces of two different files can be
    distinguished: by the hash, else by the ETag or date that the server sent with the first piece. Otherwise it starts
    again. If another process downloads the same file, this one waits and uses its result.

    Args:
        sha256: hash of the file in hex, or its first digits; empty: only the length is checked.
        note: called when this process waits for another one.

    Raises:
        DownloadError: the server refuses, or cannot be reached. WrongHashError: it sends another file. DiskError: the
            disk is full, or the folder cannot be written.
    """
    task = _Task(url, target.with_name(target.name + ".part"), progress, limits or DownloadLimits())
    before = _stamp(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error, target.parent) from error
    with one_process(target.with_name(target.name + ".part.lock"), note), _own_disk(target.parent):
        if _stamp(target) != before and file_matches(target, sha256):
            return target
        if not sha256 and not task.known_tag:
            task.discard()
        _fetch_in_tries(task)
        if not file_matches(task.part, sha256):
            task.discard()
            raise WrongHashError(
                expected=f"a file whose SHA-256 begins with {sha256[:16]}",
                found="a file with another SHA-256",
                where=url,
                hint=_CHECK,
            )
        files.flush(task.part)
        task.part.replace(target)
        task.tag.unlink(missing_ok=True)
    return target


@contextlib.contextmanager
def _own_disk(folder: Path) -> Iterator[None]:
    """Raise what the system refuses in the block as an error of this disk, not as one of the server."""
    try:
        yield
    except OSError as error:
        raise _unwritable(error, folder) from error


def _unwritable(error: OSError, folder: Path) -> HeadstartError:
    return files.os_error(
        error, folder, expected="a folder that can be written to", hint=hint_for_disk(error), kind=DiskError
    )


def hint_for_disk(error: OSError) -> str:
    """What to do where the disk of this machine refuses a download."""
    if error.errno in OF_A_FULL_DISK:
        return FREE_SPACE
    advice = files.os_error(error).hint
    return advice if error.errno == errno.EIO else f"{advice} {_FOLDERS}"  # a folder elsewhere may be on that disk, too


@contextlib.contextmanager
def one_process(path: Path, note: Note | None) -> Iterator[None]:
    """A block that one process enters at a time; the system releases the lock of a process that is killed.

    On a disk without locks, such as some network disks, no process waits.

    Args:
        path: of the lock, deleted afterwards. note: called when this process waits for another one.
    """
    import filelock  # here: most commands download nothing

    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if note:
            note("Another process is downloading the same; waiting for it.")
        lock.acquire()
    except (OSError, NotImplementedError):
        with contextlib.suppress(OSError):  # whoever writes there reports what is wrong with the folder
            path.unlink()
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):  # Windows cannot delete an open file
                path.unlink()  # before the release: the next holder finds the target complete
            lock.release()


def _stamp(path: Path) -> int:
    """When a file was last written; 0: it does not exist."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def file_matches(path: Path, sha256: str) -> bool:
    """Whether the SHA-256 of a file begins with these hex digits; an empty hash matches every file."""
    return not sha256 or sha256_of(path).startswith(sha256.lower())


def _fetch_in_tries(task: _Task) -> None:
    empty = most = 0  # tries in a row without a new byte; bytes at best: another version each time comes no further
    for number in range(1, _MOST_TRIES + 1):
        try:
            _fetch(task)
            return
        except _BrokenError as broken:
            empty = 0 if task.have > most else empty + 1
            most = max(most, task.have)
            if empty >= task.limits.tries or number == _MOST_TRIES:
                raise task.error(f"{broken} ({number} tries)") from broken
            time.sleep(task.limits.pause * 2 ** max(empty - 1, 0))


def _fetch(task: _Task) -> None:
    had = task.have
    try:
        with urllib.request.urlopen(_request(task, had), timeout=_TIMEOUT_S) as response:
            with _own_disk(task.part.parent):
                answer = _read_answer(response, had, task)
                _check_disk(task, answer)
                file = task.part.open("ab" if answer.start else "wb", buffering=0)  # closing writes nothing more
            with file:
                _copy(response, file, answer, task=task)
    except urllib.error.HTTPError as error:
        error.close()
        _refused(error.code, task)
    except (ValueError, http.client.InvalidURL) as error:
        raise task.error(f"an address that cannot be used ({error})") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        is_foreign = isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError)
        reason = "its first line is not of HTTP" if is_foreign else getattr(error, "reason", error)
        raise _BrokenError(f"no answer: {reason}") from error  # that line may be the bytes of a file
    if answer.total and task.have != answer.total:
        raise _BrokenError(f"{task.have} of {answer.total} bytes")


def _request(task: _Task, had: int) -> urllib.request.Request:
    address = urllib.parse.quote(task.url, safe=_ADDRESS_CHARACTERS)
    request = urllib.request.Request(address, headers={"User-Agent": "headstart"})
    if had:
        request.add_header("Range", f"bytes={had}-")
        if tag := task.known_tag:
            request.add_header("If-Range", tag)
    return request


def _read_answer(response: http.client.HTTPResponse, had: int, task: _Task) -> _Answer:
    start = had if response.status == 206 else 0  # 200: the server ignores ranges, or has another version
    tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    if response.status == 206:  # also where none was asked for
        _check_piece(response, start, tag, task=task)
    elif tag and not tag.startswith("W/"):  # a weak tag does not promise the same bytes
        task.tag.write_text(tag, encoding="utf-8")
    else:
        task.tag.unlink(missing_ok=True)
    announced = response.headers.get("Content-Length", "")
    total = start + int(announced) if announced.isascii() and announced.isdigit() else 0  # ² is a digit, too
    if total > task.limits.most_bytes:
        raise task.error(f"{total} bytes", expected=f"a file of at most {task.limits.most_bytes} bytes")
    return _Answer(start, total)


def _check_piece(response: http.client.HTTPResponse, start: int, tag: str, *, task: _Task) -> None:
    sent = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    is_elsewhere = sent is not None and int(sent.group(1)) != start
    known = task.known_tag
    is_other_version = known != "" and tag not in ("", known)
    if is_elsewhere or is_other_version:
        task.discard()
        raise _BrokenError("the server sent another piece than requested")


def _check_disk(task: _Task, answer: _Answer) -> None:
    free = runtime.free_bytes(task.part.parent)
    if answer.total - answer.start > free:
        raise DiskError(
            expected=f"{(answer.total - answer.start) / 1e6:.0f} MB of free disk",
            found=f"{free / 1e6:.0f} MB",
            where=task.part.parent,
            hint=FREE_SPACE,
        )


def _copy(response: http.client.HTTPResponse, file: FileIO, answer: _Answer, *, task: _Task) -> None:
    done = answer.start
    while block := response.read1(_BLOCK):  # what has come, so that a slow server is seen to be slow
        with _own_disk(task.part.parent):
            rest = memoryview(block)
            while rest:
                rest = rest[file.write(rest) :]
        done += len(block)
        if done > (most := task.limits.most_bytes):  # a server that does not announce the length
            raise task.error(f"more than {most} bytes", expected=f"a file of at most {most} bytes")
        if task.progress:
            with _own_disk(task.part.parent):  # what it writes is not the server's either
                task.progress(done, answer.total)


def _refused(code: int, task: _Task) -> None:
    if code == 416:  # the partial file is as long as the file, or longer: start again
        task.discard()
        raise _BrokenError("the server cannot resume where the last try ended")
    if code >= 500 or code == 429:
        raise _BrokenError(f"HTTP {code}: {_REASONS.get(code, 'an error of the server')}")
    raise task.error(f"HTTP {code}: {_REASONS.get(code, 'the server refuses')}")
