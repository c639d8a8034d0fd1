"""Candidate pairs of duplicates: a perceptual hash proposes them, decoded pixels must confirm them.

The hash is pHash's (the low frequencies of a 32 × 32 thumbnail's cosine transform), kept as numbers instead of 64 bits:
numbers rank candidates where bits only count, and a film's thousand near-equal frames cannot flood the list, because
each image proposes its few nearest only. Neighbours are searched around pivots, not among all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates.alignment import WHOLE, cropped, fit_crops
from headstart.progress import OnProgress, no_progress

Hashes = NDArray[np.float32]  # N×D, each of length 1
Pairs = NDArray[np.int64]  # P×2
Crop = tuple[float, float, float, float]  # left, right, top, bottom as shares

_FREQUENCIES = 7  # along each axis; those within the quarter circle are kept, the mean is not
_CROPS = (  # a duplicate without its margins is nearer to the image's centre, or to a corner of it, than to the image
    (0.06, 0.94, 0.06, 0.94),
    *((left, left + 0.94, top, top + 0.94) for left in (0.0, 0.06) for top in (0.0, 0.06)),
)
_STRETCHED = (  # two crops of one picture, resized to one shape, are nearer where only one side is cut
    *((0.0, 1.0, top, top + 0.94) for top in (0.0, 0.06)),
    *((left, left + 0.94, 0.0, 1.0) for left in (0.0, 0.06)),
)
_SIMILARITY = (
    0.88  # cosine of hashes; 99 % of duplicates cropped by at most 10 % a side have 0.9 with one of the crops …
)
_SIMILARITY_OF_FEW = 0.80  # … but two crops of one picture, where all pictures are alike, less than 0.85 in one of five
_FEW = 10_000  # images: up to here _STRETCHED and the lower limit cost seconds; at 16,000 they double the search's time
_NEAREST = 4  # candidates per image and side; the duplicate is among the first 4 in 99 of 100 cases …
_NEAREST_CROP = 2  # … and per crop: among a film's frames, duplicates cropped by 10 % are among these in 96 of 100
_BEST_FITS = 3  # kept of an image's pairs that only a crop proposed: a film's frames all fit each other
_MISFIT = 0.28  # of the overlaid thumbnails: duplicates have 0.00–0.26, other photographs 0.2 and mostly 0.4 and more
_FLAT = 2.0  # grey levels of contrast: below, there is nothing to compare
_PROBED = 8  # pivots around which an image is searched
_AT_ONCE = 1024  # thumbnails: 4 MB in float32, 8 in float64
_VISITORS = 512  # queries that are compared at once with a list: 10 MB at 100,000 images
_BLOCK = 128  # pairs that are overlaid at once: 3 MB at a time stays in the processor's cache


class Candidates(NamedTuple):
    """Pairs of thumbnails that fit each other.

    Args:
        pairs: P×2 indices, first below second.
        flipped: P, whether the second fits only after a horizontal flip.
        crops: P×4, which crop of the first the second is.
    """

    pairs: Pairs
    flipped: NDArray[np.bool_]
    crops: NDArray[np.float32]


class Thumbnails:
    """N×S×S grey levels of signatures, stacked when they are asked for: all of 100,000 at once are 100 MB."""

    def __init__(self, signatures: Sequence[bytes], side: int) -> None:
        self._signatures, self._side = signatures, side

    def __len__(self) -> int:
        return len(self._signatures)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        joined = b"".join([self._signatures[i] for i in rows.tolist()])
        return np.frombuffer(joined, dtype=np.uint8).reshape(-1, self._side, self._side)


def find_candidates(
    thumbnails: Thumbnails | NDArray[np.uint8],
    rows: NDArray[np.int64] | None = None,
    *,
    progress: OnProgress = no_progress,
) -> Candidates:
    """Pairs that may be duplicates, each proposed by the hash and fitted once on its thumbnails.

    Args:
        thumbnails: N×S×S grey. rows: those that are compared; None: all.
        progress: called with (searches done, searches).
    """
    rows = np.arange(len(thumbnails)) if rows is None else rows
    usable = rows[grey_levels(thumbnails, rows)[1] >= _FLAT]
    if len(usable) < 2:
        return Candidates(np.empty((0, 2), np.int64), np.empty(0, np.bool_), np.empty((0, 4), np.float32))
    sides = _proposed(thumbnails, usable, progress)
    pairs, by_crop = (np.concatenate(column) for column in zip(*sides, strict=True))
    flipped = np.repeat([False, True], [len(side) for side, _ in sides])
    pairs = usable[pairs]
    crops, misfits = _fit(thumbnails, pairs, flipped)
    fits = (misfits <= _MISFIT) & (~by_crop | _among_best(pairs, misfits))
    return Candidates(pairs[fits], flipped[fits], crops[fits])


def grey_levels(
    thumbnails: Thumbnails | NDArray[np.uint8], rows: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and standard deviations of thumbnails, N each, in blocks: numpy's own would copy all of them to float64.

    Args:
        thumbnails: S×S grey. rows: N of them; None: all.
    """
    rows = np.arange(len(thumbnails)) if rows is None else rows
    means, contrasts = np.empty(len(rows)), np.empty(len(rows))
    for i in range(0, len(rows), _AT_ONCE):
        some = thumbnails[rows[i : i + _AT_ONCE]]
        means[i : i + _AT_ONCE], contrasts[i : i + _AT_ONCE] = some.mean(axis=(1, 2)), some.std(axis=(1, 2))
    return means, contrasts


def crop_between(
    thumbnails: Thumbnails | NDArray[np.uint8], first: int, second: int, *, flipped: bool
) -> NDArray[np.float64] | None:
    """Which crop of the first thumbnail the second is, or None when they do not fit; for any pair."""
    crops, misfits = _fit(thumbnails, np.array([[first, second]]), np.array([flipped]))
    return crops[0].astype(np.float64) if misfits[0] <= _MISFIT else None


def hashes(
    thumbnails: Thumbnails | NDArray[np.uint8], rows: NDArray[np.int64] | None = None, *, crop: Crop = WHOLE
) -> Hashes:
    """Perceptual hashes of a crop of each thumbnail.

    Args:
        thumbnails: S×S grey. rows: N that are hashed; None: all.
        crop: left, right, top, bottom as shares.

    Returns:
        N×D, unit length: cosine-transform coefficients, each times its frequency, so that all count about equally.

    Source: Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.1 (pHash);
    there each coefficient is cut to one bit by the median.
    """
    across, down = _grid()
    kept = np.hypot(across, down)
    rows = np.arange(len(thumbnails)) if rows is None else rows
    found = np.empty((len(rows), int(_chosen().sum())), dtype=np.float32)
    for i in range(0, len(rows), _AT_ONCE):
        values = _coefficients(thumbnails[rows[i : i + _AT_ONCE]], crop) * kept[_chosen()]
        found[i : i + _AT_ONCE] = values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-6)
    return found


def flip(plain: Hashes) -> Hashes:
    """Hashes of the same images after a horizontal flip: waves of odd frequency across change their sign."""
    across, _ = _grid()
    return plain * np.where(across[_chosen()] % 2 == 1, -1, 1).astype(np.float32)


def _grid() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    across, down = np.meshgrid(np.arange(_FREQUENCIES), np.arange(_FREQUENCIES))
    return across, down


def _chosen() -> NDArray[np.bool_]:
    frequency = np.hypot(*_grid())
    return np.asarray((frequency > 0) & (frequency < _FREQUENCIES))


def _coefficients(thumbnails: NDArray[np.uint8], crop: Crop) -> Hashes:
    grey = thumbnails.astype(np.float32)
    if crop != WHOLE:
        grey = cropped(grey, np.array([crop], dtype=np.float32))  # one crop for all
    side = grey.shape[1]
    waves = np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * (np.arange(side) + 0.5) / side).astype(np.float32)
    return np.asarray((waves @ grey @ waves.T)[:, _chosen()])


def _proposed(
    thumbnails: Thumbnails | NDArray[np.uint8], usable: NDArray[np.int64], progress: OnProgress
) -> list[tuple[Pairs, NDArray[np.bool_]]]:
    """Pairs of upright and of flipped images (P×2 rows of `usable`), and which only a crop found.

    The hashes of one crop are in memory at a time: those of all would be the largest thing of the search.
    """
    plain = hashes(thumbnails, usable)
    search = _Search(plain)
    found: tuple[list[Pairs], list[Pairs]] = ([], [])
    crops = (WHOLE, *_CROPS, *(_STRETCHED if len(usable) <= _FEW else ()))
    for k, crop in enumerate(crops):
        query = plain if crop == WHOLE else hashes(thumbnails, usable, crop=crop)
        count = _NEAREST if crop == WHOLE else _NEAREST_CROP
        for side, one in enumerate((query, flip(query))):
            found[side].append(search.nearest(one, count))
            progress(2 * k + side + 1, 2 * len(crops))
    return [_once(side) for side in found]


def _once(found: list[Pairs]) -> tuple[Pairs, NDArray[np.bool_]]:
    """Pairs P×2, first below second, no pair twice; and which only a crop found, not the whole images at first."""
    pairs, first = np.unique(np.sort(np.concatenate(found), axis=1), axis=0, return_index=True)
    return pairs, first >= len(found[0])


def _among_best(pairs: Pairs, misfits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether a pair is among the few that fit best for either of its images: a film's frames all fit each other."""
    images, row = pairs.T.ravel(), np.tile(np.arange(len(pairs)), 2)
    order = np.lexsort((misfits[row], images))
    rank = np.arange(len(order)) - np.searchsorted(images[order], images[order])
    best = np.zeros(len(pairs), dtype=np.bool_)
    best[row[order[rank < _BEST_FITS]]] = True
    return best


class _Search:
    """Nearest neighbours among N hashes, which are listed under their nearest pivot, once for all searches."""

    def __init__(self, plain: Hashes) -> None:
        self._plain = plain
        self._least = _SIMILARITY_OF_FEW if len(plain) <= _FEW else _SIMILARITY
        self._pivots = plain[np.random.default_rng(0).permutation(len(plain))[: max(1, round(len(plain) ** 0.5))]]
        self._listed = _by_pivot(plain, self._pivots, 1)

    def nearest(self, query: Hashes, count: int) -> Pairs:
        """For each query (row i searches duplicates of image i) the nearest `count` that are similar enough: P×2.

        Queries visit the lists of their nearest pivots: about N^1.5 products.
        """
        plain, pivots = self._plain, self._pivots
        visiting = _by_pivot(query, pivots, min(_PROBED, len(pivots)))
        limit = 64 + 16 * len(pivots)
        found = [
            _best_in(query, plain, rows, some, count=count, least=self._least)
            for images, visitors in zip(self._listed, visiting, strict=True)
            for rows, some in _windows(query, plain, visitors, images, limit=limit)
        ]
        pairs, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((-similarity, pairs[:, 0]))
        pairs = pairs[order]
        rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
        return np.asarray(pairs[rank < count])


def _by_pivot(points: Hashes, pivots: Hashes, count: int) -> list[NDArray[np.int64]]:
    """For each pivot the points that have it among their `count` nearest."""
    chosen = np.empty((len(points), count), dtype=np.int64)  # N×count
    for i in range(0, len(points), _AT_ONCE):
        similarity = points[i : i + _AT_ONCE] @ pivots.T
        chosen[i : i + _AT_ONCE] = np.argpartition(-similarity, count - 1, axis=1)[:, :count]  # a copy: no view of all
    nearest = chosen.ravel()
    order = np.argsort(nearest, kind="stable")
    ends = np.searchsorted(nearest[order], np.arange(1, len(pivots)))
    return np.split(order // count, ends)


def _windows(  # 4 positional: two sets of points, each with the rows to use
    query: Hashes, plain: Hashes, visitors: NDArray[np.int64], images: NDArray[np.int64], *, limit: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Visitors with the images that they are compared to; a list over the limit is cut along its widest coordinate."""
    chunks, home = [images], np.zeros(len(visitors), dtype=np.int64)
    if len(images) > limit:
        axis = int(plain[images].var(axis=0).argmax())
        chunks = np.array_split(images[np.argsort(plain[images, axis], kind="stable")], -(-len(images) // limit))
        home = np.searchsorted([plain[chunk[0], axis] for chunk in chunks[1:]], query[visitors, axis])
    for k, chunk in enumerate(chunks):
        rows = visitors[home == k]
        for i in range(0, len(rows), _VISITORS):
            yield rows[i : i + _VISITORS], chunk


def _best_in(  # 4 positional: two sets of points, each with the rows to use
    query: Hashes, plain: Hashes, rows: NDArray[np.int64], images: NDArray[np.int64], *, count: int, least: float
) -> tuple[Pairs, NDArray[np.float32]]:
    """The nearest `count` of the images for each row, as pairs with their similarity."""
    similarity = query[rows] @ plain[images].T
    row, column = np.divmod(np.flatnonzero(similarity >= least), len(images))
    kept = min(count + 1, len(images))  # one more: an image can find itself
    is_crowded = np.bincount(row, minlength=len(rows)) > kept  # film frames; among photographs hardly any row
    if is_crowded.any():
        crowded = np.flatnonzero(is_crowded)
        best = np.argpartition(-similarity[crowded], kept - 1, axis=1)[:, :kept]
        is_sparse = ~is_crowded[row]
        row = np.concatenate([row[is_sparse], np.repeat(crowded, kept)])
        column = np.concatenate([column[is_sparse], best.ravel()])
    is_other = rows[row] != images[column]
    row, column = row[is_other], column[is_other]
    return np.stack([rows[row], images[column]], axis=1), similarity[row, column]


def _fit(
    thumbnails: Thumbnails | NDArray[np.uint8], pairs: Pairs, flipped: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    crops, misfits = np.empty((len(pairs), 4), dtype=np.float32), np.empty(len(pairs), dtype=np.float32)
    for i in range(0, len(pairs), _BLOCK):
        some = slice(i, i + _BLOCK)
        one, two = (thumbnails[pairs[some, k]].astype(np.float32) for k in (0, 1))
        two[flipped[some]] = two[flipped[some]][:, :, ::-1]
        crops[some], misfits[some] = fit_crops(one, two)
    return crops, misfits
