"""One file from the web to the disk: resumed when the line breaks, checked, given its final name only when whole."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headstart import runtime
from headstart.errors import BackboneError

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all (0 where the server does not say)."""

_BLOCK = 1 << 18
_TRIES = 4
_SECONDS = 30.0  # without a byte
_LARGEST = 4_000_000_000  # bytes; the largest network of the usual kind has 1.3e9
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
    pause: float = 1.0,
) -> Path:
    """Fetch a file, over several tries if the line breaks, and give it its name when it is whole and right.

    What has arrived waits in `NAME.part`. With a hash a later call goes on from there; without one, pieces of two
    different files could not be told apart, so only the tries of one call do.

    Args:
        sha256: hash of the file in hex, or its first digits; empty: only the length is checked.
        largest: bytes; a longer file is refused.
        pause: seconds before the second try; doubled before each further one.

    Raises:
        BackboneError: the server refuses, cannot be reached, or sends something else than promised.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    if not sha256:
        part.unlink(missing_ok=True)
    for attempt in range(_TRIES):
        try:
            _fetch(url, part, progress, largest)
            break
        except _BrokenError as broken:
            if attempt == _TRIES - 1:
                raise _failed(url, f"{broken} ({_TRIES} tries)") from broken
            time.sleep(pause * 2**attempt)
    if not file_matches(part, sha256):
        part.unlink()
        raise _failed(url, "a file with another SHA-256", expected=f"a file whose SHA-256 begins with {sha256[:16]}")
    part.replace(target)
    return target


def file_matches(path: Path, sha256: str) -> bool:
    """Whether the hash of a file begins with these hex digits; an empty hash fits every file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest().startswith(sha256.lower())


def _fetch(url: str, part: Path, progress: Progress | None, largest: int) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "headstart"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            answer = _answer(response, have, url, largest)
            _check_room(part, answer)
            with part.open("ab" if answer.start else "wb") as file:
                _copy(response, file, answer, progress, url, largest)
    except urllib.error.HTTPError as error:
        error.close()
        _refused(error.code, url, part)
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"no answer: {getattr(error, 'reason', error)}") from error
    if answer.total and part.stat().st_size != answer.total:
        raise _BrokenError(f"{part.stat().st_size} of {answer.total} bytes")


def _answer(response: http.client.HTTPResponse, have: int, url: str, largest: int) -> _Answer:
    start = have if response.status == 206 else 0  # 200: the server ignores ranges and begins again
    announced = response.headers.get("Content-Length", "")
    total = start + int(announced) if announced.isdigit() else 0
    if total > largest:
        raise _failed(url, f"{total} bytes", expected=f"a file of at most {largest} bytes")
    return _Answer(start, total)


def _check_room(part: Path, answer: _Answer) -> None:
    free = runtime.free_bytes(part.parent)
    if answer.total - answer.start > free:
        raise BackboneError(
            expected=f"{(answer.total - answer.start) / 1e6:.0f} MB of free disk",
            found=f"{free / 1e6:.0f} MB",
            where=part.parent,
            hint="Make room, or set HEADSTART_CACHE to a folder on another disk.",
        )


def _copy(
    response: http.client.HTTPResponse,
    file: BinaryIO,
    answer: _Answer,
    progress: Progress | None,
    url: str,
    largest: int,
) -> None:
    done = answer.start
    while block := response.read(_BLOCK):
        file.write(block)
        done += len(block)
        if done > largest:  # a server that does not announce the length
            raise _failed(url, f"more than {largest} bytes", expected=f"a file of at most {largest} bytes")
        if progress:
            progress(done, answer.total)


def _refused(code: int, url: str, part: Path) -> None:
    if code == 416:  # the part is as long as the file, or longer: begin again
        part.unlink(missing_ok=True)
        raise _BrokenError("the server cannot go on where the last try ended")
    if code >= 500 or code == 429:
        raise _BrokenError(f"HTTP {code}: {_WHY.get(code, 'the server has a fault')}")
    raise _failed(url, f"HTTP {code}: {_WHY.get(code, 'the server refuses')}")


def _failed(url: str, found: str, *, expected: str = "the file from the server") -> BackboneError:
    hint = "Check the address, or fetch the file by another way and give it with --weights FILE."
    return BackboneError(expected=expected, found=found, where=url, hint=hint)
