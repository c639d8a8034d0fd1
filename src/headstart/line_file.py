"""A text file that only grows by whole lines: a journal, or decisions about images."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from headstart.files import flush, hold, os_errors, remove

_BLOCK = 65_536  # bytes; a line has some hundred


def append_line(path: Path, line: str, *, is_whole: Callable[[bytes], bool] = lambda line: True) -> None:
    """Add a line to a text file that only grows; it is on the disk when this returns.

    A last line without its line break, as a killed process leaves it, is closed off, or removed where it is not whole.
    Processes that append at the same time wait for each other. Where it fails, the file is as it was.

    Args:
        line: without a line break. is_whole: whether a last line without its line break is complete, and stays.

    Raises:
        RunError: the file cannot be written.
    """
    with os_errors(path, expected="a file that can be written"), _opened_to_append(path) as file:
        before = file.seek(0, os.SEEK_END)
        rest = _last_line(file, before)
        kept = before - (0 if is_whole(rest) else len(rest))
        text = (b"\n" if rest and is_whole(rest) else b"") + line.encode("utf-8", "surrogatepass") + b"\n"
        try:
            file.truncate(kept)
            left = memoryview(text)
            while left:
                left = left[file.write(left) or 0 :]
            os.fsync(file.fileno())
            if not before:
                flush(path.parent)
        except BaseException:  # a full disk has taken half a line
            file.truncate(kept)
            if not before:
                remove(path)
            raise


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """A block that one process enters at a time, the others wait; the system lets go for one that is killed.

    Where the file system has no locks, and on Windows, nobody waits.

    Args:
        path: of the lock, an empty file that stays.

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("ab") as file:
        hold(file.fileno(), wait=True)
        yield


def _last_line(file: io.FileIO, end: int) -> bytes:
    """What stands behind the last line break; only that is read, since a journal grows with every image."""
    rest = b""
    while end and b"\n" not in rest:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        rest, end = file.read(end - begin) + rest, begin
    return rest.rpartition(b"\n")[2]


@contextlib.contextmanager
def _opened_to_append(path: Path) -> Iterator[io.FileIO]:
    """Open a file that no other process appends to meanwhile; again where one has removed it before we held it."""
    while True:
        with path.open("a+b", buffering=0) as file:
            hold(file.fileno(), wait=True)
            if os.fstat(file.fileno()).st_nlink:
                yield file
                return
