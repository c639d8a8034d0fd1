"""Rows of tensors on disk, one for each image (or view of one), made once, mapped into memory and checked when opened.

Prepared pixels (uint8) and activations at a frozen boundary (float16, float32) are kept so. A row counts only with its
checksum: the worst that a kill, a full disk or a damaged file can do is that some rows are made again.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.features.cache import READER, FeatureCache, finished, read_card
from headstart.files import FOR_CACHE, disk_full, reserve

Rows = tuple[NDArray[np.generic], ...]
Shapes = Sequence[tuple[int, ...]]

SPECS = "rows.json"
_SUMS = "sums.npy"
_TOGETHER = 128  # rows copied at once


class RowFile:
    """N rows of some tensors: file `0.npy`, `1.npy`, … for each tensor, and a checksum for each row.

    Args:
        folder: of these rows alone. keys: what each row is of, N different texts. shapes: of each tensor, without N.
        dtype: of all tensors.

    Raises:
        RunError: there is no room for them.
    """

    def __init__(self, folder: Path, keys: Sequence[str], shapes: Shapes, dtype: str) -> None:
        self.folder = folder
        self.places = {key: i for i, key in enumerate(keys)}
        count = len(self.places)
        try:
            self._arrays = tuple(_open(folder / f"{i}.npy", (count, *shape), dtype) for i, shape in enumerate(shapes))
            is_new = not (folder / _SUMS).exists()
            self._sums = _open(folder / _SUMS, (count, 2), "uint32")  # (checksum, 1 where the row is there)
            if is_new:  # else rows may be there, and have their places
                _reserve(folder)
            with finished(folder / SPECS) as part:
                part.write_text(json.dumps({"rows": count, "keys": list(self.places)}), encoding="utf-8")
        except OSError as error:
            needed = count * (np.dtype(dtype).itemsize * sum(map(math.prod, shapes)) + 8)
            raise disk_full(folder, needed, error, hint=FOR_CACHE) from error
        for place in np.flatnonzero(self._sums[:, 1]):
            if self._sum_of(int(place)) != self._sums[place, 0]:
                self._sums[place, 1] = 0  # damaged: made again

    def __len__(self) -> int:
        return len(self.places)

    @property
    def missing(self) -> list[int]:
        """Places of the rows that are not there."""
        return [int(place) for place in np.flatnonzero(self._sums[:, 1] == 0)]

    def write(self, places: Sequence[int], rows: Rows) -> None:
        """Put rows n×… into their places; the checksums come last, so that half a row is no row."""
        for array, values in zip(self._arrays, rows, strict=True):
            array[list(places)] = values
        for place in places:
            self._sums[place] = (self._sum_of(place), 1)

    def borrow(self, other: RowFile) -> int:
        """Copy the rows that another file of the same kind has and this one lacks; returns how many."""
        lacking = set(self.missing)
        there = np.flatnonzero(other._sums[:, 1])
        names = list(other.places)
        pairs = [(self.places[names[i]], int(i)) for i in there if self.places.get(names[i], -1) in lacking]
        for begin in range(0, len(pairs), _TOGETHER):
            own, theirs = (list(column) for column in zip(*pairs[begin : begin + _TOGETHER], strict=True))
            self.write(own, other.read(np.array(theirs)))
        return len(pairs)

    def read(self, places: NDArray[np.int64]) -> Rows:
        """Rows of some places, in their order, copied into memory."""
        return tuple(array[places] for array in self._arrays)

    def _sum_of(self, place: int) -> int:
        total = 0
        for array in self._arrays:
            total = zlib.crc32(np.ascontiguousarray(array[place]).tobytes(), total)
        return total


def open_rows(cache: FeatureCache, about: dict[str, str], keys: Sequence[str], shapes: Shapes, dtype: str) -> RowFile:
    """The cache's file of these rows; `about` names all that can change a row but keys, shapes and dtype.

    A new file takes over what files of other sets have of the same rows, so that one more image costs one row.
    """
    listed = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    sizes = ";".join(",".join(map(str, shape)) for shape in shapes)
    kind = {**about, "reader": READER, "shapes": sizes, "dtype": dtype}
    rows = RowFile(cache.open({**kind, "rows": listed}).folder, keys, shapes, dtype)
    if len(rows.missing) == len(rows):
        for other in _of_kind(cache, kind, listed):
            if not rows.missing:
                break
            rows.borrow(RowFile(other, _keys_of(other), shapes, dtype))
    return rows


def _of_kind(cache: FeatureCache, kind: dict[str, str], listed: str) -> list[Path]:
    """Folders of other sets' rows, made in the same way, last used first."""
    alike = [one for one in cache.entries() if one.about.get("rows") not in (None, listed)]
    alike = [one for one in alike if {k: v for k, v in one.about.items() if k != "rows"} == kind]
    return [cache.folder / one.key for one in alike if _keys_of(cache.folder / one.key)]


def _keys_of(folder: Path) -> list[str]:
    """What each row of a file is of; nothing where that cannot be read."""
    return list(read_card(folder / SPECS).get("keys", []))


def fill_rows(
    rows: RowFile,
    make: Callable[[Sequence[int]], Rows],
    *,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Make what is missing, batch by batch; an interrupted call goes on where it stopped. Returns the rows made."""
    missing = rows.missing
    for begin in range(0, len(missing), batch_size):
        places = missing[begin : begin + batch_size]
        rows.write(places, make(places))
        if progress is not None:
            progress(begin + len(places), len(missing))
    return len(missing)


def _open(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    if path.exists():
        try:
            array: NDArray[np.generic] = np.lib.format.open_memmap(path, "r+")
        except (ValueError, EOFError):
            array = np.empty(0)
        if array.shape == shape and array.dtype == np.dtype(dtype):
            return array
        path.unlink()  # cut off, or of something else
        (path.parent / _SUMS).unlink(missing_ok=True)
    made: NDArray[np.generic] = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
    return made


def _reserve(folder: Path) -> None:
    arrays = sorted(folder.glob("*.npy"))
    try:
        for path in arrays:
            reserve(path)
    except OSError:  # some of the tensors are of no use, and would fill the disk
        for path in arrays:
            path.unlink()
        raise
