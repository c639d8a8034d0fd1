"""Features N×D of a data set, and views of some of its rows and stages that solvers read in blocks.

Features are stored raw (each stage averaged over its map); `scale_stages` gives the input of a head.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError, near
from headstart.wording import counted

Rows = NDArray[np.float32]

_SCATTERED_ROWS = 32  # of a mapped file at once: touching one row brings up to 0.6 MB around it into memory
BLOCK_ROWS = 1024  # rows a solver reads at once: 8 MB in float64 at D = 1,000, and several times that while it works


@dataclass(frozen=True)
class Features:
    """Features of N images, in the order of their names.

    Args:
        matrix: N×D float32, raw; perhaps a memory map.
        slices: stage → its columns (start, stop).
        names: N image names.
        contents: N content hashes, hex.
    """

    matrix: Rows
    slices: Mapping[str, tuple[int, int]]
    names: tuple[str, ...]
    contents: tuple[str, ...]

    def __repr__(self) -> str:  # short: of 10,000 images the names and hashes alone are 20,000 lines
        n, d = self.matrix.shape
        return f"Features({counted(n, 'image')}, {n}×{d} {self.matrix.dtype}: {', '.join(self.slices)})"

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, in forward order."""
        return tuple(self.slices)

    def __getitem__(self, stage: str) -> Rows:
        """N×D float32, the columns of one stage, not copied.

        Raises:
            DataError: it has no such stage.
        """
        if stage not in self.slices:
            raise DataError(expected=f"a stage: {', '.join(self.slices)}", found=repr(stage), where="Features",
                            hint=near(str(stage), self.slices))  # fmt: skip
        return self.matrix[:, slice(*self.slices[stage])]

    def of_stages(self, stages: Sequence[str]) -> Features:
        """The columns of some stages alone, side by side in that order."""
        columns = [self.matrix[:, slice(*self.slices[stage])] for stage in stages]
        ends = np.cumsum([part.shape[1] for part in columns]).tolist()
        slices = dict(zip(stages, zip([0, *ends[:-1]], ends, strict=True), strict=True))
        return replace(self, matrix=np.concatenate(columns, axis=1), slices=slices)

    def take(self, indices: NDArray[np.int64]) -> Rows:
        """n×D float32, a copy of some rows; of a mapped file little more than these is in memory at any time."""
        n = len(indices)
        if not (n and isinstance(self.matrix, np.memmap) and int(np.ptp(indices)) > 4 * n):  # side by side, or nearly
            rows = np.asarray(self.matrix[indices])
            self.release()
            return rows
        found = np.empty((n, self.matrix.shape[1]), dtype=self.matrix.dtype)
        for begin in range(0, n, _SCATTERED_ROWS):
            found[begin : begin + _SCATTERED_ROWS] = self.matrix[indices[begin : begin + _SCATTERED_ROWS]]
            self.release()
        return found

    def release(self) -> None:
        """Let go of the pages of a mapped file that were read or written: they are in the system's cache, not here."""
        shared = isinstance(self.matrix, np.memmap) and self.matrix.mode in ("r", "r+")
        if shared and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            vars(self.matrix)["_mmap"].madvise(mmap.MADV_DONTNEED)

    def view(self, indices: NDArray[np.int64], stages: Sequence[str], *, unit: bool = True) -> FeatureView:
        """Rows of some images at some stages, read in blocks; `unit`: each stage scaled to unit length."""
        return FeatureView(self, np.asarray(indices, dtype=np.int64), tuple(stages), unit)


@dataclass(frozen=True)
class FeatureView:
    """Some rows and stages of Features, with each stage scaled to unit length if `unit`; never copied as a whole."""

    features: Features
    indices: NDArray[np.int64]
    stages: tuple[str, ...]
    unit: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """N, D of the view."""
        widths = [stop - start for start, stop in (self.features.slices[stage] for stage in self.stages)]
        return len(self.indices), sum(widths)

    def take(self, order: NDArray[np.int64]) -> FeatureView:
        """The same view with its rows in another order, or with fewer rows."""
        return replace(self, indices=self.indices[order])

    def blocks(self, starts: NDArray[np.int64] | None = None) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """(slice of rows, n×D float64) from first to last.

        Args:
            starts: rows at which a block may begin (runs that must not be split); None allows every row.
        """
        for begin, end in _cuts(len(self.indices), starts):
            rows = self.features.take(self.indices[begin:end])
            stages = [rows[:, slice(*self.features.slices[stage])] for stage in self.stages]
            yield slice(begin, end), scale_stages(stages) if self.unit else join_stages(stages)

    def raw(self) -> Rows:
        """N×D float32, its stages side by side as they are stored."""
        found = np.empty(self.shape, dtype=np.float32)
        for begin, end in _cuts(len(self.indices), None):
            rows = self.features.take(self.indices[begin:end])
            stages = [rows[:, slice(*self.features.slices[stage])] for stage in self.stages]
            found[begin:end] = np.concatenate(stages, axis=1)
        return found

    def array(self) -> NDArray[np.float64]:
        """All rows at once; for small views."""
        return np.concatenate([x for _, x in self.blocks()] or [np.empty((0, self.shape[1]))])


def constant_stages(features: Features) -> tuple[str, ...]:
    """Stages whose features are the same numbers for all images, so that no head can tell the images apart.

    Few blocks are read: it ends as soon as each stage has a column that varies.
    """
    constant = set(features.slices)
    for begin in range(0, len(features.matrix), BLOCK_ROWS):
        same = (features.matrix[begin : begin + BLOCK_ROWS] == features.matrix[0]).all(axis=0)  # D
        constant -= {stage for stage in constant if not same[slice(*features.slices[stage])].all()}
        if not constant:
            break
    return tuple(stage for stage in features.slices if stage in constant)


def scale_stages(stages: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Each stage's rows at unit length, side by side, so that no stage outweighs another.

    Args:
        stages: one n×D array for each stage; a row of zeros stays zero.

    Source: Evci et al. 2022 (Head2Toe), arXiv:2201.03529, appendix; here on averaged maps, without feature selection.
    """
    scaled = []
    for stage in stages:
        exact = stage.astype(np.float64)
        length = np.sqrt(np.square(exact).sum(axis=1, keepdims=True))
        scaled.append(exact / np.where(length > 0, length, 1.0))
    return np.concatenate(scaled, axis=1)


def join_stages(stages: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Stages side by side, raw, for a head that was trained on raw features."""
    return np.concatenate([stage.astype(np.float64) for stage in stages], axis=1)


def _cuts(count: int, starts: NDArray[np.int64] | None) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < count:
        end = min(begin + BLOCK_ROWS, count)
        if starts is not None and end < count:
            run = np.searchsorted(starts, end, side="right") - 1  # the last run that begins at or before `end`
            if starts[run] <= begin:  # one run is longer than a block: it stays whole
                run += 1
            end = int(starts[run]) if run < len(starts) else count
        yield begin, end
        begin = end
