"""Which images might be copies of which: a perceptual hash proposes, and it is never believed.

The hash is pHash's (the low frequencies of a 32 × 32 thumbnail's cosine transform), kept as numbers instead of 64 bits:
its values rank candidates where bits only count, and a film's thousand near-equal frames cannot flood the list, because
each image proposes its few nearest only. Near ones are looked for in the neighbourhood of pivots, not everywhere.
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
_CROPS = (  # a copy without its margins is nearer to the image's centre, or to one of its corners, than to the image
    (0.06, 0.94, 0.06, 0.94),
    *((left, left + 0.94, top, top + 0.94) for left in (0.0, 0.06) for top in (0.0, 0.06)),
)
_LIKENESS = 0.88  # cosine between hashes; 99 % of copies cropped by 10 % a side or less have 0.9 with one of the crops
_NEAREST = 4  # proposals per image and side; the true copy is among the first 4 in 99 of 100 cases …
_NEAREST_CROP = 2  # … and for each crop: among a film's frames copies cropped by 10 % are among these in 96 of 100
_BEST_FITS = 3  # of an image's pairs that only a crop proposed, those that stay: a film's frames all fit each other
_MISFIT = 0.28  # of the laid-over thumbnails: copies have 0.00–0.26, other photographs 0.2 and mostly 0.4 and more
_FLAT = 2.0  # grey levels of contrast: below, there is nothing to recognise
_PROBED = 8  # pivots around which an image looks
_BLOCK = 128  # pairs that are laid over each other at once: 3 MB at a time stays in the processor's cache


class Proposed(NamedTuple):
    """Pairs of thumbnails that fit each other.

    Args:
        pairs: P×2 indices, first below second.
        mirrored: P, whether the second fits only with left and right exchanged.
        crops: P×4, which crop of the first the second is.
    """

    pairs: Pairs
    mirrored: NDArray[np.bool_]
    crops: NDArray[np.float32]


def propose(thumbnails: NDArray[np.uint8], *, progress: Callable[[int, int], None] | None = None) -> Proposed:
    """Pairs that may be copies, each proposed by the hash and fitted once on its thumbnails.

    Args:
        thumbnails: N×S×S grey.
        progress: called with (pairs fitted, pairs in all).
    """
    usable = np.flatnonzero(thumbnails.std(axis=(1, 2)) >= _FLAT)
    if len(usable) < 2:
        return Proposed(np.empty((0, 2), np.int64), np.empty(0, np.bool_), np.empty((0, 4), np.float32))
    some = thumbnails[usable]
    plain = hashes(some)
    queries = (plain, *(hashes(some, crop) for crop in _CROPS))
    sides = [_pairs(plain, tuple(map(mirror, queries)) if flipped else queries) for flipped in (False, True)]
    pairs, by_crop = (np.concatenate(column) for column in zip(*sides, strict=True))
    mirrored = np.repeat([False, True], [len(side) for side, _ in sides])
    crops, misfits = _fit(some, pairs, mirrored, progress)
    fits = (misfits <= _MISFIT) & (~by_crop | _among_best(pairs, misfits))
    return Proposed(usable[pairs[fits]], mirrored[fits], crops[fits])


def crop_between(one: NDArray[np.uint8], two: NDArray[np.uint8], *, mirrored: bool) -> NDArray[np.float64] | None:
    """Which crop of the first thumbnail the second is, or None when they do not fit; for a pair nobody proposed."""
    pair, sides = np.array([[0, 1]]), np.array([mirrored])
    crops, misfits = _fit(np.stack([one, two]), pair, sides, None)
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
    blocks = [_coefficients(thumbnails[i : i + 4096], crop) for i in range(0, len(thumbnails), 4096)]
    values = np.concatenate(blocks) * kept[_chosen()]
    return np.asarray(values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-6), dtype=np.float32)


def mirror(plain: Hashes) -> Hashes:
    """Hashes of the same images with left and right exchanged: the odd waves across change their sign."""
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
        grey = cropped(grey, np.tile(np.array(crop, dtype=np.float32), (len(grey), 1)))
    side = grey.shape[1]
    waves = np.cos(np.pi * np.arange(_FREQUENCIES)[:, None] * (np.arange(side) + 0.5) / side).astype(np.float32)
    return np.asarray((waves @ grey @ waves.T)[:, _chosen()])


def _pairs(plain: Hashes, queries: tuple[Hashes, ...]) -> tuple[Pairs, NDArray[np.bool_]]:
    """Each image's nearest ones among all: P×2, first below second, no pair twice; and which only a crop found.

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
    """For each query (row i looks for image i's copies) the nearest `count` images that are like enough: P×2.

    Images are listed under their nearest pivot, queries visit the lists of their nearest pivots: about N^1.5 products.
    """
    pivots = plain[np.random.default_rng(0).permutation(len(plain))[: max(1, round(len(plain) ** 0.5))]]
    listed = _by_pivot(plain, pivots, 1)
    visiting = _by_pivot(query, pivots, min(_PROBED, len(pivots)))
    limit = 64 + 16 * len(pivots)
    found = [
        _best_in(query, plain, rows, some, count)
        for images, visitors in zip(listed, visiting, strict=True)
        for rows, some in _windows(query, plain, visitors, images, limit)
    ]
    pairs, likeness = np.concatenate([pairs for pairs, _ in found]), np.concatenate([like for _, like in found])
    order = np.lexsort((-likeness, pairs[:, 0]))
    pairs = pairs[order]
    rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    return np.asarray(pairs[rank < count])


def _by_pivot(points: Hashes, pivots: Hashes, count: int) -> list[NDArray[np.int64]]:
    """For each pivot the points that have it among their `count` nearest."""
    chosen = []
    for i in range(0, len(points), 4096):
        likeness = points[i : i + 4096] @ pivots.T
        chosen.append(np.argpartition(-likeness, count - 1, axis=1)[:, :count])
    nearest = np.concatenate(chosen).ravel()
    order = np.argsort(nearest, kind="stable")
    ends = np.searchsorted(nearest[order], np.arange(1, len(pivots)))
    return np.split(order // count, ends)


def _windows(
    query: Hashes, plain: Hashes, visitors: NDArray[np.int64], images: NDArray[np.int64], limit: int
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


def _best_in(
    query: Hashes, plain: Hashes, rows: NDArray[np.int64], images: NDArray[np.int64], count: int
) -> tuple[Pairs, NDArray[np.float32]]:
    likeness = query[rows] @ plain[images].T
    kept = min(count + 1, len(images))  # one more, for an image may find itself
    best = np.argpartition(likeness, len(images) - kept, axis=1)[:, len(images) - kept :]
    values = np.take_along_axis(likeness, best, axis=1)
    row, column = np.nonzero((values >= _LIKENESS) & (images[best] != rows[:, None]))
    return np.stack([rows[row], images[best[row, column]]], axis=1), values[row, column]


def _fit(
    thumbnails: NDArray[np.uint8],
    pairs: Pairs,
    mirrored: NDArray[np.bool_],
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    crops, misfits = np.empty((len(pairs), 4), dtype=np.float32), np.empty(len(pairs), dtype=np.float32)
    for i in range(0, len(pairs), _BLOCK):
        some = slice(i, i + _BLOCK)
        one, two = (thumbnails[pairs[some, k]].astype(np.float32) for k in (0, 1))
        two[mirrored[some]] = two[mirrored[some]][:, :, ::-1]
        crops[some], misfits[some] = fit_crops(one, two)
        if progress is not None:
            progress(min(i + _BLOCK, len(pairs)), len(pairs))
    return crops, misfits
