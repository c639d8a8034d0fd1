"""Candidate pairs of duplicates: a perceptual hash proposes them, decoded pixels must confirm them.

The hash is pHash's (the low frequencies of a 32 × 32 thumbnail's cosine transform), kept as numbers instead of 64 bits:
numbers rank candidates where bits only count, and a film's thousand near-equal frames cannot flood the list, because
each image proposes its few nearest only. Neighbours are searched around pivots, not among all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates.alignment import WHOLE, cropped, fit_crops

Hashes = NDArray[np.float32]  # N×D, each of length 1
Pairs = NDArray[np.int64]  # P×2

_FREQUENCIES = 7  # along each axis; those within the quarter circle are kept, the mean is not
_CROPS = (  # a duplicate without its margins is nearer to the image's centre, or to a corner of it, than to the image
    (0.06, 0.94, 0.06, 0.94),
    *((left, left + 0.94, top, top + 0.94) for left in (0.0, 0.06) for top in (0.0, 0.06)),
)
_SIMILARITY = 0.88  # cosine of hashes; 99 % of duplicates cropped by at most 10 % a side have 0.9 with one of the crops
_NEAREST = 4  # candidates per image and side; the duplicate is among the first 4 in 99 of 100 cases …
_NEAREST_CROP = 2  # … and per crop: among a film's frames, duplicates cropped by 10 % are among these in 96 of 100
_BEST_FITS = 3  # kept of an image's pairs that only a crop proposed: a film's frames all fit each other
_MISFIT = 0.28  # of the overlaid thumbnails: duplicates have 0.00–0.26, other photographs 0.2 and mostly 0.4 and more
_FLAT = 2.0  # grey levels of contrast: below, there is nothing to compare
_PROBED = 8  # pivots around which an image is searched
_AT_ONCE = 4096  # thumbnails: 17 MB in float32, 34 in float64
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


def find_candidates(thumbnails: NDArray[np.uint8], *, progress: Callable[[int, int], None] | None = None) -> Candidates:
    """Pairs that may be duplicates, each proposed by the hash and fitted once on its thumbnails.

    Args:
        thumbnails: N×S×S grey.
        progress: called with (pairs fitted, pairs in all).
    """
    usable = np.flatnonzero(contrasts(thumbnails) >= _FLAT)
    if len(usable) < 2:
        return Candidates(np.empty((0, 2), np.int64), np.empty(0, np.bool_), np.empty((0, 4), np.float32))
    some = thumbnails[usable]
    plain = hashes(some)
    queries = (plain, *(hashes(some, crop) for crop in _CROPS))
    sides = [_pairs(plain, tuple(map(flip, queries)) if is_flipped else queries) for is_flipped in (False, True)]
    pairs, by_crop = (np.concatenate(column) for column in zip(*sides, strict=True))
    flipped = np.repeat([False, True], [len(side) for side, _ in sides])
    crops, misfits = _fit(some, pairs, flipped, progress=progress)
    fits = (misfits <= _MISFIT) & (~by_crop | _among_best(pairs, misfits))
    return Candidates(usable[pairs[fits]], flipped[fits], crops[fits])


def contrasts(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """N standard deviations of the grey levels of thumbnails N×S×S; numpy's own would copy all of them to float64."""
    parts = [thumbnails[i : i + _AT_ONCE].std(axis=(1, 2)) for i in range(0, len(thumbnails), _AT_ONCE)]
    return np.concatenate(parts or [np.empty(0)])


def crop_between(one: NDArray[np.uint8], two: NDArray[np.uint8], *, flipped: bool) -> NDArray[np.float64] | None:
    """Which crop of the first thumbnail the second is, or None when they do not fit; for any pair."""
    crops, misfits = _fit(np.stack([one, two]), np.array([[0, 1]]), np.array([flipped]))
    return crops[0].astype(np.float64) if misfits[0] <= _MISFIT else None


def hashes(thumbnails: NDArray[np.uint8], crop: tuple[float, float, float, float] = WHOLE) -> Hashes:
    """Perceptual hashes of a crop of each thumbnail.

    Args:
        thumbnails: N×S×S grey.
        crop: left, right, top, bottom as shares.

    Returns:
        N×D, unit length: cosine-transform coefficients, each times its frequency, so that all count about equally.

    Source: Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, section 3.2.1 (pHash);
    there each coefficient is cut to one bit by the median.
    """
    across, down = _grid()
    kept = np.hypot(across, down)
    blocks = [_coefficients(thumbnails[i : i + _AT_ONCE], crop) for i in range(0, len(thumbnails), _AT_ONCE)]
    values = np.concatenate(blocks) * kept[_chosen()]
    return np.asarray(values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-6), dtype=np.float32)


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


def _coefficients(thumbnails: NDArray[np.uint8], crop: tuple[float, float, float, float]) -> Hashes:
    grey = thumbnails.astype(np.float32)
    if crop != WHOLE:
        grey = cropped(grey, np.array([crop], dtype=np.float32))  # one crop for all
    side = grey.shape[1]
    waves = np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * (np.arange(side) + 0.5) / side).astype(np.float32)
    return np.asarray((waves @ grey @ waves.T)[:, _chosen()])


def _pairs(plain: Hashes, queries: tuple[Hashes, ...]) -> tuple[Pairs, NDArray[np.bool_]]:
    """Each image's nearest neighbours: P×2, first below second, no pair twice; and which only a crop found.

    Args:
        queries: of the whole images, then of their crops.
    """
    counts = (_NEAREST, *[_NEAREST_CROP] * (len(queries) - 1))
    found = [_nearest(plain, query, count) for query, count in zip(queries, counts, strict=True)]
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


def _nearest(plain: Hashes, query: Hashes, count: int) -> Pairs:
    """For each query (row i searches duplicates of image i) the nearest `count` images that are similar enough: P×2.

    Images are listed under their nearest pivot; queries visit the lists of their nearest pivots: about N^1.5 products.
    """
    pivots = plain[np.random.default_rng(0).permutation(len(plain))[: max(1, round(len(plain) ** 0.5))]]
    listed = _by_pivot(plain, pivots, 1)
    visiting = _by_pivot(query, pivots, min(_PROBED, len(pivots)))
    limit = 64 + 16 * len(pivots)
    found = [
        _best_in(query, plain, rows, some, count=count)
        for images, visitors in zip(listed, visiting, strict=True)
        for rows, some in _windows(query, plain, visitors, images, limit=limit)
    ]
    pairs, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((-similarity, pairs[:, 0]))
    pairs = pairs[order]
    rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    return np.asarray(pairs[rank < count])


def _by_pivot(points: Hashes, pivots: Hashes, count: int) -> list[NDArray[np.int64]]:
    """For each pivot the points that have it among their `count` nearest."""
    chosen = []
    for i in range(0, len(points), _AT_ONCE):
        similarity = points[i : i + _AT_ONCE] @ pivots.T
        chosen.append(np.argpartition(-similarity, count - 1, axis=1)[:, :count])
    nearest = np.concatenate(chosen).ravel()
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
        for i in range(0, len(rows), 2048):
            yield rows[i : i + 2048], chunk


def _best_in(  # 4 positional: two sets of points, each with the rows to use
    query: Hashes, plain: Hashes, rows: NDArray[np.int64], images: NDArray[np.int64], *, count: int
) -> tuple[Pairs, NDArray[np.float32]]:
    """The nearest `count` of the images for each row, as pairs with their similarity."""
    similarity = query[rows] @ plain[images].T
    row, column = np.divmod(np.flatnonzero(similarity >= _SIMILARITY), len(images))
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
    thumbnails: NDArray[np.uint8],
    pairs: Pairs,
    flipped: NDArray[np.bool_],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    crops, misfits = np.empty((len(pairs), 4), dtype=np.float32), np.empty(len(pairs), dtype=np.float32)
    for i in range(0, len(pairs), _BLOCK):
        some = slice(i, i + _BLOCK)
        one, two = (thumbnails[pairs[some, k]].astype(np.float32) for k in (0, 1))
        two[flipped[some]] = two[flipped[some]][:, :, ::-1]
        crops[some], misfits[some] = fit_crops(one, two)
        if progress is not None:
            progress(min(i + _BLOCK, len(pairs)), len(pairs))
    return crops, misfits
