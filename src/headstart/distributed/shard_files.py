"""The results of shards as Arrow files named by what they were made of: written once, by rename, and found again.

A worker that is killed leaves no file; whoever runs the same job again computes only the shards that are missing.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.errors import RunError
from headstart.files import FOR_CACHE, atomic_write, make_folder, remove
from headstart.refusals import refusal

_VERSION = 5  # raise when the columns of a result change, or what stands behind them
_DIGITS = 8  # of the CRC-32 that a file ends with, hex
_BLOCK = 1 << 20  # bytes read at once for it


class ShardFiles:
    """Result files of one kind of work in one folder, which all workers reach.

    Args:
        folder: for all kinds of work. about: all that a result depends on beside the shard: backbone, preprocessing …
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        said = json.dumps({"version": _VERSION, **about}, sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(said.encode()).hexdigest()[:32]

    def path(self, key: str) -> Path:
        """Where the result of a shard lies, or will."""
        return self.folder / f"{key}.arrow"

    def write(self, key: str, tables: Iterable[pa.Table]) -> Path:
        """Write a result, table after table; it gets its name when it is whole.

        Raises:
            RunError: the folder cannot be written, or there is no table.
        """
        make_folder(self.folder, expected="a folder that workers can write")
        path = self.path(key)
        with atomic_write(path, hint=FOR_CACHE) as part:
            writer = None
            for table in tables:
                if writer is None:
                    writer = pa.ipc.new_file(str(part), table.schema)
                writer.write_table(table)
            if writer is None:
                raise RunError(expected="a shard with images", found="none", where=path)
            writer.close()
            total = _checksum(part, path, part.stat().st_size)
            with part.open("ab") as file:
                file.write(total)
        return path

    def read(self, key: str, columns: Iterable[str] | None = None) -> pa.Table | None:
        """A result, mapped into memory; None: it is not there, or damaged, and then removed."""
        return read_result(self.path(key), columns)


def read_result(path: Path, columns: Iterable[str] | None = None) -> pa.Table | None:
    """The table of a result file, not copied; None: there is none, or the disk refuses; a damaged one is removed.

    The file is read once before, to compare its checksum.
    """
    try:
        size = path.stat().st_size - _DIGITS
        with path.open("rb") as file:
            file.seek(max(size, 0))
            if file.read() != _checksum(path, path, size):
                raise ValueError("another checksum")
        with pa.memory_map(str(path), "rb") as source:
            table = pa.ipc.open_file(pa.BufferReader(source.read_buffer(size))).read_all()
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError) as error:
        if not refusal(error) or path.is_dir():  # a file that the disk does not give now may be whole
            remove(path)
        return None
    return table if columns is None else table.select(list(columns))


def _checksum(file: Path, path: Path, size: int) -> bytes:
    """CRC-32 of the first bytes of a file, and of what it is the result of: one of another shard is none of this."""
    total = zlib.crc32(f"{path.parent.name}/{path.name}".encode())
    with file.open("rb") as source:
        while size > 0 and (block := source.read(min(size, _BLOCK))):  # not mapped: its pages would count as memory
            total, size = zlib.crc32(block, total), size - len(block)
    return f"{total:0{_DIGITS}x}".encode()


def matrix_of(table: pa.Table) -> NDArray[np.float32]:
    """N×D features of a result."""
    column = table.column("features")
    width = column.type.list_size
    parts = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((0, width), np.float32)])
