"""What a live head gets wrong: confusion, mistakes, labels that are likely wrong, a map, and the learning curve.

Every image is judged by a head that has not seen its group, so that a wrong label cannot defend itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from headstart.advice.learning_curve import LearningCurve, measure_learning_curve
from headstart.errors import DataError
from headstart.heads.knn import nearest
from headstart.heads.regularization_path import Labels, Matrix
from headstart.progress import OnProgress, no_progress
from headstart.workbench.live_head import LiveResult

_NEIGHBOURS = 3  # images of each class beside a suspect
_MOST = 100  # suspects: more than anybody looks through at once


@dataclass(frozen=True)
class LiveSuspect:
    """An image that another class wins.

    Args:
        image: its index in the result. suggested: index of the class.
        margin: by how much that class wins, on a scale where an indicator is 2.
        like_label, like_suggested: indices of the most similar images of both classes, nearest first.
    """

    image: int
    suggested: int
    margin: float
    like_label: tuple[int, ...]
    like_suggested: tuple[int, ...]


def confusion(result: LiveResult) -> Labels:
    """C×C int64 counts: rows are the classes, columns the predictions of heads that had not seen the image's group.

    Raises:
        DataError: there is no head.
    """
    found = np.zeros((len(result.classes), len(result.classes)), dtype=np.int64)
    np.add.at(found, (result.labels, _needs_head(result).predicted), 1)
    return found


def mistakes(result: LiveResult) -> Labels:
    """Indices of the images that are classified wrongly, the most confident first.

    Raises:
        DataError: there is no head.
    """
    wrong = np.flatnonzero(_needs_head(result).predicted != result.labels)
    confidence = result.held_out[wrong, result.predicted[wrong]]
    order: Labels = wrong[np.argsort(-confidence, kind="stable")]
    return order


def suspects(result: LiveResult, most: int = _MOST) -> tuple[LiveSuspect, ...]:
    """Images whose label is likely wrong: those that another class wins by the largest margin first.

    Raises:
        DataError: there is no head.

    Source: Northcutt et al. 2021, arXiv:1911.00068 (rank by the held-out margin); here of a ridge head, in closed form.
    """
    probe = _needs_head(result).probe
    assert probe is not None  # for the type checker: see above
    scores, rows = probe.path.held_scores, np.arange(len(result.labels))
    others = scores.copy()
    others[rows, result.labels] = -np.inf
    suggested = others.argmax(axis=1)
    margins = others[rows, suggested] - scores[rows, result.labels]
    ranked = [int(i) for i in np.argsort(-margins, kind="stable") if margins[i] > 0][:most]
    x = result.view().array()
    return tuple(
        LiveSuspect(
            image=i,
            suggested=int(suggested[i]),
            margin=float(margins[i]),
            like_label=_alike(x, result, i, label=int(result.labels[i])),
            like_suggested=_alike(x, result, i, label=int(suggested[i])),
        )
        for i in ranked
    )


def positions(result: LiveResult) -> Matrix:
    """N×2: the two directions in which the features vary most (PCA), signs fixed so that a map does not flip.

    Raises:
        DataError: there is no head.
    """
    x = _needs_head(result).view().array()
    x -= x.mean(axis=0)
    count, width = x.shape
    if count < width:
        last = [max(count - 2, 0), count - 1]
        values, vectors = eigh(x @ x.T, subset_by_index=last)
        scores = vectors * np.sqrt(values.clip(0))
    else:
        _, directions = eigh(x.T @ x, subset_by_index=[width - 2, width - 1])
        scores = x @ directions
    scores = scores[:, ::-1]
    signs = np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    found: Matrix = scores * np.where(signs == 0, 1.0, signs)
    return found


def learning_curve(result: LiveResult, *, seed: int = 0, progress: OnProgress = no_progress) -> LearningCurve:
    """How the error falls with the images, and what more of them are worth: `advise_more` on all images.

    Raises:
        DataError: there is no head, or there are too few groups to leave one out.
    """
    view = _needs_head(result).view()
    return measure_learning_curve(
        view, result.labels, result.groups, names=result.classes, seed=seed, progress=progress
    )


def _alike(x: Matrix, result: LiveResult, image: int, *, label: int) -> tuple[int, ...]:
    """Images of a class that are most like one, of other groups."""
    known: NDArray[np.int64] = np.flatnonzero((result.labels == label) & (result.groups != result.groups[image]))
    if not len(known):
        return ()
    _, found = nearest(x[known], x[image : image + 1], _NEIGHBOURS)
    chosen: Sequence[int] = known[found[0]].tolist()
    return tuple(chosen)


def _needs_head(result: LiveResult) -> LiveResult:
    if result.probe is None:
        raise DataError(
            expected="a head", found=result.missing, where="look", hint="Collect images of at least two classes first."
        )
    return result
