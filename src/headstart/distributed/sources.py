"""From a source to its shards: class trees, tables and archives, Parquet files, webdataset tars; here or at an address.

Files of a tree or table are cut into shards by the hashes of their names, so that a file that is added or removed
changes its own shard and no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data.finding import Finding
from headstart.data.image_set import scan
from headstart.data.worker_sources import TABLES, TARS, is_parquet, is_webdataset
from headstart.distributed.parquet_columns import find_parquet_columns
from headstart.distributed.remote import expand_url, identity, is_url, open_url
from headstart.distributed.shard import FileShard, ImageRow, ParquetShard, Shard, TarShard
from headstart.errors import DataError, first_line
from headstart.files import os_error
from headstart.refusals import refusal
from headstart.source_layout import SourceLayout

_CUT = 128  # files of a shard on average: half a minute's work of one core, and 4,000 shards of half a million images
_MOST = 1024  # files of a shard at most


@dataclass(frozen=True)
class ShardedSource:
    """The shards of a source, in a fixed order, and what finding them has shown.

    Args:
        classes: as a scan orders them; empty: those of the labels, sorted. paths: name → file, where images are files.
    """

    name: str
    shards: tuple[Shard, ...]
    classes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)

    @property
    def images(self) -> int | None:
        """How many; None: not known before they are read."""
        counts = [shard.images for shard in self.shards]
        return None if None in counts else sum(count or 0 for count in counts)


def find_shards(
    source: str,
    layout: SourceLayout,
    *,
    unpack_into: Path,
    labelled: bool = True,
    known: bool = False,
    verify: bool = False,
) -> ShardedSource:  # six: what the user named, and how it is read
    """The shards of a source.

    Args:
        source: a folder, table or archive as for `train`; Parquet files or webdataset tars, as one, a pattern, a folder
            of Parquet files, or any of these at an address.
        unpack_into: folder for archives. labelled: False: labels may be absent, as for a prediction.
        known: one class is enough, as for an evaluation.
        verify: tell files on this machine by the hash of their bytes, not by path, size and times.

    Raises:
        DataError: there is nothing to read, or the driver of an address is not installed.
    """
    files = _tables_and_tars(source)
    if files is not None:
        read = [_shards_of(url, layout, labelled=labelled, verify=verify) for url in files]
        findings = {finding.message: finding for _, some in read for finding in some}
        return ShardedSource(source, tuple(s for some, _ in read for s in some), findings=tuple(findings.values()))
    least = 1 if known else 2
    found = scan(Path(source), unpack_into=unpack_into, least_classes=least, layout=layout, stop=labelled)
    rows = [
        ImageRow(
            one.name,
            str(one.path),
            label=one.label,
            group=one.group,
            split=one.split,
            identity=identity(str(one.path), verify=verify),
        )
        for one in found.samples
    ]
    paths = {one.name: one.path for one in found.samples}
    return ShardedSource(found.source, tuple(cut(rows)), found.classes, found.findings, paths=paths)


def _tables_and_tars(source: str) -> list[str] | None:
    """The Parquet files or webdataset tars that a source stands for; None: it is a tree, table or archive.

    Raises:
        DataError: there is none, or something else at an address.
    """
    if is_parquet(source):
        return expand_url(source, ".parquet")
    if is_webdataset(source):
        return expand_url(source, ".tar")
    if not is_url(source):
        return None
    inside = expand_url(source, "")  # of a folder, all files
    found = [url for url in inside if url.endswith(TABLES)] or [url for url in inside if url.endswith(TARS)]
    if found:
        return found
    raise DataError(
        expected="Parquet files or tars at an address",
        found="an address of something else",
        where=source,
        hint="Such as s3://bucket/photos/*.parquet; a class tree is read from a disk.",
    )


def _shards_of(
    url: str, layout: SourceLayout, *, labelled: bool, verify: bool
) -> tuple[Sequence[Shard], Sequence[Finding]]:
    """The row groups of a Parquet file and what its columns say, or a tar."""
    made = identity(url, verify=verify)
    if url.endswith(TARS):
        return [TarShard(url, made)], []
    return _parquet_shards(url, layout, labelled=labelled, made=made)


def cut(rows: Sequence[ImageRow]) -> list[FileShard]:
    """Rows in the order of their names' hashes, cut where a hash begins with zeros: content-defined chunks."""
    hashed = sorted((hashlib.sha256(row.name.encode("utf-8", "surrogatepass")).digest(), row) for row in rows)
    shards, chunk = [], []
    for digest, row in hashed:
        chunk.append(row)
        if int.from_bytes(digest[-4:], "big") % _CUT == 0 or len(chunk) == _MOST:
            shards.append(FileShard(tuple(chunk)))
            chunk = []
    return [*shards, FileShard(tuple(chunk))] if chunk else shards


def _parquet_shards(
    url: str, layout: SourceLayout, *, labelled: bool, made: str
) -> tuple[list[ParquetShard], list[Finding]]:
    with open_url(url) as file:
        try:
            parquet = pq.ParquetFile(file)
            columns = find_parquet_columns(parquet, layout, url, labelled=labelled)
            sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        except (pa.ArrowException, OSError) as error:
            if refused := refusal(error):
                raise os_error(refused, url, expected="a Parquet file that can be read", kind=DataError) from error
            raise DataError(expected="a Parquet file", found=first_line(error), where=url) from error
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    shards = [
        ParquetShard(
            url,
            i,
            start,
            images=size,
            columns=columns.columns,
            splits=columns.splits,
            identity=made,
            classes=columns.classes,
        )
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
        if size
    ]
    return shards, list(columns.findings)
