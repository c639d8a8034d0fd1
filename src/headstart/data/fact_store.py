"""The SQLite file under the image index: two tables, short transactions, every row with a checksum of itself.

A file that is damaged is renamed to `….damaged-N` and an empty one takes its place; one that cannot be opened or
written is replaced by memory for this process. Either becomes a Finding, and neither can give a wrong answer.
"""

from __future__ import annotations

import functools
import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from headstart.data.finding import Finding

_SCHEMA = 2  # raise when a table changes; other numbers are other files, so old and new versions live side by side
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, content TEXT, seal BLOB
);
CREATE TABLE IF NOT EXISTS facts (content TEXT, reader TEXT, packed BLOB, seal BLOB, PRIMARY KEY (content, reader));
"""
_WAIT_S = 60.0  # for another process's transaction, which takes milliseconds
_AT_ONCE = 500  # values of one query; old SQLite versions take 999 parameters
_T = TypeVar("_T")


class FileKey(NamedTuple):
    """What identifies a file without reading it: path as the system's bytes, size in bytes, times of change in ns.

    Two times, since programs set the first one: unpacked again from an archive whose times are all alike, another
    image of as many bytes has the same. The second one is the system's (on Windows it is that of creation).
    """

    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int


class FactStore:
    """(path, size, times) → content, and (content, reader) → packed facts; safe from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.findings: tuple[Finding, ...] = ()
        self._path = folder / f"content-{_SCHEMA}.sqlite"
        self._lock = threading.RLock()
        self._connection = self._open()

    def close(self) -> None:
        """Close the file; what was added is already committed."""
        with self._lock:
            self._connection.close()

    def contents(self, keys: Sequence[FileKey | None]) -> list[str | None]:
        """The stored content of each file as it is now, or None."""
        known = self._guarded(functools.partial(self._contents, [key for key in keys if key])) or {}
        return [known.get(key) if key else None for key in keys]

    def facts(self, contents: Iterable[str], reader: str) -> dict[str, bytes]:
        """Content → packed facts, for those contents that have facts under this reader."""
        return self._guarded(functools.partial(self._facts, list(dict.fromkeys(contents)), reader)) or {}

    def add(self, contents: Iterable[tuple[FileKey, str]], facts: Iterable[tuple[str, str, bytes]]) -> None:
        """Store both lists in one transaction; facts are (content, reader, packed)."""
        files = [(*key, content, _seal(*key, content)) for key, content in contents]
        rows = [(*row, _seal(*row)) for row in facts]
        self._guarded(functools.partial(self._insert, files, rows))

    def discard(self, contents: Iterable[str]) -> None:
        """Remove what is known of some contents, and the files that had them."""
        self._guarded(functools.partial(self._discard, [(content,) for content in contents]))

    def _discard(self, contents: Sequence[tuple[str]]) -> None:
        with self._connection:
            self._connection.executemany("DELETE FROM files WHERE content = ?", contents)
            self._connection.executemany("DELETE FROM facts WHERE content = ?", contents)

    def _contents(self, keys: Sequence[FileKey]) -> dict[FileKey, str]:
        query = "SELECT path, size, mtime_ns, ctime_ns, content, seal FROM files WHERE path IN ({})"
        rows = self._select(query, [key.path for key in keys])
        return {FileKey(*row[:4]): str(row[4]) for row in rows if row[5] == _seal(*row[:5])}

    def _facts(self, contents: Sequence[str], reader: str) -> dict[str, bytes]:
        query = "SELECT content, packed, seal FROM facts WHERE content IN ({}) AND reader = ?"
        rows = self._select(query, contents, reader)
        return {content: packed for content, packed, seal in rows if seal == _seal(content, reader, packed)}

    def _select(self, query: str, values: Sequence[object], *more: object) -> Iterator[tuple[Any, ...]]:
        """Rows for all values of an IN, some at a time: SQLite bounds the parameters of one query."""
        for i in range(0, len(values), _AT_ONCE):
            some = values[i : i + _AT_ONCE]
            yield from self._connection.execute(query.format(",".join("?" * len(some))), (*some, *more))

    def _insert(self, files: Sequence[tuple[object, ...]], facts: Sequence[tuple[object, ...]]) -> None:
        with self._connection:  # one transaction; rolled back when it fails
            self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", files)
            self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", facts)

    def _guarded(self, action: Callable[[], _T | None]) -> _T | None:
        """The action's answer; None, and a new store for the next one, when the store turned out to be unusable."""
        with self._lock:
            try:
                return action()
            except sqlite3.ProgrammingError:
                raise  # used after close: our mistake, not the store's
            except sqlite3.DatabaseError as error:
                self._connection.close()
                self._connection = self._in_memory(error) if _is_outside(error) else self._rebuilt(error)
                return None

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return _connect(str(self._path))
        except OSError as error:
            return self._in_memory(error)
        except sqlite3.DatabaseError as error:
            return self._in_memory(error) if _is_outside(error) else self._rebuilt(error)

    def _rebuilt(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        try:
            aside = _move_aside(self._path)
            connection = _connect(str(self._path))
        except (OSError, sqlite3.DatabaseError) as second:
            return self._in_memory(second)
        message = f"The index of image facts was damaged ({error}); it was renamed to {aside.name} and is rebuilt."
        self.findings += (Finding("index-rebuilt", "warning", message, detail={"damaged": str(aside)}),)
        return connection

    def _in_memory(self, error: Exception) -> sqlite3.Connection:
        message = f"The index of image facts cannot be used ({error}); every image is read again next time."
        self.findings += (Finding("index-not-saved", "warning", message, detail={"file": str(self._path)}),)
        return _connect(":memory:")


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, timeout=_WAIT_S, check_same_thread=False)  # FactStore's lock separates threads
    try:
        connection.execute("PRAGMA synchronous = NORMAL")  # with a rollback journal, not WAL: for network folders
        connection.executescript(_TABLES)
        connection.execute("SELECT path, size, mtime_ns, ctime_ns, content, seal FROM files LIMIT 1").fetchone()
        connection.execute("SELECT content, reader, packed, seal FROM facts LIMIT 1").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_outside(error: sqlite3.DatabaseError) -> bool:
    """Whether the store is intact but cannot be used: locked, read-only, disk full."""
    text = str(error)
    return isinstance(error, sqlite3.OperationalError) and "no such" not in text and "malformed" not in text


def _move_aside(path: Path) -> Path:
    number = 0
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)  # belongs to the damaged one
    return aside


def _seal(*values: object) -> bytes:
    parts = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return hashlib.blake2b(b"".join([len(one).to_bytes(8, "little") + one for one in parts]), digest_size=8).digest()
