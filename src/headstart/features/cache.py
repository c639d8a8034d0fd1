"""Features on disk by content: a folder of small safetensors shards for each backbone, weights and preprocessing.

In: rows of features with the content hashes of their images. Out: the same rows, in any later run. A shard is written
whole or not at all, carries a checksum, and is discarded when that is wrong: after a kill, on a full disk or with a
damaged file, at worst some rows are computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from headstart.files import (
    FOR_CACHE,
    atomic_write,
    clear_place,
    disk_full,
    make_folder,
    os_errors,
    remove,
    remove_abandoned_part,
    write_text,
)
from headstart.refusals import refusal
from headstart.untrusted import check_regular, read_object

Rows = NDArray[np.float32]

READER = "7"
"""Part of every key; raised when data/images.py (with `_DECODER` of data/image_index.py) or a Preprocess gives
other pixels than before."""

_SHARD, _CARD = "*.safetensors", "about.json"
_WRITABLE, _ELSEWHERE = "a cache folder that can be written to", "Set HEADSTART_CACHE to another folder."


@dataclass(frozen=True)
class CacheEntry:
    """The stored rows of one kind of features; `about` is the description it was opened with."""

    key: str
    about: dict[str, str]
    images: int
    size_bytes: int
    used: float  # seconds since 1970 of the last use

    @property
    def title(self) -> str:
        """Its content, backbone and weights, for people."""
        words = (self.about.get("what", "features"), self.about.get("backbone", ""), self.about.get("weights", "")[:8])
        return " ".join(word for word in words if word)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "key": self.key,
            "about": self.about,
            "images": self.images,
            "bytes": self.size_bytes,
            "used": self.used,
        }


class FeatureStore:
    """The shards of one kind of features; knows which contents it has."""

    def __init__(self, folder: Path, about: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.about = about or {}
        self._rows: dict[str, tuple[Path, int]] = {}  # content → (shard, row)
        for shard in sorted(folder.glob(_SHARD)):
            for row, content in enumerate(_contents_of(shard)):
                self._rows[content] = (shard, row)

    def __contains__(self, content: str) -> bool:
        return content in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, contents: Sequence[str], rows: Rows) -> None:
        """Store rows, n×D, under their contents; on the disk when this returns.

        Raises:
            RunError: the disk is full.
        """
        shard = self.folder / f"{uuid.uuid4().hex}.safetensors"
        codes = np.frombuffer(bytes.fromhex("".join(contents)), dtype=np.uint8).reshape(len(contents), -1)
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        try:
            self._make_again()
            with atomic_write(shard, expected="a cache that can be written to", hint=FOR_CACHE) as part:
                about = {"sha256": _checksum(codes, rows), "key": self.folder.name}
                save_file({"features": rows, "contents": codes}, part, about)
        except (SafetensorError, OSError) as error:
            raise disk_full(self.folder, rows.nbytes + codes.nbytes, error, hint=FOR_CACHE) from error
        self._rows |= {content: (shard, row) for row, content in enumerate(contents)}

    def _make_again(self) -> None:
        """The folder, where someone has removed the cache since it was opened: its rows are computed again."""
        if not self.folder.is_dir():
            make_folder(self.folder, hint=FOR_CACHE)
            write_text(self.folder / _CARD, json.dumps(self.about, indent=1), hint=FOR_CACHE)

    def read(self, contents: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
        """Blocks of (positions in `contents`, their rows), shard by shard; contents that are not stored are left out.

        The contents of a shard that is damaged, or that the disk does not give, count as missing from then on.
        """
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for position, content in enumerate(contents):
            if content in self._rows:
                shard, row = self._rows[content]
                wanted.setdefault(shard, []).append((position, row))
        for shard, pairs in wanted.items():
            rows = _read_shard(shard)
            if rows is None:
                self._rows = {content: found for content, found in self._rows.items() if found[0] != shard}
                continue
            positions, indices = np.array(pairs, dtype=np.int64).T
            yield positions, rows[indices]

    def discard(self, contents: Collection[str]) -> int:
        """Remove the rows of some contents from the disk; returns how many there were.

        Raises:
            RunError: the disk refuses.
        """
        doomed = {content: place for content, place in self._rows.items() if content in contents}
        for shard in sorted({shard for shard, _ in doomed.values()}):
            stays = {content: row for content, (at, row) in self._rows.items() if at == shard and content not in doomed}
            rows = _read_shard(shard) if stays else None
            remove(shard, strict=True)  # first: a kill in between costs rows that are computed again
            self._rows = {content: found for content, found in self._rows.items() if found[0] != shard}
            if rows is not None:
                self.add(list(stays), rows[list(stays.values())])
        return len(doomed)


class FeatureCache:
    """The user's cache of features, bounded in size; the entries that were not used for longest are removed first."""

    def __init__(self, folder: Path, limit_bytes: float) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def open(self, about: dict[str, str]) -> FeatureStore:
        """The store for one kind of features; `about` must name everything that can change a row.

        Raises:
            RunError: the cache cannot be written to.
        """
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
        folder = self.folder / key
        card = folder / _CARD
        with os_errors(self.folder, expected=_WRITABLE, hint=_ELSEWHERE):
            make_folder(folder, expected=_WRITABLE, hint=_ELSEWHERE)
            for part in folder.glob(".*.part"):
                remove_abandoned_part(part)
            if read_card(card) != about:  # new, or damaged
                clear_place(card)
                write_text(card, json.dumps(about, indent=1), expected=_WRITABLE, hint=_ELSEWHERE)
            os.utime(card)
            return FeatureStore(folder, about)

    def entries(self) -> tuple[CacheEntry, ...]:
        """The entries, last used first."""
        cards = [card for card in self.folder.glob(f"*/{_CARD}") if card.parent.is_dir()]
        found = [_entry(card) for card in cards]
        return tuple(sorted(found, key=lambda entry: -entry.used))

    def shrink(self, keep: FeatureStore | None = None) -> int:
        """Remove the longest unused entries until the rest fits the limit; returns the bytes freed."""
        entries = self.entries()
        total, freed = sum(entry.size_bytes for entry in entries), 0
        for entry in reversed(entries):
            if total - freed <= self.limit_bytes:
                break
            if keep is None or keep.folder.name != entry.key:
                remove(self.folder / entry.key)
                freed += entry.size_bytes
        return freed

    def discard(self, contents: Collection[str]) -> int:
        """Remove what was computed of some contents from every entry; returns how many rows there were.

        Raises:
            RunError: the disk refuses.
        """
        return sum(FeatureStore(self.folder / entry.key, entry.about).discard(contents) for entry in self.entries())

    def clear(self) -> int:
        """Remove everything; returns the bytes freed."""
        freed = sum(entry.size_bytes for entry in self.entries())
        remove(self.folder)
        return freed


def read_card(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is none or it is damaged."""
    try:
        return read_object(path)
    except (OSError, ValueError):
        return {}


def _entry(card: Path) -> CacheEntry:
    folder = card.parent
    about = {key: value for key, value in read_card(card).items() if isinstance(value, str)}
    rows = folder / "rows.json"  # of a RowFile, which keeps its rows in one file for each tensor
    images: Any = read_card(rows).get("rows") if rows.exists() else None
    if type(images) is not int:
        images = sum(len(_contents_of(shard)) for shard in folder.glob(_SHARD))
    try:
        size = sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".safetensors", ".npy"))
        used = card.stat().st_mtime
    except OSError:  # another process has just removed it
        size, used = 0, 0.0
    return CacheEntry(key=folder.name, about=about, images=images, size_bytes=size, used=used)


def _checksum(codes: NDArray[np.uint8], rows: Rows) -> str:
    return hashlib.sha256(codes.tobytes() + rows.tobytes()).hexdigest()


def _contents_of(shard: Path) -> list[str]:
    try:
        check_regular(shard)
        with safe_open(shard, framework="np") as file:
            codes = file.get_tensor("contents")
    except (SafetensorError, OSError, ValueError) as error:
        _remove_damaged(shard, error)
        return []  # computed again
    return [row.tobytes().hex() for row in codes]


def _read_shard(shard: Path) -> Rows | None:
    try:
        check_regular(shard)
        with safe_open(shard, framework="np") as file:
            codes, rows = file.get_tensor("contents"), np.asarray(file.get_tensor("features"), dtype=np.float32)
            about = file.metadata() or {}
        if about.get("sha256") != _checksum(codes, rows):
            raise ValueError("another checksum")
        if about.get("key", shard.parent.name) != shard.parent.name:  # shards before 0.3 have none
            raise ValueError("rows of another network, copied here")
    except (SafetensorError, OSError, ValueError) as error:
        _remove_damaged(shard, error)
        return None
    return rows


def _remove_damaged(shard: Path, error: Exception) -> None:
    """Remove what is cut off or foreign; a shard that the disk does not give now may be whole, and stays."""
    if not refusal(error):
        remove(shard)
