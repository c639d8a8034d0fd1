"""Image files as Parquet tables and webdataset tars, and an engine that runs jobs in this process."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

RED_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
"""A red pixel."""


class InlineEngine:
    """Runs a job here, after it has travelled as to a worker; results come in the reverse order."""

    workers = 2

    def __init__(self) -> None:
        self.items = 0

    def map(self, job: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        work = pickle.loads(pickle.dumps(job)).make()
        for number in reversed(range(len(items))):
            self.items += 1
            yield number, pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(items[number])))))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Name, bytes and label of the images of a class tree."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    return [
        {"name": path.relative_to(folder).as_posix(), "bytes": path.read_bytes(), "label": path.parent.name}
        for path in paths
    ]


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], *, per_group: int = 20) -> Path:
    """Rows as a Parquet file with so many in a row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=per_group)
    return path


def write_tar(path: Path, rows: Sequence[dict[str, Any]], *, side: str = "cls") -> Path:
    """Rows as a webdataset tar, whose labels are in files `.cls`, `.txt` or `.json`."""
    with tarfile.open(path, "w") as tar:
        for i, row in enumerate(rows):
            suffix = Path(row["name"]).suffix
            text = json.dumps({"label": row["label"]}) if side == "json" else row["label"]
            for name, data in ((f"{i:05d}{suffix}", row["bytes"]), (f"{i:05d}.{side}", text.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path
