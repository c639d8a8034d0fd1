"""RowFile: rows of tensors on disk, one for each image or view of it, memory-mapped and checked when opened.

For prepared pixels (uint8) and activations at a frozen boundary (float16, float32). A row counts only with its
checksum: after a kill, on a full disk or with a damaged file, at worst some rows are computed again.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.features.cache import READER, FeatureCache, read_card
from headstart.features.features_file import reserve
from headstart.files import FOR_CACHE, disk_full, remove, write_text
from headstart.progress import OnProgress, no_progress

Rows = tuple[NDArray[np.generic], ...]
Shapes = Sequence[tuple[int, ...]]

_ROWS = "rows.json"
_CHECKSUMS = "sums.npy"
_COPIED = 128  # rows at once


class RowFile:
    """N rows of some tensors: file `0.npy`, `1.npy`, … for each tensor, and a checksum for each row.

    Args:
        folder: of these rows only. keys: N different texts, which image or view each row is of. shapes: of each tensor,
            without N. dtype: of all tensors.

    Raises:
        RunError: the disk is full.
    """

    def __init__(self, folder: Path, keys: Sequence[str], *, shapes: Shapes, dtype: str) -> None:
        self.folder = folder
        self.index = {key: i for i, key in enumerate(keys)}
        count = len(self.index)
        try:
            self._arrays = tuple(_open(folder / f"{i}.npy", (count, *shape), dtype) for i, shape in enumerate(shapes))
            is_new = not (folder / _CHECKSUMS).exists()
            self._sums = _open(folder / _CHECKSUMS, (count, 2), "uint32")  # (checksum, 1 where the row is there)
            if is_new:  # else rows may be there, and have their space
                _reserve(folder)
            rows = json.dumps({"rows": count, "keys": list(self.index)})
            write_text(folder / _ROWS, rows, expected="a cache that can be written to", hint=FOR_CACHE)
        except OSError as error:
            needed = count * (np.dtype(dtype).itemsize * sum(map(math.prod, shapes)) + 8)
            raise disk_full(folder, needed, error, hint=FOR_CACHE) from error
        for row in np.flatnonzero(self._sums[:, 1]):
            if self._sum_of(int(row)) != self._sums[row, 0]:
                self._sums[row, 1] = 0  # damaged: computed again

    def __getstate__(self) -> dict[str, object]:
        """What another process needs to read these rows: where they are, not what is in them."""
        return {"folder": self.folder, "keys": list(self.index), "tensors": len(self._arrays)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the rows for reading."""
        self.folder, self.index = state["folder"], {key: i for i, key in enumerate(state["keys"])}
        files = [self.folder / f"{i}.npy" for i in range(state["tensors"])]
        self._arrays = tuple(np.lib.format.open_memmap(file, "r") for file in files)
        self._sums = np.lib.format.open_memmap(self.folder / _CHECKSUMS, "r")

    def __len__(self) -> int:
        return len(self.index)

    @property
    def missing(self) -> list[int]:
        """Indices of the rows that are not there."""
        return [int(row) for row in np.flatnonzero(self._sums[:, 1] == 0)]

    def write(self, indices: Sequence[int], rows: Rows) -> None:
        """Write rows n×… at these indices; the checksums come last, so that half a row does not count.

        They come all at once: killed between two of them, the next call would make the rest in a smaller batch, and a
        network's features of an image differ in their last bits with the size of the batch.
        """
        where = list(indices)
        for array, values in zip(self._arrays, rows, strict=True):
            array[where] = values
        self._sums[where] = [(self._sum_of(index), 1) for index in where]

    def borrow(self, other: RowFile) -> int:
        """Copy the rows that another file of the same kind has and this one lacks; returns how many."""
        lacking = set(self.missing)
        there = np.flatnonzero(other._sums[:, 1])
        names = list(other.index)
        pairs = [(self.index[names[i]], int(i)) for i in there if self.index.get(names[i], -1) in lacking]
        for begin in range(0, len(pairs), _COPIED):
            own, theirs = (list(column) for column in zip(*pairs[begin : begin + _COPIED], strict=True))
            self.write(own, other.read(np.array(theirs)))
        return len(pairs)

    def read(self, indices: NDArray[np.int64]) -> Rows:
        """Rows at these indices, in their order, copied into memory."""
        return tuple(array[indices] for array in self._arrays)

    def _sum_of(self, index: int) -> int:
        total = 0
        for array in self._arrays:
            total = zlib.crc32(np.ascontiguousarray(array[index]).tobytes(), total)
        return total


def open_rows(
    cache: FeatureCache, about: dict[str, str], keys: Sequence[str], *, shapes: Shapes, dtype: str
) -> RowFile:
    """The cache's file of these rows; `about` names all that can change a row besides keys, shapes and dtype.

    A new file copies the rows that files of other data sets have, so that one more image costs one row.
    """
    listed = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    sizes = ";".join(",".join(map(str, shape)) for shape in shapes)
    kind = {**about, "reader": READER, "shapes": sizes, "dtype": dtype}
    rows = RowFile(cache.open({**kind, "rows": listed}).folder, keys, shapes=shapes, dtype=dtype)
    if len(rows.missing) == len(rows):
        for other in _of_kind(cache, kind, listed):
            if not rows.missing:
                break
            rows.borrow(RowFile(other, _keys_of(other), shapes=shapes, dtype=dtype))
    return rows


def _of_kind(cache: FeatureCache, kind: dict[str, str], listed: str) -> list[Path]:
    """Folders of other data sets' rows of the same kind, last used first."""
    others = [entry for entry in cache.entries() if entry.about.get("rows") not in (None, listed)]
    others = [entry for entry in others if {k: v for k, v in entry.about.items() if k != "rows"} == kind]
    return [cache.folder / entry.key for entry in others if _keys_of(cache.folder / entry.key)]


def _keys_of(folder: Path) -> list[str]:
    """The keys of a file's rows; none where they cannot be read."""
    keys = read_card(folder / _ROWS).get("keys")
    return keys if isinstance(keys, list) and all(isinstance(key, str) for key in keys) else []


def fill_rows(
    rows: RowFile,
    make: Callable[[Sequence[int]], Rows],
    *,
    batch_size: int,
    progress: OnProgress = no_progress,
) -> int:
    """Make the missing rows, batch by batch; an interrupted call continues where it stopped. Returns their number."""
    missing = rows.missing
    for begin in range(0, len(missing), batch_size):
        indices = missing[begin : begin + batch_size]
        rows.write(indices, make(indices))
        progress(begin + len(indices), len(missing))
    return len(missing)


def _open(path: Path, shape: tuple[int, ...], dtype: str) -> NDArray[np.generic]:
    if path.exists():
        try:
            array: NDArray[np.generic] = np.lib.format.open_memmap(path, "r+")
        except (ValueError, EOFError):
            array = np.empty(0)
        if array.shape == shape and array.dtype == np.dtype(dtype):
            return array
        remove(path)  # cut off, or of another shape
        remove(path.parent / _CHECKSUMS)
    made: NDArray[np.generic] = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
    return made


def _reserve(folder: Path) -> None:
    arrays = sorted(folder.glob("*.npy"))
    try:
        for path in arrays:
            reserve(path)
    except OSError:  # some of the tensors are useless without the others, and would fill the disk
        for path in arrays:
            remove(path)
        raise
