"""k nearest neighbours by cosine of centred features: a baseline that trains nothing, and a measure of similarity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headstart.features.matrix import BLOCK_ROWS, FeatureView
from headstart.heads.regularization_path import Labels, Matrix

NEIGHBOURS = 20  # as in DINO's evaluation (Caron et al. 2021); fewer when the smallest class has fewer images
MOST_KNOWN = 20_000  # images that vote, so that the time grows with the images and not with their square
TEMPERATURE = 0.07  # same source: a neighbour whose cosine is 0.07 lower counts e times less


def nearest(
    known: FeatureView | Matrix, queries: FeatureView | Matrix | None, k: int, *, block_rows: int = BLOCK_ROWS
) -> tuple[Matrix, Labels]:
    """Cosines and rows of the k nearest known images, nearest first, M×k each.

    Features are centred at the mean of the known images before they are scaled to unit length: what follows a ReLU
    shares a large mean, which would make all images similar.

    Args:
        known: N×D. queries: M×D; None: the known images, each compared with all others but not with itself.
        k: at most N are given, N - 1 where queries are None.
        block_rows: rows of an array that are compared at once; a view has its own blocks.
    """
    count, width = known.shape
    k = min(k, count if queries is not None else count - 1)
    mean = sum((x.sum(axis=0) for _, x in _blocks(known, block_rows)), np.zeros(width)) / max(count, 1)
    source = known if queries is None else queries
    cosines, neighbours = np.full((source.shape[0], k), -np.inf), np.zeros((source.shape[0], k), dtype=np.int64)
    for rows, asked in _blocks(source, block_rows):
        query = _unit(asked - mean)
        for known_rows, x in _blocks(known, block_rows):
            similarity = query @ _unit(x - mean).T
            if queries is None:
                numbers = np.arange(known_rows.start, known_rows.stop)
                similarity[np.arange(rows.start, rows.stop)[:, None] == numbers] = -np.inf
            similarity = np.concatenate([cosines[rows], similarity], axis=1)
            order = _largest(similarity, k)
            cosines[rows] = np.take_along_axis(similarity, order, axis=1)
            before = np.take_along_axis(neighbours[rows], np.minimum(order, k - 1), axis=1)
            neighbours[rows] = np.where(order < k, before, order - k + known_rows.start)
    return cosines, neighbours


def vote(cosines: Matrix, neighbour_labels: Labels, classes: int) -> Labels:
    """The class with the largest sum of exp(cosine / 0.07) among the neighbours, M."""
    weights = np.exp((cosines - cosines[:, :1]) / TEMPERATURE)
    votes = np.zeros((len(cosines), classes))
    np.add.at(votes, (np.arange(len(cosines))[:, None], neighbour_labels), weights)
    winner: Labels = votes.argmax(axis=1)
    return winner


# three sets of rows and labels, and how many may vote
def predict_neighbours(
    known: FeatureView, labels: Labels, queries: FeatureView, *, classes: int, most: int = MOST_KNOWN
) -> tuple[Labels, str]:
    """Predicted class of each query (M), and in words who voted.

    Args:
        most: known images that vote; of more, so many evenly over their order.
    """
    count = len(labels)
    if count > most:
        chosen = np.arange(most) * count // most
        known, labels = known.take(chosen), labels[chosen]
    counts = np.bincount(labels)
    k = min(NEIGHBOURS, int(counts[counts > 0].min()))
    cosines, neighbours = nearest(known, queries, k)
    of = "training images" if count <= most else f"of {most:,} training images"
    return vote(cosines, labels[neighbours], classes), f"vote of the {k} most similar {of}, no training"


def _largest(values: Matrix, k: int) -> Labels:
    """Columns of the k largest values of each row, largest first, of equal ones the first column first, M×k."""
    if k >= values.shape[1]:
        return np.argsort(-values, axis=1, kind="stable")[:, :k]
    # partitioning values is vectorised, sorting their columns is not; a row whose k-th value is tied is sorted whole
    kth = -np.partition(-values, k - 1, axis=1)[:, k - 1]
    among = values >= kth[:, None]
    tied = among.sum(axis=1) > k
    order = np.empty((len(values), k), dtype=np.int64)
    columns = np.nonzero(among[~tied])[1].reshape(-1, k)
    chosen = np.take_along_axis(values[~tied], columns, axis=1)
    order[~tied] = np.take_along_axis(columns, np.argsort(-chosen, axis=1, kind="stable"), axis=1)
    order[tied] = np.argsort(-values[tied], axis=1, kind="stable")[:, :k]
    return order


def _blocks(source: FeatureView | Matrix, block_rows: int) -> Iterator[tuple[slice, Matrix]]:
    if isinstance(source, FeatureView):
        yield from source.blocks()
        return
    for begin in range(0, len(source), block_rows):
        yield slice(begin, min(begin + block_rows, len(source))), source[begin : begin + block_rows]


def _unit(x: Matrix) -> Matrix:
    length = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
    return x / np.where(length > 0, length, 1.0)
