"""Shards: some images of a source each, described in a few bytes or kilobytes, which any worker can read.

A shard gives Arrow tables of at most 256 encoded images, so that a worker's memory stays flat, whatever the shard's
size. Its key is a hash of what it is made of: a shard that has not changed is never computed twice.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data.folder_scan import IMAGE_SUFFIXES
from headstart.data.images import MAX_FILE_BYTES, BadImage, read_bytes
from headstart.distributed.remote import is_url, joined, open_url
from headstart.errors import DataError
from headstart.untrusted import Untrusted, parse_object

RECORDS = 256  # images in one table: 50 MB of usual photographs

ROWS = pa.schema(
    [("name", pa.string()), ("bytes", pa.large_binary()), ("reason", pa.string()),
     ("label", pa.string()), ("group", pa.string()), ("split", pa.string())]
)  # fmt: skip
"""The images of a shard: bytes of the file, or the reason why they cannot be read; label, group and split or null."""


@dataclass(frozen=True)
class ImageRow:
    """One image file and what is known about it.

    Args:
        identity: of the file as it is now: its path, size and times of change.
    """

    name: str
    path: str
    label: str | None
    group: str | None
    split: str | None
    identity: str


class Shard(Protocol):
    """Some images of a source, read by any worker that reaches the source.

    Attributes:
        key: SHA-256, hex, of what it is made of. images: how many; None: not known before it is read.
    """

    @property
    def key(self) -> str:
        """SHA-256, hex."""
        ...

    @property
    def images(self) -> int | None:
        """How many, or None."""
        ...

    def tables(self) -> Iterator[pa.Table]:
        """Its images as tables of the schema ROWS, in a fixed order."""
        ...


@dataclass(frozen=True)
class FileShard:
    """Image files by their paths."""

    rows: tuple[ImageRow, ...]

    @cached_property
    def key(self) -> str:
        """SHA-256, hex, of names, labels and the files' identities."""
        return _key([[r.name, r.label, r.group, r.split, r.identity] for r in self.rows])

    @property
    def images(self) -> int:
        """How many."""
        return len(self.rows)

    def tables(self) -> Iterator[pa.Table]:
        """Its images, each file read when its table is made."""
        for begin in range(0, len(self.rows), RECORDS):
            chunk = self.rows[begin : begin + RECORDS]
            yield table_of([_read(row.path) | _about(row.name, row.label, row.group, row.split) for row in chunk])


@dataclass(frozen=True)
class ParquetShard:
    """One row group of a Parquet file.

    Args:
        columns: of ROWS, `path` or `bytes`, → its column in the file. splits: value of the column → split.
        start: number of its first row in the file. identity: of the file as it is now.
        classes: names behind labels that are numbers; empty: labels are what they are.
    """

    url: str
    row_group: int
    start: int
    images: int
    columns: Mapping[str, str]
    splits: Mapping[str, str]
    identity: str
    classes: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """SHA-256, hex, of the file's identity, the row group, and how its columns are read."""
        read = [sorted(self.columns.items()), sorted(self.splits.items()), self.classes]
        return _key([self.identity, self.row_group, *read])

    def tables(self) -> Iterator[pa.Table]:
        """Its images; paths in the table are relative to the file's folder, absolute, or addresses."""
        at, where = self.start, PurePosixPath(self.url).name
        wanted = sorted({column.partition(".")[0] for column in self.columns.values()})
        with open_url(self.url) as file:
            parquet = pq.ParquetFile(file)
            batches = parquet.iter_batches(RECORDS, row_groups=[self.row_group], columns=wanted)
            for batch in batches:
                values = {name: _column(batch, column) for name, column in self.columns.items()}
                rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
                yield table_of([self._row(row, f"{where}#{at + i}") for i, row in enumerate(rows)])
                at += len(rows)

    def _row(self, row: Mapping[str, Any], name: str) -> dict[str, Any]:
        path, data = row.get("path"), row.get("bytes")
        read = {"bytes": bytes(data)} if data else _read(joined(self.url, str(path))) if path else _missing("no image")
        inside = row.get("inside")
        named = str(row.get("name") or path or (f"{PurePosixPath(self.url).name}/{inside}" if inside else name))
        split = _text(row.get("split"))
        # a value that says no split stays, and is refused where all rows are known
        split = None if split is None else self.splits.get(split, split)
        return read | _about(named, self._label(row.get("label")), _text(row.get("group")), split)

    def _label(self, value: object) -> str | None:
        if self.classes and isinstance(value, int):
            return self.classes[value] if 0 <= value < len(self.classes) else None  # -1: no label
        return _text(value)


@dataclass(frozen=True)
class TarShard:
    """A webdataset tar: files of one key side by side, `KEY.jpg` with `KEY.cls`, `KEY.txt` or `KEY.json`.

    Args:
        identity: of the file as it is now.
    """

    url: str
    identity: str
    images: int | None = None

    @cached_property
    def key(self) -> str:
        """SHA-256, hex, of the file's identity."""
        return _key([self.identity])

    def tables(self) -> Iterator[pa.Table]:
        """Its images, read as a stream from first to last."""
        rows: list[dict[str, Any]] = []
        given = False
        for key, files in self._samples():
            image = next((suffix for suffix in files if f".{suffix.lower()}" in IMAGE_SUFFIXES), None)
            if image is None:
                continue
            rows.append({"bytes": files[image]} | self._about(key, files))
            if len(rows) == RECORDS:
                yield table_of(rows)
                rows, given = [], True
        if rows or not given:  # a tar without an image is a table without a row
            yield table_of(rows)

    def _samples(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        key = ""
        files: dict[str, bytes] = {}
        with open_url(self.url) as file:
            try:
                with tarfile.open(fileobj=file, mode="r|*") as tar:
                    for member in tar:
                        if not member.isfile():
                            continue
                        folder, _, last = member.name.rpartition("/")
                        stem, _, suffix = last.partition(".")
                        found = f"{folder}/{stem}".lstrip("/")
                        if found != key and files:
                            yield key, files
                            files = {}
                        key = found
                        data = b"" if member.size > MAX_FILE_BYTES else (tar.extractfile(member) or file).read()
                        files[suffix] = data
            except (tarfile.TarError, EOFError) as error:
                raise DataError(expected="a whole tar file", found=str(error), where=self.url) from error
        if files:
            yield key, files

    def _about(self, key: str, files: Mapping[str, bytes]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if "json" in files:
            try:
                values = parse_object(files["json"])
            except Untrusted:  # a side file of the image, which stays without what it says
                values = {}
        for suffix in ("cls", "txt"):
            if suffix in files and values.get("label") is None:
                values = values | {"label": files[suffix].decode("utf-8", "replace").strip()}
        label, group, split = (_text(values.get(name)) for name in ("label", "group", "split"))
        return _about(f"{PurePosixPath(self.url).name}/{key}", label, group, split)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of the schema ROWS; what a row does not have is null."""
    return pa.Table.from_pylist(rows, schema=ROWS)


def _about(  # the four that a table of images has beside its bytes
    name: str, label: str | None, group: str | None, split: str | None
) -> dict[str, Any]:
    return {"name": name, "label": label, "group": group, "split": split}


def _text(value: object) -> str | None:
    """A label, group or split as a csv table gives it, without spaces around it; None where there is none."""
    if value is None or value != value:  # nan: an empty cell of a column of numbers
        return None
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return unicodedata.normalize("NFC", text.strip()) or None


def _missing(reason: str) -> dict[str, Any]:
    return {"reason": reason}


def _read(path: str) -> dict[str, Any]:
    """The bytes of a file or address, or the reason why they cannot be had."""
    try:
        if not is_url(path):
            return {"bytes": read_bytes(Path(path))}
        with open_url(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except BadImage as bad:
        return _missing(bad.reason)
    except OSError as error:
        return _missing(f"cannot be read: {error.strerror or error}")
    return {"bytes": data} if len(data) <= MAX_FILE_BYTES else _missing("the file is larger than 1 GB")


def _column(batch: pa.RecordBatch, column: str) -> list[Any]:
    """Values of a column, or of a field `image.bytes` of one."""
    name, _, field = column.partition(".")
    values = batch.column(name)
    return [None if v is None else v.get(field) for v in values.to_pylist()] if field else values.to_pylist()


def _key(values: object) -> str:
    return hashlib.sha256(json.dumps(values, ensure_ascii=True).encode()).hexdigest()
